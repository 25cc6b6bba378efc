"""What a prediction would do: lists and counts images, without reading or scoring any."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import ConfigDict

from pulmospark import chunks
from pulmospark.chunks.parquet_files import Place, open_parquet
from pulmospark.config.inference import PrecisionPolicy
from pulmospark.core import limits
from pulmospark.core.progress import Progress
from pulmospark.core.provenance import now_utc
from pulmospark.core.records import Record
from pulmospark.data.ingest.rows import later_frames
from pulmospark.inference.batch.list_inputs import list_inputs
from pulmospark.inference.batch.listing import todo_of
from pulmospark.inference.batch.predict import PredictPlan
from pulmospark.inference.batch.sinks.json_sink import RECORD
from pulmospark.inference.batch.work_place import WorkPlace, work_of
from pulmospark.layouts.base import ListingNotes, NotesSummary
from pulmospark.store.store import is_there


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
    files = 0
    with tempfile.TemporaryDirectory(prefix="pulmospark-") as name:
        manifest = Path(name) / "manifest.parquet"
        if plan.inputs.has_files:
            with Progress("list files", 0, "files", quiet=quiet) as progress:
                files = list_inputs(plan.inputs, manifest, notes, progress)
                progress.to(files)
        todo = todo_of([manifest] if files else [], plan.inputs.images, before, Path(name))
        files, rows = todo.files, todo.total - todo.files
        chunk_count = len(todo.of_images) + len(chunks.listed_chunks(todo.lists, plan.chunk_files))
        problems = sum(map(_problems, todo.lists))
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
        already=_already(plan),
        chunks=chunk_count,
        layout=plan.inputs.layout,
        notes=notes.summary(),
        folder=plan.target,
        address=None if plan.address is None else str(plan.address),
        replaces=plan.appending is None and _replaces(plan),
    )


def _problems(manifest: Place) -> int:
    """Count the rows that are rejected before they are read."""
    with open_parquet(manifest) as file:
        batches = file.iter_batches(columns=["problem"])
        return sum(batch.num_rows - batch.column(0).null_count for batch in batches)


def _already(plan: PredictPlan) -> int:
    """Count the files and rows that an interrupted run finished with this model."""
    if plan.address is not None:
        work = WorkPlace(Path(), plan.address)
    elif plan.target is not None:
        work = WorkPlace(work_of(plan.target))
    else:
        return 0
    return sum(
        _scored_with(plan.bundle.model_id, parts)
        for folder, tables in work.parts.items()
        for parts in chunks.finished_parts(folder, tables=tables)
    )


def _scored_with(model_id: str, parts: list[chunks.Part]) -> int:
    """Files and rows of a chunk; 0 if another model scored them."""
    count = sum(part.rows for part in parts if part.table == "rejects")
    for part in parts:
        if part.table == "predictions":
            rows = chunks.read_part(part.place, ["uri", "model_id"])
            if rows["model_id"][0].as_py() != model_id:
                return 0
            count += rows.num_rows - sum(1 for _ in later_frames(rows["uri"]))
    return count


def _replaces(plan: PredictPlan) -> bool:
    if plan.address is not None:
        return is_there(plan.address / RECORD)
    return plan.target is not None and (plan.target / RECORD).is_file()
