"""Method ``features``: a logistic regression on deep features of a frozen network."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from pulmospark import chunks
from pulmospark.chunks.parquet_files import Place
from pulmospark.chunks.shared_store import SharedStore
from pulmospark.core.progress import Progress
from pulmospark.data.expand.table import TABLE, read_expanded
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.tasks import FeatureWork, HeadWork
from pulmospark.models.zoo.logistic_head import set_linear_head
from pulmospark.models.zoo.network import Network
from pulmospark.spark.executor import SparkExecutor
from pulmospark.spark.gpus import executors_have_gpus, gpu_profile
from pulmospark.training.augmented_images import ChildFeatureWork
from pulmospark.training.calibrate import Chosen, from_validation, record
from pulmospark.training.context import Job
from pulmospark.training.cross_fit import Tuned
from pulmospark.training.feature_matrix import (
    Images,
    fits_the_driver,
    read_images,
    solver_of,
    too_large,
)
from pulmospark.training.fit_heads import (
    fit_on_driver,
    fit_with_mllib,
    inner_name,
    planned,
    reg_param_of,
)
from pulmospark.training.logistic_fit import UNTUNED_REG_PARAM, LogisticFit
from pulmospark.training.results import FINAL, ModelRecord, model_name
from pulmospark.training.tuning import (
    UntunableError,
    chosen_of,
    final_scores,
    tuned_models,
    write_out_of_fold,
)


def train_by_features(
    job: Job, network: Network, scores: Path
) -> tuple[dict[str, Any], list[Place]]:
    """Train a logistic regression on deep features of a frozen network.

    Returns:
        Values for a ``TrainResult``, and the parts of the features table; of a run in a store
        they are there, where workers on other machines wrote them.

    Raises:
        UsageError: the driver was asked to fit, and the features are too large for it.
    """
    logistic = job.experiment.train.logistic
    solver = solver_of(logistic, job.split.images + _copies(job), network.width)
    started = time.perf_counter()
    features = _features_of(job, job.images, network)
    # The augmented copies, if an expanded table is used.
    copies = (
        _features_of(job, job.expanded / TABLE, network, ChildFeatureWork) if job.expanded else []
    )
    feature_seconds = time.perf_counter() - started
    parts, copy_parts = [part.place for part in features], [part.place for part in copies]
    expanded = job.expanded if copies else None
    images, tuned, untuned = _tuned(job, parts, network.width, expanded)
    plan = planned(job, tuned)
    if solver == "mllib":
        fits = fit_with_mllib(job, [*parts, *copy_parts], plan, expanded=expanded)
    else:
        trained = images or read_images(
            job.cohort, [*parts, *copy_parts], job.split.classes, expanded=expanded
        )
        fits = fit_on_driver(job, trained, plan)
    _score(job, parts, fits, scores)
    chosen = _chosen(job, images, tuned, fits, scores)
    head = fits[FINAL].head
    set_linear_head(network, head.weights, head.bias)
    values = {
        "models": _records(job, tuned, fits, chosen),
        "solver": solver,
        "feature_images": sum(part.rows for part in (*features, *copies)),
        "feature_seconds": feature_seconds,
        "warnings": untuned,
    }
    return values, parts


def _copies(job: Job) -> int:
    """Number of augmented copies that are trained on."""
    return 0 if job.expanded is None else read_expanded(job.expanded).copies


def _tuned(
    job: Job, features: Sequence[Place], width: int, expanded: Path | None
) -> tuple[Images | None, dict[str, Tuned], tuple[str, ...]]:
    """Images and the tuned models; or nothing and a warning where tuning is impossible."""
    try:
        if expanded is not None:
            raise UntunableError("augmented copies are trained on")
        if not fits_the_driver(job.split.images, width):
            raise UntunableError(too_large(job.split.images, width))
        images = read_images(job.cohort, features, job.split.classes)
        return images, tuned_models(job, images), ()
    except UntunableError as why:
        if job.experiment.train.logistic.reg_param is not None:
            return None, {}, ()
        return None, {}, (
            f"reg_param is the default {UNTUNED_REG_PARAM:g}, not tuned, because {why}: set "
            "train.logistic.reg_param to change it",
        )  # fmt: skip


def _score(
    job: Job, features: Sequence[Place], fits: Mapping[str, LogisticFit], scores: Path
) -> None:
    """Write the scores table: the logits of every image by every fitted head."""
    heads = tuple(
        (name, tuple(map(tuple, fit.head.weights.tolist())), tuple(fit.head.bias.tolist()))
        for name, fit in fits.items()
    )
    parts = chunks.run_chunks(
        job.executor,
        HeadWork(heads),
        chunks.chunks_of(features),
        job.work / "scores",
        Progress("score", 0, quiet=True),
    )
    chunks.link_parts([part.path for part in parts], scores)


def _records(
    job: Job,
    tuned: Mapping[str, Tuned],
    fits: Mapping[str, LogisticFit],
    chosen: Mapping[str, Chosen],
) -> tuple[ModelRecord, ...]:
    """Each model's record, with its temperature and operating point."""
    return tuple(
        record(
            job,
            chosen[model_name(fold)],
            fold,
            images=fits[model_name(fold)].images,
            seconds=sum(
                fits[name].seconds for name in (model_name(fold), inner_name(fold)) if name in fits
            ),
            objective=fits[model_name(fold)].objective,
            reg_param=reg_param_of(job, tuned, fold),
            losses=tuned[model_name(fold)].losses if tuned else None,
        )
        for fold in job.folds
    )


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


def _features_of(
    job: Job, images: Path, network: Network, maker: type[FeatureWork] = FeatureWork
) -> list[chunks.Part]:
    return extract_features(
        images,
        network,
        job.size,
        job.work,
        spark=job.spark,
        store=job.store,
        quiet=job.quiet,
        maker=maker,
    )


def extract_features(
    images: Path,
    network: Network,
    size: int,
    work: Path,
    *,
    spark: SparkSession,
    store: SharedStore | None = None,
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
        store: of a run that lies in one; workers on other machines write the parts there.
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
    with Progress("extract features", total, "images", quiet=quiet) as progress:
        return chunks.run_chunks(
            SparkExecutor(spark, gpu_profile(spark) if gpus else None, store),
            maker(engine, size),
            todo,
            work / "features",
            progress,
            stay=True,
        )
