"""Predict: a bundle and films in, a predictions table, a rejects table and CSV files out."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from pulmospark.core import files, limits, tables
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.progress import Progress
from pulmospark.core.provenance import now_utc, provenance
from pulmospark.core.pseudonyms import Salt, read_salt
from pulmospark.layouts.base import ListingNotes, NotesSummary
from pulmospark.models.bundle import Bundle, read_bundle
from pulmospark.models.bundle_config import BundleConfig
from pulmospark.scoring.engine import Kind
from pulmospark.scoring.predict_export import (
    DecisionPoint,
    Tally,
    caution_words,
    cautions_part,
    export_predictions,
    export_rejects,
)
from pulmospark.scoring.predict_inputs import Inputs, crop_told, list_inputs, resolve_inputs
from pulmospark.scoring.predict_work import CAUTIONS, FilesWork, ImagesWork, Scorer
from pulmospark.scoring.prepare import prepare_engine
from pulmospark.spark import chunks
from pulmospark.spark.resources import executors_have_gpus, gpu_profile

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RECORD = "predict.json"
"""marks a folder as the output of a prediction"""

PARTS = "parts"
"""folder of the work folder with what is scored already"""

_NAMED_MAX = 100

_SCHEMAS = {"predictions": tables.PREDICTIONS, "rejects": tables.REJECTS, "cautions": CAUTIONS}


class Decision(BaseModel):
    """What an operating point says of a film."""

    model_config = ConfigDict(frozen=True)

    positive_class: str
    threshold: float
    positive: bool


class FilmPrediction(BaseModel):
    """What is predicted of one film."""

    model_config = ConfigDict(frozen=True)

    uri: str
    image_id: str
    prediction: str
    """the most probable class"""
    probabilities: dict[str, float]
    """class -> probability, in the order of the bundle"""
    decisions: tuple[Decision, ...]
    caution: str | None
    """why the film may be none of the kind that the model was made for"""


class PredictResult(BaseModel):
    """What a prediction did."""

    model_config = ConfigDict(frozen=True)

    folder: Path | None
    """of the output; ``None``: nothing was written"""
    bundle: Path
    model_id: str
    model: str
    """the network's name in the zoo"""
    classes: tuple[str, ...]
    files: int
    """files and rows seen: images + rejects, a file of several frames counted once"""
    images: int
    rejects: int
    rejects_by_reason: dict[str, int]
    predictions: dict[str, int]
    """class -> films for which it is the most probable"""
    decision_points: tuple[DecisionPoint, ...]
    positive: dict[str, int]
    """class of an operating point -> films at or above its threshold"""
    cautions: dict[str, int]
    """view -> films that were scored though they seem to be no frontal"""
    layout: str | None
    """of the folders, named or recognised; ``None``: every image file in them"""
    notes: NotesSummary
    """what was odd in the listing"""
    seconds: dict[str, float]
    film: FilmPrediction | None = None
    """where one film was asked for"""


@dataclass(frozen=True)
class PredictPlan:
    """A prediction that was checked as far as it can be without reading a film."""

    bundle: Bundle
    inputs: Inputs
    target: Path | None
    points: tuple[DecisionPoint, ...]
    chunk_files: int = limits.CHUNK_FILES_MAX
    """files of a task, at most"""
    engines: Path | None = None
    """folder in which a prepared network is looked for, and left; ``None``: the work folder"""
    salt: Salt | None = None

    def run(self, spark: SparkSession | None, *, quiet: bool = False) -> PredictResult:
        """Do it; see :func:`predict`."""
        with _work_folder(self.target) as work:
            return _run(self, spark, work, quiet=quiet)


def predict(
    bundle: Path,
    paths: Sequence[str],
    target: Path | None,
    spark: SparkSession | None,
    *,
    layout: str | None = None,
    threshold: float | None = None,
    salt_path: Path | None = None,
    quiet: bool = False,
) -> PredictResult:
    """Score films with a bundle.

    ``target`` gets the tables ``predictions`` (``core.tables.PREDICTIONS``), ``rejects``
    (``core.tables.REJECTS``) and ``cautions``, the first two as CSV as well, and
    ``predict.json``; it appears whole or not at all, and a killed run goes on where it was.
    Each file seen is a row of ``predictions`` or of ``rejects``.

    Args:
        bundle: folder of the bundle.
        paths: see :func:`pulmospark.scoring.predict_inputs.resolve_inputs`.
        target: folder of the output; ``None`` with one film only: nothing is kept.
        spark: the session; ``None``: in this process, one film after the other.
        layout: of the folders; ``None``: every image file in them.
        threshold: of the operating point, 0 to 1, instead of the bundle's.
        salt_path: file with the secret that patient numbers of DICOM headers are hashed with;
            ``None``: they are left out.
        quiet: show no progress.

    Raises:
        BundleError: the bundle is missing or damaged.
        UsageError: ``target`` is missing, or holds something else; ``threshold`` is out of
            range, or the bundle has no operating point.
        InputError: a path is not there, there is no image file, or, without ``target``, the
            one film could not be read.
        EnvironmentProblem: no space, or no right to write there.
    """
    plan = plan_predict(
        bundle, paths, target, layout=layout, threshold=threshold, salt_path=salt_path
    )
    return plan.run(spark, quiet=quiet)


def plan_predict(
    bundle: Path,
    paths: Sequence[str],
    target: Path | None,
    *,
    layout: str | None = None,
    threshold: float | None = None,
    salt_path: Path | None = None,
) -> PredictPlan:
    """Check a prediction before anything costly is done; arguments and errors of `predict`."""
    read = read_bundle(bundle.expanduser().absolute())
    points = _points(read, threshold)
    inputs = resolve_inputs(paths, layout)
    _check_tables(inputs, read.config)
    if target is None and not inputs.is_one_film:
        raise UsageError("--out is missing: with more than one film, name a folder for the output")
    if target is not None:
        target = target.expanduser().absolute()
        _check_target(target)
    salt = None if salt_path is None else read_salt(salt_path.expanduser())
    return PredictPlan(read, inputs, target, points, salt)


def _check_tables(inputs: Inputs, config: BundleConfig) -> None:
    """Refuse images tables whose films were prepared otherwise than the bundle takes them."""
    for table, fit in inputs.fits.items():
        if fit != config.fit:
            raise InputError(
                f"{table}: its films were made square by {fit!r}, and the bundle takes "
                f"{config.fit!r}: ingest with --set ingest.fit={config.fit}, or give "
                "the files themselves"
            )
        if (crop := crop_told(Path(table))) != config.crop:
            raise InputError(
                f"{table}: its films were cut to {crop!r}, and the bundle takes "
                f"{config.crop!r}: ingest with --set ingest.crop={config.crop}, or give "
                "the files themselves"
            )
    for table, equalise in inputs.equalised.items():
        if equalise != config.equalise:
            was, takes = (("" if told else "not ") for told in (equalise, config.equalise))
            raise InputError(
                f"{table}: its films were {was}equalised, and the bundle takes films that were "
                f"{takes}equalised: ingest with --set ingest.equalise="
                f"{str(config.equalise).lower()}, or give the files themselves"
            )


def _points(bundle: Bundle, threshold: float | None) -> tuple[DecisionPoint, ...]:
    told = bundle.config.operating_points
    if threshold is None:
        return tuple(
            DecisionPoint(
                positive_class=point.positive_class,
                threshold=point.threshold,
                sensitivity_target=point.sensitivity_target,
            )
            for point in {each.positive_class: each for each in reversed(told)}.values()
        )
    if not 0.0 <= threshold <= 1.0:
        raise UsageError(f"--threshold {threshold}: a probability lies in 0 to 1")
    classes = {point.positive_class for point in told}
    if len(classes) != 1:
        raise UsageError(
            f"--threshold: the bundle has {len(classes)} operating points, and it stands for one"
        )
    return (
        DecisionPoint(positive_class=classes.pop(), threshold=threshold, sensitivity_target=None),
    )


def _check_target(target: Path) -> None:
    if not target.exists() or (target / RECORD).is_file():
        return
    if not target.is_dir() or any(target.iterdir()):
        raise UsageError(
            f"{target}: holds something that is no earlier prediction: choose another --out"
        )


@contextlib.contextmanager
def _work_folder(target: Path | None) -> Iterator[Path]:
    """Beside the target, and kept after an error, so that the next run finds what was done."""
    if target is None:
        with tempfile.TemporaryDirectory(prefix="pulmospark-") as name:
            yield Path(name)
        return
    work = target.with_name(f".{target.name}.work")
    with files.disk_errors(target):
        work.mkdir(parents=True, exist_ok=True)
    try:
        yield work
    except BaseException:
        if not (work / PARTS).is_dir():  # nothing in it that a next run could use
            shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)


def _run(
    plan: PredictPlan, spark: SparkSession | None, work: Path, *, quiet: bool
) -> PredictResult:
    begun = time.perf_counter()
    notes = ListingNotes()
    manifest = work / "manifest.parquet"
    seen = 0
    if _has_files(plan.inputs):
        seen = list_inputs(plan.inputs, manifest, notes, plan.chunk_files)
    of_files = chunks.chunks_of([manifest]) if seen else []
    of_images = chunks.chunks_of(plan.inputs.images)
    total = seen + sum(chunk.rows for chunk in of_images)
    listed = time.perf_counter()
    # For a film or two, the conversion to OpenVINO costs more than it gains.
    kind: Kind | None = "torch" if spark is None or executors_have_gpus(spark) else None
    scorer = _scorer(plan.bundle, plan.engines or work / "engines", kind)
    prepared = time.perf_counter()
    config = plan.bundle.config
    settings = config.ingest
    with Progress("predict", total, "films", quiet=quiet) as progress:
        parts = _scored(
            spark, FilesWork(scorer, settings, plan.salt), of_files, work / PARTS, progress
        )
        later = _Later(progress, seen)
        parts += _scored(
            spark, ImagesWork(scorer, config.input_size), of_images, work / PARTS, later
        )
    scored = time.perf_counter()
    seconds = {
        "list": listed - begun,
        "prepare": prepared - listed,
        "score": scored - prepared,
    }
    return _publish(plan, parts, notes, total, seconds)


def _has_files(inputs: Inputs) -> bool:
    return bool(inputs.folders or inputs.named or inputs.sheets)


class _Later(Progress):
    """The progress of a second job, which goes on from where the first ended."""

    def __init__(self, progress: Progress, before: int) -> None:
        super().__init__("predict", 0, quiet=True)
        self._whole, self._before = progress, before

    def to(self, done: int, note: str = "") -> None:
        self._whole.to(self._before + done, note)


def _scorer(bundle: Bundle, engines: Path, kind: Kind | None) -> Scorer:
    config = bundle.config
    engine = prepare_engine(
        bundle.network(), engines, outputs="logits", size=config.input_size, kind=kind
    )
    return Scorer(engine, config.classes, config.temperature, bundle.model_id, now_utc())


def _scored(
    spark: SparkSession | None,
    work: FilesWork | ImagesWork,
    todo: Sequence[chunks.Chunk],
    folder: Path,
    progress: Progress,
) -> list[chunks.Part]:
    if spark is not None:
        profile = gpu_profile(spark) if work.scorer.engine.kind == "torch" else None
        return chunks.run_chunks(spark, work, todo, folder, progress, profile=profile)
    with files.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return [part for chunk in todo for part in _scored_here(work, chunk, folder, progress)]


def _scored_here(
    work: FilesWork | ImagesWork, chunk: chunks.Chunk, folder: Path, progress: Progress
) -> list[chunks.Part]:
    with pq.ParquetFile(chunk.path) as file:
        rows = file.read_row_group(chunk.row_group, columns=work.columns)
    key = work.key(rows)
    made = []
    for table, found in work(rows).items():
        if found.num_rows:
            path = folder / f"{table}-{key}.parquet"
            chunks.write_part(found, path)
            made.append(chunks.Part(table, path, found.num_rows))
    progress.to(chunk.rows)
    return made


def _publish(
    plan: PredictPlan,
    parts: Sequence[chunks.Part],
    notes: ListingNotes,
    seen: int,
    seconds: dict[str, float],
) -> PredictResult:
    begun = time.perf_counter()
    by_table = {
        name: list(dict.fromkeys(part.path for part in parts if part.table == name))
        for name in _SCHEMAS
    }
    film = _film(plan, by_table) if plan.inputs.is_one_film else None
    tally = Tally()
    with contextlib.ExitStack() as stack:
        if plan.target is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pulmospark-")))
        else:
            folder = stack.enter_context(files.whole_folder(plan.target))
        for name, schema in _SCHEMAS.items():
            chunks.link_parts(by_table[name], folder / name)
            if not by_table[name]:
                chunks.write_empty(schema, folder / name)
        export_predictions(
            by_table["predictions"],
            folder / "predictions.csv",
            plan.bundle.config.classes,
            plan.points,
            tally,
        )
        export_rejects(by_table["rejects"], folder / "rejects.csv", tally)
        if tally.images - tally.later_frames + tally.rejects != seen:
            raise InputError(
                f"{tally.images + tally.rejects} rows for {seen} files seen: a table has the same "
                "rows twice; name each film once"
            )
        seconds["write"] = time.perf_counter() - begun
        result = _result(plan, tally, notes, seconds, film)
        files.write_json(folder / RECORD, _record(plan, result))
    return result


def _film(plan: PredictPlan, by_table: dict[str, list[Path]]) -> FilmPrediction | None:
    """The one film's prediction; ``None`` where it was rejected, or is one of several slices,
    and that is written down."""
    if not by_table["predictions"]:
        row = pq.read_table(by_table["rejects"][0]).to_pylist()[0]
        if plan.target is None:
            raise InputError(f"{row['uri']}: {row['reason']}: {row['detail']}")
        return None
    part = by_table["predictions"][0]
    row, *more = pq.read_table(part).to_pylist()
    if more:  # a CT in one file
        if plan.target is None:
            raise UsageError(
                f"{plan.inputs.named[0]}: has {1 + len(more)} frames, each a slice: name a folder "
                "for their predictions with --out"
            )
        return None
    chances = dict(zip(plan.bundle.config.classes, row["probability"], strict=True))
    beside = cautions_part(part)
    odd = pq.read_table(beside)["view"].to_pylist() if beside.is_file() else []
    return FilmPrediction(
        uri=row["uri"],
        image_id=row["image_id"],
        prediction=row["prediction"],
        probabilities=chances,
        decisions=tuple(
            Decision(
                positive_class=point.positive_class,
                threshold=point.threshold,
                positive=point.is_positive(chances[point.positive_class]),
            )
            for point in plan.points
        ),
        caution=caution_words(odd[0]) if odd else None,
    )


def _result(
    plan: PredictPlan,
    tally: Tally,
    notes: ListingNotes,
    seconds: dict[str, float],
    film: FilmPrediction | None,
) -> PredictResult:
    config = plan.bundle.config
    return PredictResult(
        folder=plan.target,
        bundle=plan.bundle.folder,
        model_id=plan.bundle.model_id,
        model=config.model,
        classes=config.classes,
        files=tally.images - tally.later_frames + tally.rejects,
        images=tally.images,
        rejects=tally.rejects,
        rejects_by_reason=dict(sorted(tally.reasons.items())),
        predictions={name: tally.predictions[name] for name in config.classes},
        decision_points=plan.points,
        positive={
            point.positive_class: tally.positive[point.positive_class] for point in plan.points
        },
        cautions=dict(sorted(tally.cautions.items())),
        layout=plan.inputs.layout,
        notes=notes.summary(),
        seconds={name: round(value, 3) for name, value in seconds.items()},
        film=film,
    )


def _record(plan: PredictPlan, result: PredictResult) -> dict[str, object]:
    inputs = plan.inputs
    named = (*inputs.folders, *inputs.named, *inputs.sheets, *inputs.images)
    settings = {
        "bundle": str(plan.bundle.folder),
        "model_id": plan.bundle.model_id,
        "inputs": [
            str(path).encode(errors="backslashreplace").decode() for path in named[:_NAMED_MAX]
        ],
        "inputs_in_all": len(named),
        "layout": inputs.layout,
        "points": [point.model_dump(mode="json") for point in plan.points],
    }
    return {"result": result.model_dump(mode="json"), "provenance": provenance(settings)}
