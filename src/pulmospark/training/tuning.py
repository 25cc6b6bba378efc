"""Out-of-fold scores that tune and calibrate the models of a training run on features."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.core import limits, schemas
from pulmospark.core.arrays import Floats, Ints, Mask, Singles
from pulmospark.core.progress import Progress
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import read_cohort
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
from pulmospark.training.mllib_logistic import Head
from pulmospark.training.results import FINAL, model_name


@dataclass(frozen=True)
class Images:
    """The included images of a cohort, with their deep features, ordered by ``uri``.

    Attributes:
        rows: of the cohort.
        features: float32 (n, width).
        labels: int64 (n,).
        folds: int64 (n,), -1 without folds.
        tested: bool (n,), the test set of a single split.
    """

    rows: pa.Table
    features: Singles
    labels: Ints
    folds: Ints
    tested: Mask


class UntunableError(Exception):
    """Why out-of-fold scores are impossible; its text goes into warnings."""


def images_of(job: Job, parts: Sequence[Path], *, copies: bool) -> Images:
    """Read the deep features of a cohort's images into memory.

    Args:
        job: the training.
        parts: of the features table.
        copies: whether augmented copies are trained on.

    Raises:
        UntunableError: too many images, or augmented copies are trained on.
    """
    rows = read_cohort(job.cohort)
    if copies:
        raise UntunableError("augmented copies are trained on")
    if job.experiment.train.logistic.elastic_net_param:
        raise UntunableError("elastic_net_param is not 0")
    width = len(pq.ParquetFile(parts[0]).read_row_group(0, columns=["features"])["features"][0])
    if (values := rows.num_rows * width) > limits.CROSS_FIT_VALUES_MAX:
        raise UntunableError(
            f"{rows.num_rows:,} images with {width:,} features each are {values:,} values, over "
            f"{limits.CROSS_FIT_VALUES_MAX:,}"
        )
    place = {uri: number for number, uri in enumerate(rows["uri"].to_pylist())}
    features = np.full((rows.num_rows, width), np.nan, np.float32)
    for part in parts:
        table = pq.read_table(part, columns=["uri", "features"])
        at = np.asarray([place.get(uri, -1) for uri in table["uri"].to_pylist()], np.int64)
        flat = table["features"].combine_chunks().flatten().to_numpy()
        features[at[at >= 0]] = flat.reshape(table.num_rows, width)[at >= 0]
    index = {name: number for number, name in enumerate(job.split.classes)}
    folds = rows["fold"].fill_null(-1).to_numpy()
    return Images(
        rows,
        features,
        np.asarray([index[label] for label in rows["label"].to_pylist()], np.int64),
        np.asarray(folds, np.int64),
        np.asarray([name == Split.TEST.value for name in rows["split"].to_pylist()], np.bool_),
    )


def tuned_models(job: Job, images: Images) -> dict[str, Tuned]:
    """Strength and out-of-fold scores of each model, by name.

    The final model of a cross-validation has the median of the folds' strengths; its scores are
    those of the folds' models (:func:`final_scores`).

    Args:
        job: the training.
        images: of its cohort.

    Raises:
        UntunableError: a class has too few patients to be in every inner training part.
    """
    settings = job.experiment.train.logistic
    strengths = REG_PARAMS if settings.reg_param is None else (settings.reg_param,)
    classes = len(job.split.classes)
    fitter = CrossFit(images.features, images.labels, classes, max_iter=settings.max_iter)
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
    inside = ~images.tested if fold is None else images.folds != fold
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
    return Tuned(strength, np.empty((0, 0)), losses)


def final_scores(images: Images, heads: Mapping[int, Head]) -> Floats:
    """Scores of all images, each by the model of its fold, which was not fitted on it.

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
    """The available out-of-fold scores, for calibration."""
    known = ~np.isnan(logits[:, 0])
    groups = images.rows["group_id"].filter(pa.array(known))
    return Chosen(logits[known], images.labels[known], numbered(groups), "out-of-fold")


def write_out_of_fold(path: Path, images: Images, scores: Mapping[str, Floats]) -> None:
    """Write a part of the scores table with the out-of-fold scores of each model.

    Args:
        path: of the file.
        images: of the cohort.
        scores: name of a model in the table -> logits, nan where there are none.
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
