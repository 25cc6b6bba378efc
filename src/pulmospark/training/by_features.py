"""Way (a): deep features of a frozen network, and MLlib's logistic regression on them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from pulmospark.core.progress import Progress
from pulmospark.core.tables import Split
from pulmospark.models.logistic import set_linear_head
from pulmospark.models.network import Network
from pulmospark.scoring.prepare import prepare_engine
from pulmospark.scoring.works import FeatureWork, HeadWork
from pulmospark.spark import chunks
from pulmospark.training.calibrate import record
from pulmospark.training.job import Job
from pulmospark.training.logistic import (
    Head,
    LogisticFit,
    feature_frame,
    fit_logistic,
    part_filter,
)
from pulmospark.training.records import FINAL, model_name

_INNER: tuple[Split, ...] = (Split.TRAIN,)
_OUTER: tuple[Split, ...] = (Split.TRAIN, Split.VALIDATION)


def train_by_features(job: Job, network: Network, scores: Path) -> dict[str, Any]:
    """Way (a): deep features of the frozen network, logistic regression on them."""
    started = time.perf_counter()
    features = extract_features(
        job.images, network, job.size, job.work, spark=job.spark, quiet=job.quiet
    )
    feature_seconds = time.perf_counter() - started
    fits: dict[str, LogisticFit] = {}
    seconds: dict[str, float] = {}
    paths = [str(part.path) for part in features]
    with feature_frame(job.spark, paths, job.cohort, job.split.classes) as frame:
        total = 2 * len(job.folds)
        with Progress("train", total, "fits", quiet=job.quiet) as progress:
            for fold in job.folds:
                # The inner fit leaves the validation part out, so that temperature and
                # operating point are chosen on films it has not seen; the outer fit then
                # takes them in.
                begun = time.perf_counter()
                for name, taken in (
                    (f"{model_name(fold)}-inner", _INNER),
                    (model_name(fold), _OUTER),
                ):
                    rows = frame.where(part_filter(taken, fold))
                    fits[name] = fit_logistic(
                        rows, name, job.split.classes, job.experiment.train.logistic
                    )
                    progress.to(len(fits))
                seconds[model_name(fold)] = time.perf_counter() - begun
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
        record(
            job,
            scores,
            fold,
            validated_by=f"{model_name(fold)}-inner",
            films=fits[model_name(fold)].films,
            seconds=seconds[model_name(fold)],
            objective=fits[model_name(fold)].objective,
        )
        for fold in job.folds
    )
    films = sum(part.rows for part in features)
    return {"models": models, "feature_films": films, "feature_seconds": feature_seconds}


def extract_features(
    images: Path, network: Network, size: int, work: Path, *, spark: SparkSession, quiet: bool
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
