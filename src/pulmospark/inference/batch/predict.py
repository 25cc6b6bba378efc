"""Predict: a bundle and images in, a predictions table, a rejects table and CSV files out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from pulmospark import chunks
from pulmospark.chunks.parquet_files import Place, open_parquet
from pulmospark.chunks.shared_store import WORK, SharedStore
from pulmospark.chunks.work_list import States, reads_of
from pulmospark.config.inference import AppendSettings, ScoringSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.core.errors import UsageError
from pulmospark.core.locations import check_local
from pulmospark.core.progress import Progress
from pulmospark.core.pseudonyms import Salt, read_salt
from pulmospark.data.ingest.rows import later_frames
from pulmospark.inference.batch.inputs import Inputs, resolve_inputs
from pulmospark.inference.batch.list_inputs import list_into
from pulmospark.inference.batch.listing import Todo, todo_of
from pulmospark.inference.batch.publish import Scored, Written, begun_commits, publish
from pulmospark.inference.batch.result import PredictResult
from pulmospark.inference.batch.scorer import prepare_scorer, with_heat_maps
from pulmospark.inference.batch.sinks.base import ResultSink
from pulmospark.inference.batch.sinks.json_sink import RECORD
from pulmospark.inference.batch.table_checks import check_phantoms, check_tables
from pulmospark.inference.batch.tasks import FilesWork, ImagesWork, Scorer
from pulmospark.inference.batch.work_place import WorkPlace, work_place
from pulmospark.inference.decision_point import DecisionPoint
from pulmospark.inference.precision.check import PrecisionOutcome
from pulmospark.inference.precision.sample import ListedSample
from pulmospark.layouts.base import ListingNotes
from pulmospark.layouts.list_writer import list_writer
from pulmospark.models.bundle.bundle import Bundle, read_bundle
from pulmospark.spark.engine_choice import workers_of
from pulmospark.store.archives import outermost
from pulmospark.store.folders import check_target
from pulmospark.store.uri import StoreUri

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pulmospark.inference.batch.append import Appending
    from pulmospark.inference.batch.scored_before import ScoredBefore


@dataclass(frozen=True)
class PredictPlan:
    """A prediction, checked as far as possible without reading an image."""

    bundle: Bundle
    inputs: Inputs
    target: Path | None
    """folder of the output; ``None``: it goes to a store, or nowhere"""
    points: tuple[DecisionPoint, ...]
    settings: ScoringSettings
    chunk_files: int = limits.CHUNK_FILES_MAX
    """maximum files per task"""
    prepared: tuple[Scorer, PrecisionOutcome] | None = None
    """the scorer and how its precision was decided; ``None``: not prepared yet"""
    salt: Salt | None = None
    address: StoreUri | None = None
    """where the output is published in a store"""
    sinks: tuple[ResultSink, ...] = ()
    """in addition to those of every prediction; used once"""
    store: SharedStore | None = None
    """that the folder is published in: workers elsewhere get images tables from there; ``None``:
    they see the folder"""
    appending: Appending | None = None
    """adds to the output's tables; ``None``: replaces them"""

    @property
    def reading(self) -> IngestSettings:
        """How files are read, of the bundle's standard image."""
        return self.settings.reading(self.bundle.config.ingest)

    def run(
        self, workers: chunks.Workers | SparkSession | None, *, quiet: bool = False
    ) -> PredictResult:
        """Run the prediction; see :func:`predict`."""
        if self.appending is not None:
            return self._append(self.appending, workers_of(workers), quiet=quiet)
        with work_place(self.target, self.address) as work:
            return _run(self, workers_of(workers), work, quiet=quiet)

    def _append(
        self, appending: Appending, workers: chunks.Workers, *, quiet: bool
    ) -> PredictResult:
        from pulmospark.inference.batch.staged_rows import Attempt  # noqa: PLC0415 - see below

        with work_place(appending.works_next_to, None) as work:
            attempt, staged = Attempt.of(work.here), work.here / "output"
            aside = replace(self, target=staged, address=None)
            before = appending.before(attempt.begun)
            result = _run(aside, workers, work, before, quiet=quiet)
            with Progress("publish", 1, "outputs", quiet=quiet) as progress:
                result = appending.publish(staged, attempt, result, work.here)
                progress.to(1)
            return result


def predict(
    bundle: Path | StoreUri,
    paths: Sequence[str],
    target: Path | StoreUri | None,
    workers: chunks.Workers | SparkSession | None,
    *,
    layout: str | None = None,
    threshold: float | None = None,
    salt_path: Path | None = None,
    settings: ScoringSettings | None = None,
    sinks: Sequence[ResultSink] = (),
    append: AppendSettings | None = None,
    quiet: bool = False,
) -> PredictResult:
    """Score images with a bundle.

    ``target`` gets the tables ``predictions`` (``core.schemas.PREDICTIONS``) and ``rejects``
    (``core.schemas.REJECTS``), both also as CSV, and ``predict.json``. It appears atomically,
    and a killed run resumes where it stopped. Each listed file is a row of ``predictions`` or of
    ``rejects``.

    Args:
        bundle: folder of the bundle, or its address in a store.
        paths: see :func:`pulmospark.inference.batch.inputs.resolve_inputs`.
        target: folder of the output, or its address in a store: the tables are Delta tables
            there, of which readers see the old rows or the new ones; ``None``, for one image
            only: nothing is written.
        workers: run the chunks; a Spark session: its executors; ``None``: this process, one chunk
            after another.
        layout: of the folders; ``None``: every image file in them.
        threshold: of the operating point, 0 to 1, instead of the bundle's.
        salt_path: file with the secret used to hash patient numbers of DICOM headers; ``None``:
            they are omitted.
        settings: of the scoring; ``None``: the defaults.
        sinks: further forms to write the results in, see
            :mod:`pulmospark.inference.batch.sinks`.
        append: add to the tables what they lack; ``None``: replace the output.
        quiet: show no progress.

    Raises:
        BundleError: the bundle is missing or damaged.
        UsageError: ``target`` is missing, or holds something else; ``threshold`` is out of
            range, or the bundle has no operating point.
        InputError: a path does not exist, there is no image file, or, without ``target``, the
            one image could not be read.
        SourceUnavailableError: a machine cannot reach the images.
        PlatformError: no space, no right to write there, or an executor cannot access the
            package, the images or the output's folder.
    """
    plan = plan_predict(
        bundle,
        paths,
        target,
        layout=layout,
        threshold=threshold,
        salt_path=salt_path,
        settings=settings,
        append=append,
    )
    return replace(plan, sinks=tuple(sinks)).run(workers, quiet=quiet)


def plan_predict(
    bundle: Path | StoreUri,
    paths: Sequence[str],
    target: Path | StoreUri | None,
    *,
    layout: str | None = None,
    threshold: float | None = None,
    salt_path: Path | None = None,
    settings: ScoringSettings | None = None,
    append: AppendSettings | None = None,
    target_needed: bool = True,
) -> PredictPlan:
    """Check a prediction before any expensive work; arguments and errors of `predict`.

    ``target_needed`` is false where nothing will be written, as in a dry run.
    """
    address = target if isinstance(target, StoreUri) else None
    with ThreadPoolExecutor(1, thread_name_prefix="check") as pool:
        checked = None if address is None else pool.submit(check_target, address, RECORD, WORK)
        read = read_bundle(bundle)
        points = decision_points(read, threshold)
        inputs = resolve_inputs(paths, layout)
    check_tables(inputs, read.config)
    if target_needed and target is None and not inputs.is_one_image:
        raise UsageError(
            "--out is missing: with more than one image, name a folder for the output"
        )
    chosen = settings or ScoringSettings()
    if checked is not None:
        checked.result()
    elif isinstance(target, Path):
        target = check_local(target).expanduser().absolute()
        _check_target(target)
    appending = None
    if append is not None:
        # Inside: pyarrow's compute functions, which other predictions start without.
        from pulmospark.inference.batch.append import plan_append  # noqa: PLC0415

        appending = plan_append(target, read, append, chosen)
    salt = None if salt_path is None else read_salt(check_local(salt_path).expanduser())
    if read.config.phantoms and not chosen.allow_phantom_model:
        check_phantoms(inputs)
    folder = target if isinstance(target, Path) else None
    return PredictPlan(
        read, inputs, folder, points, chosen, salt=salt, address=address, appending=appending
    )


def decision_points(bundle: Bundle, threshold: float | None) -> tuple[DecisionPoint, ...]:
    """The operating points of a bundle, one for each class; see :func:`predict`."""
    operating_points = bundle.config.operating_points
    if threshold is None:
        return tuple(
            DecisionPoint(
                positive_class=point.positive_class,
                threshold=point.threshold,
                sensitivity_target=point.sensitivity_target,
            )
            for point in {
                point.positive_class: point for point in reversed(operating_points)
            }.values()
        )
    if not 0.0 <= threshold <= 1.0:
        raise UsageError(f"--threshold {threshold}: a probability lies between 0 and 1")
    classes = {point.positive_class for point in operating_points}
    if len(classes) != 1:
        raise UsageError(
            f"--threshold: replaces one operating point, but the bundle has {len(classes)}"
        )
    return (
        DecisionPoint(positive_class=classes.pop(), threshold=threshold, sensitivity_target=None),
    )


def _check_target(target: Path) -> None:
    if not target.exists() or (target / RECORD).is_file():
        return
    if not target.is_dir() or any(target.iterdir()):
        raise UsageError(f"{target}: is not a prediction output folder: choose another --out")


def _run(
    plan: PredictPlan,
    workers: chunks.Workers,
    work: WorkPlace,
    before: ScoredBefore | None = None,
    *,
    quiet: bool,
) -> PredictResult:
    begun = time.perf_counter()
    notes = ListingNotes()
    roots = [outermost(str(path)) for path in (*plan.inputs.folders, *plan.inputs.images)]
    if plan.store is None:  # else a job checks its executors
        workers.check(reads=roots, folder=work.shared)
    lists, states = _listed(plan, work, notes, quiet=quiet)
    todo = todo_of(lists, plan.inputs.images, before, work.here, states)
    total, of_images = todo.total, todo.of_images
    executor = workers.executor_for(total).for_networks().sharing(plan.store)
    of_files = chunks.evened(todo.lists, executor.slots, plan.chunk_files, todo.states)
    listed = time.perf_counter()
    scorer, precision = _scorer(plan, executor, work, of_files, of_images)
    pa.default_memory_pool().release_unused()  # of the lists, which nothing here needs again
    ready = time.perf_counter()
    scored_as = _outcome(plan, notes, precision)
    written = _score(plan, executor, work, scorer, (of_files, of_images), quiet=quiet)
    written = replace(written, named_as_frames=_named_as_frames(todo))
    scored = time.perf_counter()
    seconds = {"list": listed - begun, "prepare": ready - listed, "score": scored - ready}
    if work.lease is not None:
        work.lease.check()
    result = publish(scored_as, written, total, seconds)
    return result.model_copy(update={"already": todo.already})


def _listed(
    plan: PredictPlan, work: WorkPlace, notes: ListingNotes, *, quiet: bool
) -> tuple[list[Place], States]:
    """Lists of the files, and the states of those in a store."""
    if not plan.inputs.has_files:
        return [], {}
    with (
        Progress("list files", 0, "files", quiet=quiet) as progress,
        list_writer(work.listing) as writer,
    ):
        seen = list_into(plan.inputs, writer, notes, progress)
        progress.to(seen)
    return (writer.files, writer.states) if seen else ([], {})


def _scorer(
    plan: PredictPlan,
    executor: chunks.Executor,
    work: WorkPlace,
    of_files: list[chunks.Chunk],
    of_images: list[chunks.Chunk],
) -> tuple[Scorer, PrecisionOutcome]:
    """What the workers score with, and how its precision was chosen."""
    engines = work.here / "engines"
    scorer, precision = plan.prepared or prepare_scorer(
        plan.bundle,
        engines,
        plan.settings,
        plan.points,
        ListedSample(of_files, of_images, plan.reading),
        images=sum(chunk.rows for chunk in (*of_files, *of_images)),
        kind="torch" if executor.has_gpus else None,
        in_place=executor.is_here,
        executor=executor,
    )
    if (kinds := plan.settings.heat_maps) is not None:
        target = work.heat_maps(scorer)
        scorer = with_heat_maps(scorer, plan.bundle, engines, kinds, target=target)
    return scorer, precision


def _score(
    plan: PredictPlan,
    executor: chunks.Executor,
    work: WorkPlace,
    scorer: Scorer,
    todo: tuple[list[chunks.Chunk], list[chunks.Chunk]],
    *,
    quiet: bool,
) -> Written:
    """Run the chunks of files and of images tables."""
    of_files, of_images = todo
    phantoms_only = plan.bundle.config.phantoms and not plan.settings.allow_phantom_model
    standard = plan.reading
    seen = sum(chunk.rows for chunk in of_files)
    total = seen + sum(chunk.rows for chunk in of_images)
    reads = [outermost(str(path)) for path in (*plan.inputs.folders, *plan.inputs.images)]
    folder, tables = work.parts_of(len(of_files) + len(of_images))
    with Progress("predict", total, "images", quiet=quiet) as progress:
        parts = chunks.run_chunks(
            executor,
            FilesWork(scorer, standard, plan.salt, phantoms_only=phantoms_only),
            of_files,
            folder,
            progress,
            reads=[*reads, *map(outermost, reads_of(of_files))],
            tables=tables,
        )
        later = _Later(progress, seen)
        of_rows = ImagesWork(scorer, standard.size, standard.fit, cropped=standard.crop != "none")
        rows = chunks.run_chunks(executor, of_rows, of_images, folder, later, tables=tables)
    heat_maps = None if scorer.heat is None else scorer.heat.folder
    return Written(parts, rows, heat_maps=heat_maps, are_placed=tables is not None)


def _outcome(plan: PredictPlan, notes: ListingNotes, precision: PrecisionOutcome) -> Scored:
    return Scored(
        plan.bundle,
        plan.inputs,
        plan.target,
        plan.points,
        notes,
        precision,
        plan.address,
        plan.sinks,
        begun_commits(plan.address),
    )


def _named_as_frames(todo: Todo) -> frozenset[str]:
    """Files whose names end like that of a later frame; very rare."""
    names: set[str] = set()
    for place in todo.lists:
        with open_parquet(place, state=todo.states.get(str(place))) as file:
            for batch in file.iter_batches(limits.CHUNK_FILES_MAX, columns=["uri"]):
                names.update(later_frames(batch.column(0)))
    return frozenset(names)


class _Later(Progress):
    """The progress of a second job, counted on from the end of the first."""

    def __init__(self, progress: Progress, before: int) -> None:
        super().__init__("predict", 0, quiet=True)
        self._whole, self._before = progress, before

    def to(self, done: int, note: str = "") -> None:
        self._whole.to(self._before + done, note)
