"""The reading guide of the design page names files that exist, and counts them rightly."""

from __future__ import annotations

import re

import pytest

from docs.pages import ROOT

SECTION = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
SECTION = SECTION.split("## Reading guide\n")[1].split("\n## ")[0]
PATHS = re.findall(r"^\*\*(.+): (\d+) files\.\*\* (.+)$", SECTION, re.MULTILINE)


def _files(text: str) -> list[str]:
    """The list of a path, which ends with a full stop after a file."""
    return re.findall(r"`([\w/]+\.py)`", text.split("`. ", maxsplit=1)[0] + "`")


def test_there_are_three_paths() -> None:
    assert [title.split()[0] for title, _, _ in PATHS] == ["Ingest", "Training", "Prediction"]


@pytest.mark.parametrize(("title", "count", "text"), PATHS)
def test_the_files_exist_and_are_counted(title: str, count: str, text: str) -> None:
    files = _files(text)
    assert len(set(files)) == len(files) == int(count), title
    missing = [name for name in files if not (ROOT / "src" / "pulmospark" / name).is_file()]
    assert missing == []
