"""Train: from the images table and a cohort to a bundle, in one of two ways."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict
from pyspark.sql import SparkSession

from pulmospark.core import files
from pulmospark.core.errors import InputError
from pulmospark.core.progress import Progress
from pulmospark.core.provenance import provenance
from pulmospark.core.settings import Experiment
from pulmospark.core.tables import Split
from pulmospark.data.cohort import Part, in_part, read_cohort
from pulmospark.data.ingest import read_ingest
from pulmospark.data.split import SplitResult, read_split
from pulmospark.evaluation.calibration import (
    apply_temperature,
    choose_operating_point,
    fit_temperature,
)
from pulmospark.evaluation.results import OperatingPoint
from pulmospark.models import zoo
from pulmospark.models.bundle import BundleConfig, write_bundle
from pulmospark.models.logistic import set_linear_head
from pulmospark.models.network import Network
from pulmospark.models.weights import load_imagenet
from pulmospark.scoring.engine import prepare_engine
from pulmospark.scoring.works import FeatureWork, HeadWork, ScoreWork
from pulmospark.spark import chunks
from pulmospark.training.distributed import threads_for, train_network
from pulmospark.training.logistic import (
    Head,
    LogisticFit,
    feature_frame,
    fit_logistic,
    part_filter,
)
from pulmospark.training.rank import RankPlan

FINAL = "final"


class ModelRecord(BaseModel):
    """One model of a training: the final one, or a fold's."""

    model_config = ConfigDict(frozen=True)

    name: str
    """``final`` or ``fold-<k>``; also its name in the scores table"""
    fold: int | None
    films: int
    """films it was fitted on"""
    validation_films: int
    temperature: float
    operating_point: OperatingPoint | None
    """``None`` where the validation part has no film of the positive class"""
    history: tuple[dict[str, Any], ...] = ()
    """epochs of a CNN"""
    objective: tuple[float, ...] = ()
    """regularised loss of each iteration of a logistic regression"""
    seconds: float


class TrainResult(BaseModel):
    """What a training did."""

    model_config = ConfigDict(frozen=True)

    bundle: Path
    method: str
    model: str
    parameters: int
    classes: tuple[str, ...]
    folds: int
    cohort_id: str
    models: tuple[ModelRecord, ...]
    feature_films: int = 0
    feature_seconds: float = 0.0
    weights: dict[str, Any] | None = None


@dataclass(frozen=True)
class Job:
    """What all steps of one training share."""

    experiment: Experiment
    images: Path
    cohort: Path
    split: SplitResult
    size: int
    fit: str
    work: Path
    spark: SparkSession
    quiet: bool

    @property
    def folds(self) -> tuple[int | None, ...]:
        """Each fold, then ``None`` for the final model."""
        return (*range(self.split.folds), None)


def train(
    experiment: Experiment,
    tables: Path,
    cohort: Path,
    target: Path,
    spark: SparkSession,
    *,
    quiet: bool = False,
) -> TrainResult:
    """Train as the experiment says and write the bundle and the scores of all its films.

    With folds, one model is trained for each (tested on it, validated on a share of the
    others) and a final one on all; the bundle holds the final one, and its figures are those
    of the folds. Temperature and operating point come from the validation part alone.

    Args:
        experiment: the settings.
        tables: folder that ingest wrote.
        cohort: folder that split wrote.
        target: folder of the outcome: ``bundle/``, ``scores/``, ``training.json``.
        spark: the session.
        quiet: show no progress.

    Raises:
        InputError: an earlier step is missing, or a part has no film.
        UsageError: the network is unknown or does not fit the images.
        EnvironmentProblem: weights are missing.
        TrainingError: a training process failed.
    """
    split = read_split(cohort)
    standard = experiment.ingest
    read_ingest(tables)
    zoo.check_size(experiment.train.model, standard.size)
    work = target.with_name(f".{target.name}.work")
    work.mkdir(parents=True, exist_ok=True)
    job = Job(
        experiment,
        tables / "images",
        cohort,
        split,
        standard.size,
        standard.fit,
        work,
        spark,
        quiet,
    )
    network = zoo.build(experiment.train.model, len(split.classes))
    origin = None
    if experiment.train.weights == "imagenet":
        found = load_imagenet(
            network, experiment.train.model, source=experiment.train.weights_path, quiet=quiet
        )
        origin = {"file": found.file, "sha256": found.sha256, "licence": found.licence}
    trainer = _train_features if experiment.train.method == "features" else _train_networks
    with files.whole_folder(target) as aside:
        outcome = trainer(job, network, aside / "scores")
        result = TrainResult(
            bundle=target / "bundle",
            method=experiment.train.method,
            model=experiment.train.model,
            parameters=sum(p.numel() for p in network.parameters()),
            classes=split.classes,
            folds=split.folds,
            cohort_id=split.cohort_id,
            weights=origin,
            **outcome,
        )
        _write_bundle(aside / "bundle", job, network, result)
        files.write_json(
            aside / "training.json",
            {
                "result": result.model_dump(mode="json"),
                "provenance": provenance(
                    experiment.train.model_dump(mode="json"), seed=experiment.seed
                ),
            },
        )
    return result


def read_training(target: Path) -> TrainResult:
    """The result that the last training into ``target`` left.

    Raises:
        InputError: there is none.
    """
    return TrainResult.model_validate(files.read_json(target / "training.json")["result"])


def _train_features(job: Job, network: Network, scores: Path) -> dict[str, Any]:
    """Way (a): deep features of the frozen network, logistic regression on them."""
    started = time.perf_counter()
    features = extract_features(
        job.images, network, job.size, job.work, job.spark, quiet=job.quiet
    )
    feature_seconds = time.perf_counter() - started
    fits: dict[str, LogisticFit] = {}
    seconds: dict[str, float] = {}
    with feature_frame(job.spark, features, job.cohort, job.split.classes) as frame:
        total = 2 * len(job.folds)
        with Progress("train", total, "fits", quiet=job.quiet) as progress:
            for fold in job.folds:
                # The inner fit leaves the validation part out, so that temperature and
                # operating point are chosen on films it has not seen; the outer fit then
                # takes them in.
                begun = time.perf_counter()
                for name, parts in (
                    (f"{_name(fold)}-inner", (Split.TRAIN,)),
                    (_name(fold), (Split.TRAIN, Split.VALIDATION)),
                ):
                    rows = frame.where(part_filter(parts, fold))
                    fits[name] = fit_logistic(
                        rows, name, job.split.classes, job.experiment.train.logistic
                    )
                    progress.to(len(fits))
                seconds[_name(fold)] = time.perf_counter() - begun
    heads = tuple(
        (name, tuple(map(tuple, fit.head.weights.tolist())), tuple(fit.head.bias.tolist()))
        for name, fit in fits.items()
    )
    parts = chunks.run_chunks(
        job.spark,
        HeadWork(heads),
        chunks.chunks_of([part.path for part in features]),
        job.work / "scores",
        Progress("score", 0, quiet=True),
    )
    chunks.link_parts([part.path for part in parts], scores)
    head: Head = fits[FINAL].head
    set_linear_head(network, head.weights, head.bias)
    models = tuple(
        _record(
            job,
            scores,
            fold,
            validated_by=f"{_name(fold)}-inner",
            films=fits[_name(fold)].films,
            seconds=seconds[_name(fold)],
            objective=fits[_name(fold)].objective,
        )
        for fold in job.folds
    )
    films = sum(part.rows for part in features)
    return {"models": models, "feature_films": films, "feature_seconds": feature_seconds}


def extract_features(
    images: Path, network: Network, size: int, work: Path, spark: SparkSession, *, quiet: bool
) -> list[chunks.Part]:
    """Deep features of every image of a table, on Spark; parts that are there are kept.

    Args:
        images: the images table.
        network: whose features.
        size: side of the standard image, pixels.
        work: folder for the engine and the features.
        spark: the session.
        quiet: show no progress.
    """
    engine = prepare_engine(network, work / "engines", outputs="features", size=size)
    todo = chunks.chunks_of(chunks.parts_of(images))
    total = sum(chunk.rows for chunk in todo)
    with Progress("features", total, "films", quiet=quiet) as progress:
        return chunks.run_chunks(
            spark, FeatureWork(engine, size), todo, work / "features", progress
        )


def _train_networks(job: Job, network: Network, scores: Path) -> dict[str, Any]:
    """Way (b): the CNN itself, through TorchDistributor."""
    settings = job.experiment.train
    start = {name: value.detach().clone() for name, value in network.state_dict().items()}
    todo = chunks.chunks_of(chunks.parts_of(job.images))
    found: list[Path] = []
    told: list[tuple[int | None, list[dict[str, Any]], float]] = []
    for fold in job.folds:
        network.load_state_dict(start)
        begun = time.perf_counter()
        plan = RankPlan(
            model=settings.model,
            classes=job.split.classes,
            images=job.images,
            cohort=job.cohort,
            fold=fold,
            size=job.size,
            settings=settings.network,
            seed=job.experiment.seed,
            threads=threads_for(settings.processes, job.spark),
            folder=job.work / _name(fold),
        )
        title = "train" if fold is None else f"train fold {fold}"
        with Progress(title, settings.network.epochs, "epochs", quiet=job.quiet) as progress:
            epochs = train_network(
                network, plan, job.spark, processes=settings.processes, progress=progress
            )
        network.eval()
        engine = prepare_engine(network, job.work / "engines", outputs="logits", size=job.size)
        work = ScoreWork(engine, job.size, _name(fold), str(job.cohort), fold)
        parts = chunks.run_chunks(
            job.spark, work, todo, job.work / "scores", Progress("score", 0, quiet=True)
        )
        found += [part.path for part in parts]
        told.append((fold, epochs, time.perf_counter() - begun))
    chunks.link_parts(found, scores)
    rows = read_cohort(job.cohort)
    models = tuple(
        _record(
            job,
            scores,
            fold,
            validated_by=_name(fold),
            films=int(in_part(rows, Part(Split.TRAIN, fold)).sum()),
            seconds=seconds,
            history=tuple(epochs),
        )
        for fold, epochs, seconds in told
    )
    return {"models": models}


def _record(
    job: Job,
    scores: Path,
    fold: int | None,
    *,
    validated_by: str,
    films: int,
    seconds: float,
    history: tuple[dict[str, Any], ...] = (),
    objective: tuple[float, ...] = (),
) -> ModelRecord:
    """Temperature and operating point from the validation part, and from it alone."""
    classes, settings = job.split.classes, job.experiment.evaluate
    logits, labels = _validation(job, scores, validated_by, fold)
    temperature = fit_temperature(logits, labels) if len(labels) else 1.0
    positive = settings.positive_class or classes[0]
    if positive not in classes:
        raise InputError(
            f"evaluate.positive_class is {positive!r}, and the classes are {', '.join(classes)}"
        )
    index = classes.index(positive)
    point = None
    if (labels == index).any():
        point = choose_operating_point(
            apply_temperature(logits, temperature)[:, index],
            labels == index,
            positive_class=positive,
            target_sensitivity=settings.sensitivity_target,
        )
    return ModelRecord(
        name=_name(fold),
        fold=fold,
        films=films,
        validation_films=len(labels),
        temperature=temperature,
        operating_point=point,
        history=history,
        objective=objective,
        seconds=seconds,
    )


def _validation(
    job: Job, scores: Path, model: str, fold: int | None
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.int64]]]:
    """Logits (n, k) and labels (n,) of the validation part, in the order of the paths."""
    rows = read_cohort(job.cohort)
    rows = rows.filter(pa.array(in_part(rows, Part(Split.VALIDATION, fold))))
    label = dict(zip(rows["uri"].to_pylist(), rows["label"].to_pylist(), strict=True))
    found: dict[str, list[float]] = {}
    for part in chunks.parts_of(scores):
        table = pq.read_table(part, filters=[("model", "=", model)])
        for uri, logits in zip(table["uri"].to_pylist(), table["logits"].to_pylist(), strict=True):
            if uri in label:
                found[uri] = logits
    uris = sorted(found)
    values = np.asarray([found[uri] for uri in uris], dtype=np.float64)
    classes = job.split.classes
    return (
        values.reshape(-1, len(classes)),
        np.asarray([classes.index(label[uri]) for uri in uris], dtype=np.int64),
    )


def _name(fold: int | None) -> str:
    return FINAL if fold is None else f"fold-{fold}"


def _write_bundle(folder: Path, job: Job, network: Network, result: TrainResult) -> None:
    raise NotImplementedError
