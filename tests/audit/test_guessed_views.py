"""What a guess from pixels may do to an images table, and that it is seen."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pulmospark.audit import guessed_views
from pulmospark.audit.subject import subject_of
from pulmospark.config.audit import AuditSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import schemas
from pulmospark.core.schemas import View
from pulmospark.data.ingest.rows import GuessView, image_row
from pulmospark.imaging.image import StandardImage
from pulmospark.layouts.base import row_of
from pulmospark.layouts.walk import FoundFile


def image(guess: View | None) -> StandardImage:
    pixels = np.zeros((32, 32), np.uint8)
    return StandardImage("0" * 64, "png", 10, 40, 40, pixels, pixels, guess)


def listed(uri: str, view: str = "unknown") -> dict[str, Any]:
    return {**asdict(row_of(FoundFile(uri, (), 10, 1, None), "s")), "view": view}


@pytest.mark.parametrize(
    ("allowed", "lateral", "axial"),
    [
        ("off", "unknown", "unknown"),
        ("axial", "unknown", "axial"),
        ("all", "lateral", "axial"),
    ],
)
def test_a_guess_is_taken_for_the_view_only_where_it_is_asked_for(
    allowed: GuessView, lateral: str, axial: str
) -> None:
    for guess, wanted in ((View.LATERAL, lateral), (View.AXIAL, axial)):
        row = image_row(listed("/a.png"), image(guess), guess_view=allowed)
        assert (row["view"], row["view_guess"]) == (wanted, guess.value)
        assert row["view_measured"] == (wanted != "unknown")
        # What a source says goes before any guess.
        assert image_row(listed("/a", "PA"), image(guess), guess_view=allowed)["view"] == "PA"


def test_off_by_default() -> None:
    """12 laterals of one source are too few to say how many a guess finds."""
    assert IngestSettings().guess_view == "off"


def _table(folder: Path, allowed: GuessView) -> Path:
    cases = [
        (listed("/a.png"), View.LATERAL),
        (listed("/b.png"), None),
        (listed("/c.png", "PA"), View.LATERAL),
        (listed("/d.png"), View.AXIAL),
    ]
    rows = [image_row(row, image(guess), guess_view=allowed) for row, guess in cases]
    images = folder / allowed / "images"
    images.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schemas.IMAGES), images / "a.parquet")
    return images


@pytest.mark.parametrize(
    ("allowed", "captions"),
    [
        ("off", {"/a.png": "lateral; treated as frontal", "/d.png": "axial; treated as frontal"}),
        ("axial", {"/d.png": "axial; classified as it", "/a.png": "lateral; treated as frontal"}),
        ("all", {"/a.png": "lateral; classified as it", "/d.png": "axial; classified as it"}),
    ],
)
def test_the_audit_shows_each_guess(
    tmp_path: Path, allowed: GuessView, captions: dict[str, str]
) -> None:
    subject = subject_of(_table(tmp_path, allowed), None, AuditSettings(), seed=1)
    found = guessed_views.audit(subject)
    assert found.verdict == "warn"
    shown = {one.images[0].uri: one.caption for one in found.examples}
    assert shown == {uri: f"estimated from pixels: {text}" for uri, text in captions.items()}
    assert "Estimated from pixels" in found.sentence


def test_an_older_table_without_the_column_is_audited(tmp_path: Path) -> None:
    images = _table(tmp_path, "all")
    rows = pq.read_table(images / "a.parquet").drop_columns(["view_guess"])
    pq.write_table(rows, images / "a.parquet")
    subject = subject_of(images, None, AuditSettings(), seed=1)
    assert len(guessed_views.audit(subject).examples) == 2
    none = replace(subject, images=_table(tmp_path / "other", "off"))
    assert guessed_views.audit(none).verdict == "warn"
