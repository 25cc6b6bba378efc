"""The README's first screen: short sentences, and pictures of what there is today."""

from __future__ import annotations

import importlib.util
import json
import re
from types import ModuleType

import pytest

from docs.pages import ROOT

_WORDS_MAX = 25
_BYTES_MAX = 300_000


def _sentences(text: str) -> list[str]:
    """Sentences of the prose: no code, tables, headings, targets of links or pictures."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^(?:\||#|!\[|- ).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return [
        sentence
        for line in text.splitlines()
        for sentence in re.split(r"(?<=[.!?:])[*`)\]]*\s+", line)
        if sentence.strip()
    ]


def test_sentences_are_split_where_they_end() -> None:
    text = "One two. Three `a.b` four: five six.\n\n```\nnot. this.\n```\n| nor | that |\n"
    assert _sentences(text) == ["One two.", "Three `a.b` four:", "five six."]


def test_no_sentence_of_the_readme_has_more_than_25_words() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    sentences = _sentences(text)
    assert len(sentences) > 40
    assert [each for each in sentences if len(each.split()) > _WORDS_MAX] == []


@pytest.fixture(scope="module")
def pictures() -> ModuleType:
    path = ROOT / "docs" / "make_pictures.py"
    spec = importlib.util.spec_from_file_location("make_pictures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pictures_are_as_new_as_what_they_show(pictures: ModuleType) -> None:
    record = json.loads(pictures.RECORD.read_text(encoding="utf-8"))
    today = {name: pictures.state(patterns) for name, patterns in pictures.SHOWN.items()}
    assert record == today, "run `make pictures`, and look at them"


def test_each_picture_of_the_readme_is_there_and_small(pictures: ModuleType) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[([^\]]{40,})\]\(docs/assets/([^)]+)\)", readme)
    assert {name for _, name in shown} == set(pictures.SHOWN)
    sizes = [(ROOT / "docs" / "assets" / name).stat().st_size for _, name in shown]
    assert sum(sizes) < _BYTES_MAX
