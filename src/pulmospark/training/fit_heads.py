"""Fit the logistic regression of each model of a training run, on the driver or with MLlib."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from pyspark import inheritable_thread_target

from pulmospark.chunks.parquet_files import Place
from pulmospark.core import machine
from pulmospark.core.blas import one_blas_thread
from pulmospark.core.progress import Progress
from pulmospark.core.schemas import Split
from pulmospark.spark.session import slots
from pulmospark.training.context import Job
from pulmospark.training.cross_fit import Tuned
from pulmospark.training.feature_matrix import Images
from pulmospark.training.logistic_fit import UNTUNED_REG_PARAM, Head, LogisticFit, check_classes
from pulmospark.training.results import model_name
from pulmospark.training.softmax_regression import (
    FITS_AT_ONCE,
    SoftmaxFit,
    Standardised,
    fit_softmax,
)

_FITS_AT_ONCE = 8
"""MLlib's fits spend most of their time between tasks; more than this block each other."""
_INNER: tuple[Split, ...] = (Split.TRAIN,)
_OUTER: tuple[Split, ...] = (Split.TRAIN, Split.VALIDATION)


@dataclass(frozen=True)
class PlannedFit:
    """A fit of a training run.

    Attributes:
        name: of the model, also in the scores table.
        splits: trained on.
        fold: excluded; ``None``: no fold is.
        reg_param: strength of the regularisation.
        start: a fit on part of these images to start from, on the driver.
    """

    name: str
    splits: tuple[Split, ...]
    fold: int | None
    reg_param: float
    start: SoftmaxFit | None = None


def inner_name(fold: int | None) -> str:
    """Name in the scores table of the scores that calibrate a model."""
    return f"{model_name(fold)}-inner"


def reg_param_of(job: Job, tuned: Mapping[str, Tuned], fold: int | None) -> float:
    """Strength of a model's regularisation: the tuned one, the configured one or the default."""
    if (name := model_name(fold)) in tuned:
        return tuned[name].reg_param
    given = job.experiment.train.logistic.reg_param
    return UNTUNED_REG_PARAM if given is None else given


def planned(job: Job, tuned: Mapping[str, Tuned]) -> list[PlannedFit]:
    """The fits of a training run.

    Without out-of-fold scores, each fold also has an inner fit that excludes the validation set,
    so that temperature and operating point are chosen on unseen images; the outer fit includes
    them.
    """
    return [
        PlannedFit(
            name,
            splits,
            fold,
            reg_param_of(job, tuned, fold),
            tuned[model_name(fold)].fit if tuned else None,
        )
        for fold in job.folds
        for name, splits in ((inner_name(fold), _INNER), (model_name(fold), _OUTER))
        if splits is _OUTER or not tuned
    ]


def fit_on_driver(job: Job, images: Images, plan: Sequence[PlannedFit]) -> dict[str, LogisticFit]:
    """Fit on the features in the driver's memory, as many at once as there are cores.

    Args:
        job: the training.
        images: with the augmented copies that are trained on.
        plan: the fits.

    Raises:
        ClassError: a class has no training images.
    """
    classes, settings = job.split.classes, job.experiment.train.logistic

    def fit(item: PlannedFit) -> LogisticFit:
        started = time.perf_counter()
        rows = images.rows_of(item.splits, item.fold)
        check_classes(item.name, classes, set(images.labels[rows].tolist()))
        fitted = fit_softmax(
            Standardised.of(images.features[rows]),
            images.labels[rows],
            len(classes),
            item.reg_param,
            start=item.start,
            max_iter=settings.max_iter,
        )
        head = Head(item.name, fitted.weights, fitted.bias)
        return LogisticFit(head, rows.size, fitted.objective, time.perf_counter() - started)

    with one_blas_thread():
        return _fitted(job, fit, plan, min(machine.cores(), FITS_AT_ONCE))


def fit_with_mllib(
    job: Job, features: Sequence[Place], plan: Sequence[PlannedFit], *, expanded: Path | None
) -> dict[str, LogisticFit]:
    """Fit with MLlib on the executors, several at once: between its passes one leaves cores idle.

    Args:
        job: the training.
        features: parts of the features table, including those of the augmented copies.
        plan: the fits.
        expanded: folder of the expansion whose copies are trained on; ``None``: none.

    Raises:
        ClassError: a class has no training images.
    """
    from pulmospark.training import mllib_logistic as mllib  # noqa: PLC0415 - draws in pyspark.ml

    classes, settings = job.split.classes, job.experiment.train.logistic
    with mllib.feature_frame(job.spark, features, job.cohort, classes, expanded=expanded) as frame:

        def fit(item: PlannedFit) -> LogisticFit:
            rows = frame.where(mllib.part_filter(item.splits, item.fold))
            return mllib.fit_logistic(rows, item.name, classes, settings, item.reg_param)

        return _fitted(job, fit, plan, min(slots(job.spark), _FITS_AT_ONCE))


def _fitted(
    job: Job,
    fit: Callable[[PlannedFit], LogisticFit],
    plan: Sequence[PlannedFit],
    threads: int,
) -> dict[str, LogisticFit]:
    """Results of the fits by the models' names."""
    fits: dict[str, LogisticFit] = {}
    with (
        Progress("train", len(plan), "fits", quiet=job.quiet) as progress,
        ThreadPoolExecutor(threads) as pool,
    ):
        # Over Spark Connect a thread does not inherit the session. Created for each fit, because
        # Spark keeps properties per thread.
        waiting = [pool.submit(inheritable_thread_target(job.spark)(fit), item) for item in plan]
        for done in as_completed(waiting):
            fits[done.result().head.name] = done.result()
            progress.to(len(fits))
    return fits
