"""Out-of-fold scores that tune and calibrate the models of a training run on features."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.core import machine, schemas
from pulmospark.core.arrays import Floats, Mask
from pulmospark.core.progress import Progress
from pulmospark.core.schemas import Split
from pulmospark.training.calibrate import Chosen, numbered
from pulmospark.training.context import Job
from pulmospark.training.cross_fit import (
    INNER_FOLDS,
    REG_PARAMS,
    CrossFit,
    Tuned,
    can_cross_fit,
    inner_folds,
)
from pulmospark.training.feature_matrix import Images
from pulmospark.training.logistic_fit import Head
from pulmospark.training.results import FINAL, model_name
from pulmospark.training.softmax_regression import FITS_AT_ONCE


class UntunableError(Exception):
    """Why out-of-fold scores are impossible; its text goes into warnings."""


def tuned_models(job: Job, images: Images) -> dict[str, Tuned]:
    """Strength and out-of-fold scores of each model, by name.

    The final model of a cross-validation has the median of the folds' strengths; its scores are
    those of the folds' models (:func:`final_scores`).

    Args:
        job: the training.
        images: of its cohort.

    Raises:
        UntunableError: the penalty is not L2, or a class has too few patients to be in every
            inner training part.
    """
    settings = job.experiment.train.logistic
    if settings.elastic_net_param:
        raise UntunableError("elastic_net_param is not 0")
    strengths = REG_PARAMS if settings.reg_param is None else (settings.reg_param,)
    classes = len(job.split.classes)
    fitter = CrossFit(
        images.features,
        images.labels,
        classes,
        max_iter=settings.max_iter,
        threads=min(machine.cores(), FITS_AT_ONCE),
    )
    models: list[int | None] = [fold for fold in job.folds if fold is not None] or [None]
    divided = [_inner(job, images, fold) for fold in models]
    if not all(can_cross_fit(images.labels, parts, classes) for parts in divided):
        raise UntunableError("a class has patients in too few of the inner folds")
    done = 0
    tuned: dict[str, Tuned] = {}
    with Progress("tune", len(models) * len(strengths), "strengths", quiet=job.quiet) as progress:
        for fold, parts in zip(models, divided, strict=True):
            tuned[model_name(fold)] = fitter.tuned(parts, strengths)
            done += len(strengths)
            progress.to(done)
    if job.split.folds:
        tuned[FINAL] = _median(list(tuned.values()))
    return tuned


def _inner(job: Job, images: Images, fold: int | None) -> list[Mask]:
    """The inner folds of a model: the other folds of a cross-validation, where these are many."""
    if job.split.folds >= INNER_FOLDS:
        return [images.folds == other for other in range(job.split.folds) if other != fold]
    inside = images.splits != Split.TEST.value if fold is None else images.folds != fold
    rows = images.rows.filter(pa.array(inside))
    inner = np.full(images.labels.size, -1, np.int64)
    inner[inside] = inner_folds(
        rows["group_id"].to_pylist(),
        images.labels[inside],
        rows["source"].to_pylist(),
        job.experiment.seed,
    )
    parts = [inner == number for number in range(INNER_FOLDS)]
    return [part for part in parts if part.any()]


def _median(tuned: Sequence[Tuned]) -> Tuned:
    common = set.intersection(*(set(model.losses) for model in tuned))
    losses = {
        strength: statistics.fmean(model.losses[strength] for model in tuned)
        for strength in sorted(common, reverse=True)
    }
    # For an even number, the stronger of the middle two.
    strength = statistics.median_high(model.reg_param for model in tuned)
    return Tuned(strength, np.empty((0, 0)), losses, tuned[0].fit)


def final_scores(images: Images, heads: Mapping[int, Head]) -> Floats:
    """Scores of all images, (n, k), each by the model of its fold, which was not fitted on it.

    Args:
        images: of a cross-validation.
        heads: of each fold's model.
    """
    classes = next(iter(heads.values())).bias.size
    logits = np.full((images.labels.size, classes), np.nan)
    for fold, head in heads.items():
        held = images.folds == fold
        logits[held] = images.features[held].astype(np.float64) @ head.weights.T + head.bias
    return logits


def chosen_of(images: Images, logits: Floats) -> Chosen:
    """The available ones of (n, k) out-of-fold scores, for calibration."""
    known = ~np.isnan(logits[:, 0])
    groups = images.rows["group_id"].filter(pa.array(known))
    return Chosen(logits[known], images.labels[known], numbered(groups), "out-of-fold")


def write_out_of_fold(path: Path, images: Images, scores: Mapping[str, Floats]) -> None:
    """Write a part of the scores table with the out-of-fold scores of each model.

    Args:
        path: of the file.
        images: of the cohort.
        scores: name of a model in the table -> (n, k) logits, nan where there are none.
    """
    rows: list[dict[str, Any]] = []
    ids, uris = images.rows["image_id"].to_pylist(), images.rows["uri"].to_pylist()
    for name, logits in scores.items():
        rows += [
            {"image_id": image_id, "uri": uri, "model": name, "logits": row}
            for image_id, uri, row in zip(ids, uris, logits.tolist(), strict=True)
            if row[0] == row[0]
        ]
    pq.write_table(pa.Table.from_pylist(rows, schema=schemas.SCORES), path)
