"""Predict: a bundle and images in, a predictions table, a rejects table and CSV files out."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from pulmospark import chunks
from pulmospark.chunks.work_list import reads_of
from pulmospark.config.inference import AppendSettings, ScoringSettings
from pulmospark.core import files, limits
from pulmospark.core.atomic_folders import sweep_inside
from pulmospark.core.errors import UsageError
from pulmospark.core.hashing import value_id
from pulmospark.core.locations import check_local
from pulmospark.core.locks import hold_lock
from pulmospark.core.progress import Progress
from pulmospark.core.pseudonyms import Salt, read_salt
from pulmospark.data.ingest.rows import later_frames
from pulmospark.inference.batch.append import Appending, plan_append
from pulmospark.inference.batch.images_tables import check_phantoms, check_tables
from pulmospark.inference.batch.inputs import (
    Inputs,
    resolve_inputs,
)
from pulmospark.inference.batch.listing import list_unscored
from pulmospark.inference.batch.publish import Scored, Written, publish
from pulmospark.inference.batch.result import PredictResult
from pulmospark.inference.batch.scored_before import ScoredBefore
from pulmospark.inference.batch.scorer import prepare_scorer, with_heat_maps
from pulmospark.inference.batch.sinks.base import ResultSink
from pulmospark.inference.batch.sinks.json_sink import RECORD
from pulmospark.inference.batch.staged_rows import Attempt
from pulmospark.inference.batch.tasks import FilesWork, ImagesWork, Scorer
from pulmospark.inference.decision_point import DecisionPoint
from pulmospark.inference.explain.files import FOLDER as HEAT_FOLDER
from pulmospark.inference.precision.check import PrecisionOutcome
from pulmospark.inference.precision.sample import ListedSample
from pulmospark.layouts.base import ListingNotes
from pulmospark.models.bundle.bundle import Bundle, read_bundle
from pulmospark.spark.engine_choice import workers_of
from pulmospark.store.folders import check_target, publish_folder, staging_folder
from pulmospark.store.uri import StoreUri

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PARTS = "parts"
"""subfolder of the work folder with finished parts"""


@dataclass(frozen=True)
class PredictPlan:
    """A prediction, checked as far as possible without reading an image."""

    bundle: Bundle
    inputs: Inputs
    target: Path | None
    """folder of the output; for an address in a store: where it is prepared on this machine"""
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
    appending: Appending | None = None
    """adds to the output's tables; ``None``: replaces them"""

    def run(
        self, workers: chunks.Workers | SparkSession | None, *, quiet: bool = False
    ) -> PredictResult:
        """Run the prediction; see :func:`predict`."""
        with _work_folder(self.target) as work:
            if self.appending is not None:
                return self._append(self.appending, workers_of(workers), work, quiet=quiet)
            result = _run(self, workers_of(workers), work, quiet=quiet)
            # Inside: what is scored is kept until it is published.
            if self.address is not None and self.target is not None:
                with Progress("publish", 1, "outputs", quiet=quiet) as progress:
                    publish_folder(self.target, self.address, last=RECORD)
                    progress.to(1)
                shutil.rmtree(self.target, ignore_errors=True)
        return result

    def _append(
        self, appending: Appending, workers: chunks.Workers, work: Path, *, quiet: bool
    ) -> PredictResult:
        attempt, staged = Attempt.of(work), work / "output"
        aside = replace(self, target=staged)
        result = _run(aside, workers, work, appending.before(attempt.begun), quiet=quiet)
        with Progress("publish", 1, "outputs", quiet=quiet) as progress:
            result = appending.publish(staged, attempt, result, work)
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
        workers: run the chunks; a Spark session: its executors; ``None``: this process.
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
    read = read_bundle(bundle)
    points = decision_points(read, threshold)
    inputs = resolve_inputs(paths, layout)
    check_tables(inputs, read.config)
    if target_needed and target is None and not inputs.is_one_image:
        raise UsageError(
            "--out is missing: with more than one image, name a folder for the output"
        )
    chosen = settings or ScoringSettings()
    address = target if isinstance(target, StoreUri) else None
    if isinstance(target, Path):
        target = check_local(target).expanduser().absolute()
        _check_target(target)
    elif target is not None:
        check_target(target, RECORD)
    appending = None if append is None else plan_append(target, read, append, chosen)
    if isinstance(target, StoreUri):
        target = staging_folder(target)
    salt = None if salt_path is None else read_salt(check_local(salt_path).expanduser())
    if read.config.phantoms and not chosen.allow_phantom_model:
        check_phantoms(inputs)
    return PredictPlan(
        read, inputs, target, points, chosen, salt=salt, address=address, appending=appending
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


def work_of(target: Path) -> Path:
    """Folder next to an output in which a prediction works."""
    return target.with_name(f".{target.name}.work")


@contextlib.contextmanager
def _work_folder(target: Path | None) -> Iterator[Path]:
    """Next to the target, and kept after an error, so that the next run can resume."""
    if target is None:
        with tempfile.TemporaryDirectory(prefix="pulmospark-") as name:
            yield Path(name)
        return
    work = work_of(target)
    with files.disk_errors(target):
        work.mkdir(parents=True, exist_ok=True)
    with hold_lock(work / "lock", target, writer="prediction", needed=False):
        sweep_inside(work)
        try:
            yield work
        except BaseException:
            if not (work / PARTS).is_dir():  # nothing for a next run to reuse
                shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)


def _run(
    plan: PredictPlan,
    workers: chunks.Workers,
    work: Path,
    before: ScoredBefore | None = None,
    *,
    quiet: bool,
) -> PredictResult:
    begun = time.perf_counter()
    notes = ListingNotes()
    roots = [str(path) for path in (*plan.inputs.folders, *plan.inputs.images)]
    workers.check(reads=roots, folder=work)
    todo = list_unscored(plan.inputs, work, notes, before, quiet=quiet)
    total, of_images = todo.total, todo.of_images
    executor = workers.executor_for(total).for_networks()
    of_files = chunks.evened(todo.files, executor.slots, plan.chunk_files)
    listed = time.perf_counter()
    config = plan.bundle.config
    standard = plan.settings.reading(config.ingest)
    phantoms_only = config.phantoms and not plan.settings.allow_phantom_model
    scorer, precision = plan.prepared or prepare_scorer(
        plan.bundle,
        work / "engines",
        plan.settings,
        plan.points,
        ListedSample(of_files, of_images, standard),
        images=total,
        kind="torch" if executor.has_gpus else None,
        in_place=executor.is_here,
    )
    if (kinds := plan.settings.heat_maps) is not None:
        folder = heat_folder(work, scorer)
        scorer = with_heat_maps(scorer, plan.bundle, work / "engines", kinds, target=folder)
    ready = time.perf_counter()
    with Progress("predict", total, "images", quiet=quiet) as progress:
        parts = chunks.run_chunks(
            executor,
            FilesWork(scorer, standard, plan.salt, phantoms_only=phantoms_only),
            of_files,
            work / PARTS,
            progress,
            reads=[*roots, *reads_of(of_files)],
        )
        later = _Later(progress, todo.seen)
        of_rows = ImagesWork(scorer, standard.size, standard.fit, cropped=standard.crop != "none")
        rows = chunks.run_chunks(executor, of_rows, of_images, work / PARTS, later)
    scored = time.perf_counter()
    written = Written(
        parts,
        rows,
        frozenset().union(*map(_named_as_frames, todo.files)),
        None if scorer.heat is None else Path(scorer.heat.folder),
    )
    seconds = {"list": listed - begun, "prepare": ready - listed, "score": scored - ready}
    outcome = _outcome(plan, notes, precision)
    result = publish(outcome, written, total, seconds)
    return result.model_copy(update={"already": todo.already})


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
    )


def heat_folder(work: Path, scorer: Scorer) -> Path:
    """Folder of a work folder for heat maps; another network's are in another one."""
    return work / HEAT_FOLDER / value_id(scorer.key())


def _named_as_frames(manifest: Path) -> frozenset[str]:
    """Files whose names end like that of a later frame; very rare."""
    with pq.ParquetFile(manifest) as file:
        batches = file.iter_batches(columns=["uri"])
        return frozenset(uri for batch in batches for uri in later_frames(batch.column(0)))


class _Later(Progress):
    """The progress of a second job, counted on from the end of the first."""

    def __init__(self, progress: Progress, before: int) -> None:
        super().__init__("predict", 0, quiet=True)
        self._whole, self._before = progress, before

    def to(self, done: int, note: str = "") -> None:
        self._whole.to(self._before + done, note)
