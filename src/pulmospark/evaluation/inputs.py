"""Validated predictions: the input of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pulmospark.core import limits
from pulmospark.core.arrays import Floats, Ints
from pulmospark.core.errors import InputError

SUM_TOLERANCE = 1e-6
"""allowed deviation of an image's probabilities from summing to 1: float32 has about 1e-7"""


@dataclass(frozen=True)
class Predictions:
    """Validated predictions, from which metrics are computed."""

    labels: Ints
    """(n,) true class"""
    probabilities: Floats
    """(n, k) within 0 and 1, rows sum to 1"""
    groups: Ints
    """(n,) whole numbers from 0, in the order of the group's names"""
    group_count: int
    sources: NDArray[Any] | None
    """(n,) name of each image's data set"""


@dataclass(frozen=True)
class TrainingPart:
    """What the image-blind baselines are fitted on: labels and sources of the training set."""

    labels: ArrayLike
    """(m,) true class of the training images"""
    sources: ArrayLike
    """(m,) name of each image's data set"""


def checked(
    labels: ArrayLike,
    probabilities: ArrayLike,
    groups: ArrayLike,
    classes: Sequence[str],
    sources: ArrayLike | None = None,
) -> Predictions:
    """Check predictions and number their groups.

    Args:
        labels: (n,) true class, 0 to k - 1.
        probabilities: (n, k).
        groups: (n,) name or number of each image's group (patient); images of one group are
            resampled together.
        classes: k names.
        sources: (n,) name of each image's data set.

    Raises:
        InputError: different lengths, no images or too many, a label out of range, or an
            invalid probability.
    """
    table = _probabilities(probabilities, classes)
    images = table.shape[0]
    truth = checked_labels(labels, len(classes), what="labels")
    named = _column(groups, images, "groups")
    if truth.size != images:
        raise InputError(f"{truth.size} labels for {images} images: provide one per image")
    # Sorted names make the replicates independent of the order of the rows.
    names, codes = np.unique(named, return_inverse=True)
    return Predictions(
        labels=truth,
        probabilities=table,
        groups=codes.astype(np.int64),
        group_count=int(names.size),
        sources=None if sources is None else _column(sources, images, "sources"),
    )


def checked_labels(labels: ArrayLike, classes: int, *, what: str) -> Ints:
    """Labels as (n,) int64.

    Raises:
        InputError: they are not integers in 0 to ``classes`` - 1.
    """
    given = np.asarray(labels)
    if given.ndim != 1 or not (given.size == 0 or np.issubdtype(given.dtype, np.integer)):
        raise InputError(
            f"{what} of type {given.dtype} and shape {given.shape}: provide one integer per image"
        )
    wrong = (given < 0) | (given >= classes)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"{what}: {given[row]} in row {row} must lie in 0 to {classes - 1}")
    return given.astype(np.int64)


def checked_training(part: TrainingPart, classes: int) -> tuple[Ints, NDArray[Any]]:
    """Labels and sources of a training set, (n,) each.

    Raises:
        InputError: no images, different lengths, or a label out of range.
    """
    labels = checked_labels(part.labels, classes, what="training labels")
    if labels.size == 0:
        raise InputError(
            "the training set is empty: the image-blind baselines need at least one image"
        )
    return labels, _column(part.sources, labels.size, "training sources")


def _probabilities(probabilities: ArrayLike, classes: Sequence[str]) -> Floats:
    try:
        table = np.asarray(probabilities, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"probabilities are not a table of numbers: {error}") from error
    if not 2 <= len(classes) <= limits.CLASSES_MAX:
        raise InputError(f"{len(classes)} classes: must be 2 to {limits.CLASSES_MAX}")
    if len(set(classes)) != len(classes):
        raise InputError(f"classes {list(classes)}: names must be unique")
    if table.ndim and table.shape[0] == 0:
        raise InputError("no images to evaluate: provide predictions for at least one")
    if table.ndim != 2 or table.shape[1] != len(classes):
        raise InputError(
            f"probabilities of shape {table.shape}: expected (images, {len(classes)}), one per "
            "class"
        )
    images = table.shape[0]
    if images > limits.EVALUATION_ROWS_MAX:
        raise InputError(
            f"{images} images, over the limit of {limits.EVALUATION_ROWS_MAX}: "
            "evaluate a random sample of the patients"
        )
    wrong = ~((table >= 0) & (table <= 1))
    if wrong.any():
        row, column = (int(each) for each in np.argwhere(wrong)[0])
        raise InputError(
            f"probability {table[row, column]} of {classes[column]!r} in row {row}: "
            "must lie in 0 to 1"
        )
    sums = table.sum(axis=1)
    off = np.abs(sums - 1.0) > SUM_TOLERANCE
    if off.any():
        row = int(np.argmax(off))
        raise InputError(
            f"probabilities of row {row} sum to {sums[row]:.8g}: "
            f"must be 1 within {SUM_TOLERANCE:g}"
        )
    return table


def _column(values: ArrayLike, images: int, what: str) -> NDArray[Any]:
    given = np.asarray(values)
    if given.shape != (images,):
        raise InputError(
            f"{what} of shape {given.shape} for {images} images: provide one per image"
        )
    if given.dtype == object:
        absent = [row for row, each in enumerate(given.tolist()) if _absent(each)]
        if absent:
            raise InputError(f"{what}: missing in row {absent[0]}: provide one per image")
        given = given.astype(str)
    return given


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
