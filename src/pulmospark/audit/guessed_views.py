"""Audit of views estimated from pixels only, with example images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pulmospark.audit.results import AuditResult, Example, ShownImage
from pulmospark.audit.subject import Subject
from pulmospark.chunks.parts import parts_of
from pulmospark.core import limits
from pulmospark.core.counts import counted
from pulmospark.core.schemas import View

GUESSED = ("guessed_views", "Views estimated from pixels")
_COLUMNS = ("uri", "image_id", "source", "finding", "view", "view_measured", "view_guess")


def audit(subject: Subject) -> AuditResult:
    """Which images have a view estimated from pixels only, and whether they were excluded.

    The estimate mistakes some frontal views for lateral ones, most often those of severe disease:
    a person has to review the images that it excludes.
    """
    rows = _guessed(subject)
    used = [row for row in rows if row["view_measured"]]
    kept = [row for row in rows if not row["view_measured"]]
    sentence = "No image of unknown view looks like a lateral view or a CT slice."
    if rows:
        sentence = (
            f"Estimated from pixels: {counted(len(used), 'image')} classified as a lateral view "
            f"or CT slice (`ingest.guess_view`), and {counted(len(kept), 'image')} suspected to "
            "be one but treated as frontal."
        )
    return AuditResult(
        name=GUESSED[0],
        title=GUESSED[1],
        verdict="warn" if rows else "pass",
        sentence=sentence,
        figures=(),
        threshold="warns at the first such image",
        why="the estimate misses lateral views and CT slices, and mistakes some frontals for them",
        remedy="review the images shown, and set their views in a sheet" * bool(rows),
        examples=tuple(_example(row) for row in [*used, *kept][: limits.AUDIT_EXAMPLES_MAX]),
    )


def _guessed(subject: Subject) -> list[dict[str, Any]]:
    """Rows of the images table whose view comes from neither source nor header but an estimate."""
    guessed: list[dict[str, Any]] = []
    for part in parts_of(subject.images):
        known = pq.read_schema(part).names
        rows = pq.read_table(part, columns=[name for name in _COLUMNS if name in known])
        chosen = rows["view_measured"]
        if "view_guess" in known:
            silent = pc.equal(rows["view"], View.UNKNOWN.value)
            chosen = pc.or_(chosen, pc.and_(silent, pc.is_valid(rows["view_guess"])))
        guessed += rows.filter(chosen).to_pylist()
    order = np.argsort([row["uri"] for row in guessed])
    return [guessed[int(place)] for place in order]


def _example(row: dict[str, Any]) -> Example:
    view = row["view"] if row["view_measured"] else row["view_guess"]
    done = "classified as it" if row["view_measured"] else "treated as frontal"
    image = ShownImage(
        part=None,
        uri=row["uri"],
        image_id=row["image_id"],
        source=row["source"],
        label=row["finding"],
    )
    return Example(caption=f"estimated from pixels: {view}; {done}", images=(image,))
