"""What a prediction would do: lists and counts images, without reading or scoring any."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from pydantic import ConfigDict

from pulmospark import chunks
from pulmospark.config.inference import PrecisionPolicy
from pulmospark.core import limits
from pulmospark.core.files import disk_errors
from pulmospark.core.provenance import now_utc
from pulmospark.core.records import Record
from pulmospark.data.ingest.rows import later_frames
from pulmospark.inference.batch.listing import list_unscored
from pulmospark.inference.batch.predict import PARTS, PredictPlan, work_of
from pulmospark.inference.batch.sinks.json_sink import RECORD
from pulmospark.layouts.base import ListingNotes, NotesSummary


class DryRun(Record):
    """What a prediction would do."""

    model_config = ConfigDict(frozen=True)

    bundle: Path
    model: str
    """the network's name in the zoo"""
    model_id: str
    classes: tuple[str, ...]
    input_size: int
    """side of the standard image, pixels"""
    precision: PrecisionPolicy
    """as requested; whether a lower one may be used is only known once images are scored"""
    precision_checked: bool
    """whether there are enough images to check a lower precision on"""
    files: int
    """image files to score"""
    rows: int
    """rows of images tables to score"""
    problems: int
    """files that the listing already rejects"""
    already: int
    """files and rows that an interrupted run into the same folder scored with this bundle; they
    are not scored again if precision and chunks are unchanged"""
    chunks: int
    """lower bound: a few chunks are split further, so that all slots finish together"""
    layout: str | None
    """of the folders, named or recognised; ``None``: every image file in them"""
    notes: NotesSummary
    """what the listing ignored, or found unusual"""
    address: str | None
    """of the output in a store"""
    folder: Path | None
    """of the output; ``None``: the prediction goes to the terminal"""
    replaces: bool
    """whether the folder holds an earlier prediction, which the new one would replace"""


def dry_run(plan: PredictPlan, *, quiet: bool = False) -> DryRun:
    """List what a prediction would score; writes only a temporary file.

    Args:
        plan: the prediction.
        quiet: show no progress.

    Raises:
        InputError: a folder or table cannot be read, or there is no image file.
        UsageError: the layout is unknown.
    """
    notes = ListingNotes()
    config, policy = plan.bundle.config, plan.settings.precision
    before = None if plan.appending is None else plan.appending.before(now_utc())
    with tempfile.TemporaryDirectory(prefix="pulmospark-") as name:
        todo = list_unscored(plan.inputs, Path(name), notes, before, quiet=quiet)
        files, rows = todo.seen, todo.total - todo.seen
        chunk_count = len(todo.of_images) + len(chunks.listed_chunks(todo.files, plan.chunk_files))
        problems = sum(map(_problems, todo.files))
    enough = limits.PARITY_WORTH_IMAGES if policy == "auto" else limits.PARITY_IMAGES_MIN
    return DryRun(
        bundle=plan.bundle.folder,
        model=config.model,
        model_id=plan.bundle.model_id,
        classes=config.classes,
        input_size=config.input_size,
        precision=policy,
        precision_checked=policy != "fp32" and files + rows >= enough,
        files=files,
        rows=rows,
        problems=problems,
        already=0 if plan.target is None else _already(work_of(plan.target), plan.bundle.model_id),
        chunks=chunk_count,
        layout=plan.inputs.layout,
        notes=notes.summary(),
        folder=None if plan.address else plan.target,
        address=None if plan.address is None else str(plan.address),
        replaces=plan.appending is None
        and plan.target is not None
        and (plan.target / RECORD).is_file(),
    )


def _problems(manifest: Path) -> int:
    """Count the rows that are rejected before they are read."""
    with pq.ParquetFile(manifest) as file:
        batches = file.iter_batches(columns=["problem"])
        return sum(batch.num_rows - batch.column(0).null_count for batch in batches)


def _already(work: Path, model_id: str) -> int:
    """Count the files and rows that an interrupted run finished with this model."""
    count = 0
    with disk_errors(work):
        for record in (work / PARTS).glob("*.done"):
            parts = json.loads(record.read_text(encoding="utf-8"))
            paths = {table: work / PARTS / name for table, name, _ in parts}
            scored = paths.get("predictions")
            if scored is not None:
                rows = pq.read_table(scored, columns=["uri", "model_id"])
                if rows["model_id"][0].as_py() != model_id:
                    continue
                count += rows.num_rows - sum(1 for _ in later_frames(rows["uri"]))
            count += sum(rows for table, _, rows in parts if table == "rejects")
    return count
