"""Images whose view nothing tells but a guess from their pixels, with their pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pulmospark.audit.results import AuditResult, Example, ShownFilm
from pulmospark.audit.subject import Subject
from pulmospark.audit.words import counted
from pulmospark.core import limits
from pulmospark.core.tables import View
from pulmospark.spark.chunks import parts_of

NAME, TITLE = "guessed_views", "Views guessed from pixels"
_COLUMNS = ("uri", "image_id", "source", "finding", "view", "view_measured", "view_guess")


def audit(subject: Subject) -> AuditResult:
    """Which images have no view but one guessed from pixels, and whether they were excluded.

    The guess takes some frontals for lateral views, those of the sickest lungs above all: where
    it excludes images, people have to look at them.
    """
    rows = _guessed(subject)
    used = [row for row in rows if row["view_measured"]]
    kept = [row for row in rows if not row["view_measured"]]
    told = "No image is without a view and guessed to be a lateral view or a CT slice."
    if rows:
        told = (
            f"Guessed from pixels: {counted(len(used), 'image')} taken for a lateral view or a CT "
            f"slice (`ingest.guess_view`), and {counted(len(kept), 'image')} that may be such "
            "and are treated as frontal."
        )
    return AuditResult(
        name=NAME,
        title=TITLE,
        verdict="warn" if rows else "pass",
        sentence=told,
        figures=(),
        threshold="warns when there is one",
        why="the guess misses lateral views and CT slices, and takes some frontals for them",
        remedy="look at the images shown, and name their views in a sheet" * bool(rows),
        examples=tuple(_example(row) for row in [*used, *kept][: limits.AUDIT_EXAMPLES_MAX]),
    )


def _guessed(subject: Subject) -> list[dict[str, Any]]:
    """Rows of the images table that no source or header tells the view of, and a guess does."""
    found: list[dict[str, Any]] = []
    for part in parts_of(subject.images):
        known = pq.read_schema(part).names
        rows = pq.read_table(part, columns=[name for name in _COLUMNS if name in known])
        chosen = rows["view_measured"]
        if "view_guess" in known:
            silent = pc.equal(rows["view"], View.UNKNOWN.value)
            chosen = pc.or_(chosen, pc.and_(silent, pc.is_valid(rows["view_guess"])))
        found += rows.filter(chosen).to_pylist()
    order = np.argsort([row["uri"] for row in found])
    return [found[int(place)] for place in order]


def _example(row: dict[str, Any]) -> Example:
    view = row["view"] if row["view_measured"] else row["view_guess"]
    done = "taken for it" if row["view_measured"] else "treated as frontal"
    film = ShownFilm(
        part=None,
        uri=row["uri"],
        image_id=row["image_id"],
        source=row["source"],
        label=row["finding"],
    )
    return Example(caption=f"guessed from pixels: {view}; {done}", films=(film,))
