"""The precision of a stream: checked on images that are there, and kept with the output."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.inference.engine.open_engine import open_engine
from pulmospark.inference.precision import check as checks
from pulmospark.inference.precision.sample import standard_pixels
from pulmospark.inference.stream.scorer import FILE, FolderSample, stream_scorer
from pulmospark.models.bundle.bundle import read_bundle

SETTINGS = IngestSettings(size=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures and two files that are none."""
    folder = tmp_path_factory.mktemp("sample")
    random = np.random.default_rng(6)
    for number in range(40):
        pixels = random.integers(0, 256, (70, 70), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    for name in ("text.png", "zero.png"):
        (folder / name).write_bytes(b"")
    return folder


def test_a_sample_is_spread_over_the_folder(folder: Path, tmp_path: Path) -> None:
    whole = FolderSample(folder, SETTINGS)
    images = standard_pixels(whole.rows(), SETTINGS)
    assert images.shape == (40, 64, 64)
    few = FolderSample(folder, SETTINGS, count=3)
    assert len(few.rows()) == 3
    first, middle = standard_pixels(few.rows(), SETTINGS)  # the last file is not an image
    assert (first == images[0]).all()
    assert not (middle == images[-1]).all()
    assert few.content_id != whole.content_id == FolderSample(folder, SETTINGS).content_id
    assert len(FolderSample(tmp_path, SETTINGS).rows()) == 0


def test_with_too_few_images_it_is_float32_and_nothing_is_settled(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_no_gain", lambda *_: "")  # whatever this processor is
    (tmp_path / "empty").mkdir()
    sample = FolderSample(tmp_path / "empty", SETTINGS)
    scorer, outcome = stream_scorer(read_bundle(bundle), tmp_path / "inner", "auto", sample)
    assert (scorer.engine.precision, outcome.used) == ("fp32", "fp32")
    assert f"a check needs {limits.PARITY_IMAGES_MIN}" in outcome.reason
    assert not (tmp_path / "inner" / FILE).exists()


def test_what_was_decided_stays_with_the_output(
    bundle: Path, folder: Path, tmp_path: Path
) -> None:
    read, inner = read_bundle(bundle), tmp_path / "inner"
    scorer, outcome = stream_scorer(read, inner, "fp16", FolderSample(folder, SETTINGS))
    assert outcome.asked == "fp16"
    assert outcome.used == scorer.engine.precision
    gone = FolderSample(tmp_path / "gone", SETTINGS)  # not looked at any more
    again, same_outcome = stream_scorer(read, inner, "fp16", gone)
    assert (again.engine, same_outcome) == (scorer.engine, outcome)
    assert open_engine(again.engine) is not None
    exact, _ = stream_scorer(read, inner, "fp32", gone)
    assert exact.engine.precision == "fp32"
    shutil.rmtree(exact.engine.folder)
    made, _ = stream_scorer(read, inner, "fp32", gone)
    assert Path(made.engine.folder).is_dir()  # made anew
