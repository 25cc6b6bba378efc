"""Method ``features``: MLlib's logistic regression on deep features of a frozen network."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from pyspark import inheritable_thread_target
from pyspark.sql import DataFrame, SparkSession

from pulmospark import chunks
from pulmospark.core.progress import Progress
from pulmospark.core.schemas import Split
from pulmospark.data.expand.table import TABLE
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.tasks import FeatureWork, HeadWork
from pulmospark.models.zoo.logistic_head import set_linear_head
from pulmospark.models.zoo.network import Network
from pulmospark.spark.executor import SparkExecutor
from pulmospark.spark.gpus import executors_have_gpus, gpu_profile
from pulmospark.spark.session import slots
from pulmospark.training.augmented_images import ChildFeatureWork
from pulmospark.training.calibrate import Chosen, from_validation, record
from pulmospark.training.context import Job
from pulmospark.training.cross_fit import Tuned
from pulmospark.training.mllib_logistic import (
    UNTUNED_REG_PARAM,
    Head,
    LogisticFit,
    feature_frame,
    fit_logistic,
    part_filter,
)
from pulmospark.training.results import FINAL, model_name
from pulmospark.training.tuning import (
    Images,
    UntunableError,
    chosen_of,
    final_scores,
    images_of,
    tuned_models,
    write_out_of_fold,
)

_FITS_AT_ONCE = 8
"""MLlib's fits spend most of their time between tasks; more than this block each other."""

_INNER: tuple[Split, ...] = (Split.TRAIN,)
_OUTER: tuple[Split, ...] = (Split.TRAIN, Split.VALIDATION)


def train_by_features(
    job: Job, network: Network, scores: Path
) -> tuple[dict[str, Any], list[Path]]:
    """Train a logistic regression on deep features of a frozen network.

    Returns:
        Values for a ``TrainResult``, and the parts of the features table.
    """
    started = time.perf_counter()
    features = extract_features(
        job.images, network, job.size, job.work, spark=job.spark, quiet=job.quiet
    )
    copies = _copy_features(job, network)
    feature_seconds = time.perf_counter() - started
    images, tuned, untuned = _tuned(job, [part.path for part in features], bool(copies))
    paths = [str(part.path) for part in (*features, *copies)]
    expanded = job.expanded if copies else None
    with feature_frame(
        job.spark, paths, job.cohort, job.split.classes, expanded=expanded
    ) as frame:
        fits = _fit_all(job, frame, tuned)
    heads = tuple(
        (name, tuple(map(tuple, fit.head.weights.tolist())), tuple(fit.head.bias.tolist()))
        for name, fit in fits.items()
    )
    parts = chunks.run_chunks(
        SparkExecutor(job.spark),
        HeadWork(heads),
        chunks.chunks_of([part.path for part in features]),
        job.work / "scores",
        Progress("score", 0, quiet=True),
    )
    chunks.link_parts([part.path for part in parts], scores)
    chosen = _chosen(job, images, tuned, fits, scores)
    head: Head = fits[FINAL].head
    set_linear_head(network, head.weights, head.bias)
    models = tuple(
        record(
            job,
            chosen[model_name(fold)],
            fold,
            images=fits[model_name(fold)].images,
            seconds=sum(
                fits[name].seconds for name in (model_name(fold), inner_name(fold)) if name in fits
            ),
            objective=fits[model_name(fold)].objective,
            reg_param=_strength(job, tuned, model_name(fold)),
            losses=tuned[model_name(fold)].losses if tuned else None,
        )
        for fold in job.folds
    )
    feature_rows = sum(part.rows for part in (*features, *copies))
    values = {
        "models": models,
        "feature_images": feature_rows,
        "feature_seconds": feature_seconds,
        "warnings": untuned,
    }
    return values, [part.path for part in features]


def inner_name(fold: int | None) -> str:
    """Name in the scores table of the scores that calibrate a model."""
    return f"{model_name(fold)}-inner"


def _tuned(
    job: Job, features: Sequence[Path], copies: bool
) -> tuple[Images | None, dict[str, Tuned], tuple[str, ...]]:
    """Images and the tuned models; or nothing and a warning where tuning is impossible."""
    try:
        images = images_of(job, features, copies=copies)
        return images, tuned_models(job, images), ()
    except UntunableError as why:
        if job.experiment.train.logistic.reg_param is not None:
            return None, {}, ()
        return None, {}, (
            f"reg_param is the default {UNTUNED_REG_PARAM:g}, not tuned, because {why}: set "
            "train.logistic.reg_param to change it",
        )  # fmt: skip


def _strength(job: Job, tuned: Mapping[str, Tuned], name: str) -> float:
    if name in tuned:
        return tuned[name].reg_param
    given = job.experiment.train.logistic.reg_param
    return UNTUNED_REG_PARAM if given is None else given


def _chosen(
    job: Job,
    images: Images | None,
    tuned: Mapping[str, Tuned],
    fits: Mapping[str, LogisticFit],
    scores: Path,
) -> dict[str, Chosen]:
    """The scores that calibrate each model; adds out-of-fold scores to the scores table."""
    if images is None:
        return {
            model_name(fold): from_validation(job, scores, inner_name(fold), fold)
            for fold in job.folds
        }
    logits = {name: model.logits for name, model in tuned.items()}
    if job.split.folds:
        outer = {fold: fits[model_name(fold)].head for fold in range(job.split.folds)}
        logits[FINAL] = final_scores(images, outer)
    named = {inner_name(fold): logits[model_name(fold)] for fold in job.folds}
    write_out_of_fold(scores / "out-of-fold.parquet", images, named)
    return {name: chosen_of(images, values) for name, values in logits.items()}


def _fit_all(job: Job, frame: DataFrame, tuned: Mapping[str, Tuned]) -> dict[str, LogisticFit]:
    """Fit each fold, several at once: a single fit leaves the cores idle between its passes.

    Without out-of-fold scores, each fold also has an inner fit that excludes the validation set,
    so that temperature and operating point are chosen on unseen images; the outer fit includes
    them.
    """
    plan = [
        (name, part_filter(taken, fold), _strength(job, tuned, model_name(fold)))
        for fold in job.folds
        for name, taken in ((inner_name(fold), _INNER), (model_name(fold), _OUTER))
        if taken is _OUTER or not tuned
    ]
    fits: dict[str, LogisticFit] = {}
    with (
        Progress("train", len(plan), "fits", quiet=job.quiet) as progress,
        ThreadPoolExecutor(min(slots(job.spark), _FITS_AT_ONCE)) as pool,
    ):
        waiting = {
            pool.submit(
                # Over Spark Connect a thread does not inherit the session. Created for each fit,
                # because Spark keeps properties per thread.
                inheritable_thread_target(job.spark)(fit_logistic),
                frame.where(rows),
                name,
                job.split.classes,
                job.experiment.train.logistic,
                reg_param,
            )
            for name, rows, reg_param in plan
        }
        for done in as_completed(waiting):
            fits[done.result().head.name] = done.result()
            progress.to(len(fits))
    return fits


def _copy_features(job: Job, network: Network) -> list[chunks.Part]:
    """Deep features of the augmented copies, if an expanded table is used."""
    if job.expanded is None:
        return []
    return extract_features(
        job.expanded / TABLE,
        network,
        job.size,
        job.work,
        spark=job.spark,
        quiet=job.quiet,
        maker=ChildFeatureWork,
    )


def extract_features(
    images: Path,
    network: Network,
    size: int,
    work: Path,
    *,
    spark: SparkSession,
    quiet: bool,
    maker: type[FeatureWork] = FeatureWork,
) -> list[chunks.Part]:
    """Extract deep features of every image of a table on Spark; existing parts are reused.

    Args:
        images: the images table, or an expanded table.
        network: whose features.
        size: side of the standard image, pixels.
        work: folder for the engine and the features.
        spark: the session.
        quiet: show no progress.
        maker: the work on a chunk.
    """
    gpus = executors_have_gpus(spark)
    engine = prepare_engine(
        network,
        work / "engines",
        outputs="features",
        size=size,
        kind="torch" if gpus else None,
    )
    todo = chunks.chunks_of(chunks.parts_of(images))
    total = sum(chunk.rows for chunk in todo)
    with Progress("features", total, "images", quiet=quiet) as progress:
        return chunks.run_chunks(
            SparkExecutor(spark, gpu_profile(spark) if gpus else None),
            maker(engine, size),
            todo,
            work / "features",
            progress,
        )
