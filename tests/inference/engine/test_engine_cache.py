"""What is kept is used again, is what was made, and does not grow for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pulmospark.core import limits
from pulmospark.core.files import write_json
from pulmospark.inference.engine.cache import cached_engine
from pulmospark.inference.engine.spec import SPEC_FILE, EngineSpec

_SPEC = EngineSpec(
    kind="openvino",
    folder="",
    engine_id="one",
    model="basic_cnn",
    outputs="logits",
    size=32,
    classes=2,
    width=128,
    mean=(0.5,),
    std=(0.25,),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pulmospark" / "engines"


def _made(folder: Path, calls: list[Path]) -> EngineSpec:
    calls.append(folder)
    target = folder / "one"
    target.mkdir(parents=True)
    spec = _SPEC.model_copy(update={"folder": str(target)})
    (target / "model.xml").write_text("<net/>", encoding="utf-8")
    write_json(target / SPEC_FILE, spec.model_dump(mode="json"))
    return spec


def test_a_second_work_folder_gets_the_same_files(tmp_path: Path) -> None:
    calls: list[Path] = []
    first, second = tmp_path / "a", tmp_path / "b"
    spec = cached_engine("key", first, lambda: _made(first, calls))
    again = cached_engine("key", second, lambda: _made(second, calls))
    assert calls == [first]
    assert again == spec.model_copy(update={"folder": str(second / "one")})
    assert (second / "one" / "model.xml").read_text(encoding="utf-8") == "<net/>"
    assert cached_engine("key", second, lambda: _made(second, calls)) == again
    cached_engine("other", tmp_path / "c", lambda: _made(tmp_path / "c", calls))
    assert calls == [first, tmp_path / "c"]


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "openvino"}'])
def test_a_damaged_engine_is_rebuilt(tmp_path: Path, cache: Path, text: str) -> None:
    calls: list[Path] = []
    cached_engine("key", tmp_path / "a", lambda: _made(tmp_path / "a", calls))
    (cache / "key" / SPEC_FILE).unlink()  # it may be the same file as the engine's own
    (cache / "key" / SPEC_FILE).write_text(text, encoding="utf-8")
    cached_engine("key", tmp_path / "b", lambda: _made(tmp_path / "b", calls))
    assert len(calls) == 2


def test_a_cache_that_cannot_be_written_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    calls: list[Path] = []
    assert cached_engine("key", tmp_path / "a", lambda: _made(tmp_path / "a", calls)).folder


def test_those_used_last_are_kept(tmp_path: Path, cache: Path) -> None:
    calls: list[Path] = []
    for number in range(limits.ENGINES_KEPT_MAX):
        folder = tmp_path / f"{number}"
        cached_engine(f"key-{number}", folder, lambda folder=folder: _made(folder, calls))  # type: ignore[misc]
        os.utime(cache / f"key-{number}", (number, number))
    cached_engine("key-0", tmp_path / "again", lambda: _made(tmp_path / "again", calls))
    cached_engine("last", tmp_path / "last", lambda: _made(tmp_path / "last", calls))
    kept = {path.name for path in cache.iterdir()}
    assert len(kept) == limits.ENGINES_KEPT_MAX
    assert {"key-0", "last"} <= kept
    assert "key-1" not in kept
