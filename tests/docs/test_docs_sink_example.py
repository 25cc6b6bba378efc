"""The sink that the how-to writes is a sink."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundles import write_untrained
from docs.pages import blocks
from pulmospark.core.errors import InputError
from pulmospark.inference.batch.predict import predict


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    code, _ = (b.text for b in blocks("python") if b.page.name == "new-result-sink.md")
    found: dict[str, Any] = {}
    exec(compile(code, "new-result-sink.md", "exec"), found)
    return found


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    for number in range(2):
        grey = np.full((80, 80), 60 * (number + 1), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), grey)
    (folder / "text.png").write_text("no image")
    return folder


def test_the_sink_of_the_how_to_writes_its_file(
    names: dict[str, Any], archive: Path, tmp_path: Path
) -> None:
    bundle = write_untrained(tmp_path / "bundle")
    out = tmp_path / "out"
    result = predict(bundle, [str(archive)], out, None, sinks=[names["TextSink"]()], quiet=True)
    lines = (out / "summary.txt").read_text(encoding="utf-8").splitlines()
    assert (result.images, result.rejects) == (2, 1)
    assert len(lines) == 3
    assert lines[-1] == "2 scored, 1 rejected"
    assert {line.split(" ", 1)[1] for line in lines[:2]} <= set(result.classes)
    assert (out / "predictions.csv").is_file()


def test_a_sink_that_fails_publishes_nothing(
    names: dict[str, Any], archive: Path, tmp_path: Path
) -> None:
    def refuse(row: Any) -> None:
        raise InputError(f"{row['uri']}: not wanted")

    sink = names["TextSink"]()
    sink.reject = refuse
    with pytest.raises(InputError, match="not wanted"):
        predict(
            write_untrained(tmp_path / "bundle"),
            [str(archive)],
            tmp_path / "out",
            None,
            sinks=[sink],
            quiet=True,
        )
    assert not (tmp_path / "out").exists()
    assert sink._file.closed
