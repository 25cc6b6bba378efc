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
from pulmospark.config.inference import ScoringSettings
from pulmospark.core import files, limits
from pulmospark.core.atomic_folders import sweep_inside
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.hashing import value_id
from pulmospark.core.locations import check_local
from pulmospark.core.locks import hold_lock
from pulmospark.core.progress import Progress
from pulmospark.core.pseudonyms import Salt, read_salt
from pulmospark.data.ingest.rows import later_frames
from pulmospark.inference.batch.inputs import (
    Inputs,
    crop_told,
    ct_window_told,
    list_inputs,
    resolve_inputs,
)
from pulmospark.inference.batch.publish import Scored, Written, publish
from pulmospark.inference.batch.result import PredictResult
from pulmospark.inference.batch.scorer import prepare_scorer, with_heat_maps
from pulmospark.inference.batch.sinks.base import ResultSink
from pulmospark.inference.batch.sinks.json_sink import RECORD
from pulmospark.inference.batch.tasks import FilesWork, ImagesWork, Scorer
from pulmospark.inference.decision_point import DecisionPoint
from pulmospark.inference.explain.files import FOLDER as HEAT_FOLDER
from pulmospark.inference.precision.check import PrecisionOutcome
from pulmospark.inference.precision.sample import ListedSample
from pulmospark.layouts.base import ListingNotes
from pulmospark.models.bundle.bundle import Bundle, read_bundle
from pulmospark.models.bundle.config import BundleConfig
from pulmospark.spark.engine_choice import workers_of
from pulmospark.store.archives import outermost
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

    def run(
        self, workers: chunks.Workers | SparkSession | None, *, quiet: bool = False
    ) -> PredictResult:
        """Run the prediction; see :func:`predict`."""
        with _work_folder(self.target) as work:
            result = _run(self, workers_of(workers), work, quiet=quiet)
            # Inside: what is scored is kept until it is published.
            if self.address is not None and self.target is not None:
                with Progress("publish", 1, "outputs", quiet=quiet) as progress:
                    publish_folder(self.target, self.address, last=RECORD)
                    progress.to(1)
                shutil.rmtree(self.target, ignore_errors=True)
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
    target_needed: bool = True,
) -> PredictPlan:
    """Check a prediction before any expensive work; arguments and errors of `predict`.

    ``target_needed`` is false where nothing will be written, as in a dry run.
    """
    read = read_bundle(bundle)
    points = decision_points(read, threshold)
    inputs = resolve_inputs(paths, layout)
    _check_tables(inputs, read.config)
    if target_needed and target is None and not inputs.is_one_image:
        raise UsageError(
            "--out is missing: with more than one image, name a folder for the output"
        )
    address = target if isinstance(target, StoreUri) else None
    if isinstance(target, StoreUri):
        check_target(target, RECORD)
        target = staging_folder(target)
    elif target is not None:
        target = check_local(target).expanduser().absolute()
        _check_target(target)
    salt = None if salt_path is None else read_salt(check_local(salt_path).expanduser())
    chosen = settings or ScoringSettings()
    if read.config.phantoms and not chosen.allow_phantom_model:
        _check_phantoms(inputs)
    return PredictPlan(read, inputs, target, points, chosen, salt=salt, address=address)


def _check_phantoms(inputs: Inputs) -> None:
    """Refuse images tables with rows other than phantoms, for a model trained on phantoms."""
    import pyarrow.compute as pc  # noqa: PLC0415 - only images tables need it

    for part in inputs.images:
        known = "phantom" in pq.read_schema(part).names
        rows = chunks.read_part(part, ["phantom"])["phantom"] if known else None
        if rows is None or not pc.all(pc.fill_null(rows, False)).as_py():
            raise InputError(
                f"{part}: holds images that are not phantoms, but the model was trained on "
                "phantoms: name another bundle, or give --allow-phantom-model"
            )


def _check_tables(inputs: Inputs, config: BundleConfig) -> None:
    """Refuse images tables whose images were prepared with other settings than the bundle's."""
    for table, fit in inputs.fits.items():
        if fit != config.fit:
            raise InputError(
                f"{table}: its images were resized with fit={fit!r}, but the model expects "
                f"{config.fit!r}: ingest with --set ingest.fit={config.fit}, or give "
                "the files themselves"
            )
        if (crop := crop_told(Path(table))) != config.crop:
            raise InputError(
                f"{table}: its images were cropped with {crop!r}, but the model expects "
                f"{config.crop!r}: ingest with --set ingest.crop={config.crop}, or give "
                "the files themselves"
            )
        window = ct_window_told(Path(table))
        if window not in {None, config.ct_window}:
            raise InputError(
                f"{table}: its CT slices were windowed with {window!r}, but the model expects "
                f"{config.ct_window!r}: ingest with --set ingest.ct_window={config.ct_window}, "
                "or give the files themselves"
            )
    for table, equalise in inputs.equalised.items():
        if equalise != config.equalise:
            were, expected = (
                "equalised" if flag else "not equalised" for flag in (equalise, config.equalise)
            )
            raise InputError(
                f"{table}: its images were {were}, but the model expects images that were "
                f"{expected}: ingest with --set ingest.equalise="
                f"{str(config.equalise).lower()}, or give the files themselves"
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


def _run(plan: PredictPlan, workers: chunks.Workers, work: Path, *, quiet: bool) -> PredictResult:
    begun = time.perf_counter()
    notes = ListingNotes()
    manifest = work / "manifest.parquet"
    seen = 0
    places = (*plan.inputs.folders, *plan.inputs.images)
    roots = [outermost(str(path)) for path in places]
    workers.check(reads=roots, folder=work)
    if plan.inputs.has_files:
        with Progress("list files", 0, "files", quiet=quiet) as progress:
            seen = list_inputs(plan.inputs, manifest, notes, progress)
            progress.to(seen)
    of_images = chunks.chunks_of(plan.inputs.images)
    total = seen + sum(chunk.rows for chunk in of_images)
    executor = workers.executor_for(total).for_networks()
    of_files = chunks.evened([manifest], executor.slots, plan.chunk_files) if seen else []
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
            reads=[*roots, *map(outermost, reads_of(of_files))],
        )
        later = _Later(progress, seen)
        of_rows = ImagesWork(scorer, standard.size, standard.fit, cropped=standard.crop != "none")
        rows = chunks.run_chunks(executor, of_rows, of_images, work / PARTS, later)
    scored = time.perf_counter()
    written = Written(
        parts,
        rows,
        _named_as_frames(manifest) if seen else frozenset(),
        None if scorer.heat is None else Path(scorer.heat.folder),
    )
    seconds = {"list": listed - begun, "prepare": ready - listed, "score": scored - ready}
    outcome = _outcome(plan, notes, precision)
    return publish(outcome, written, total, seconds)


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
