"""How well a single feature predicts the class: a small cross-validated model.

The model is a table. Each category is a bin, numbers are binned at quantiles of the training
images, and missing values are a bin, because missingness can predict the label too. A bin predicts
the class shares among its training images, shrunk towards the overall shares. It captures
non-monotonic relations (both the young and the old are normal, say), has nothing to tune and
needs no library; the tests compare it with scikit-learn's logistic regression.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pulmospark.core.arrays import Floats, Ints, Mask
from pulmospark.evaluation.auc import Ranks
from pulmospark.evaluation.intervals import (
    ALL_EQUAL,
    auroc_figure,
    newcombe_auroc,
    percentile,
)
from pulmospark.evaluation.metrics import macro_auroc
from pulmospark.evaluation.results import Figure

FOLDS = 5
_NO_IMAGE = "a class has no images"
_BINS = 8
_PRIOR_IMAGES = 4.0
"""weight of the overall shares in each bin, in images"""


def guess(
    feature: npt.NDArray[Any], labels: Ints, groups: Ints, *, classes: int, seed: int
) -> Floats:
    """Cross-validated probability of each class from one feature; folds are split by patient.

    Args:
        feature: (n,) float64, nan where missing; or object, names and ``None``.
        labels: (n,) class.
        groups: (n,) patient, numbers from 0; a patient is in one fold.
        classes: how many.
        seed: of the folds.

    Returns:
        (n, classes), rows sum to 1.
    """
    folds = folds_of(labels, groups, seed)
    probability = np.empty((labels.size, classes))
    for fold in range(FOLDS):
        tested = folds == fold
        bins = _bins(feature, ~tested)
        probability[tested] = _shares(bins, labels, ~tested, classes)[bins[tested]]
    return probability


def guess_figure(
    feature: npt.NDArray[Any],
    labels: Ints,
    groups: Ints,
    *,
    classes: int,
    seed: int,
    replicates: int,
    confidence: float,
) -> Figure:
    """AUROC of :func:`guess`, mean over the classes, with a CI from a bootstrap over patients.

    Feature, labels and groups are (n,). A constant feature predicts nothing: 0.5, without a CI.
    """
    if np.unique(_bins(feature, np.ones(labels.size, bool))).size < 2:
        return Figure(value=0.5, note="the feature is the same for all images")
    probability = guess(feature, labels, groups, classes=classes, seed=seed)
    return area(
        labels, probability, groups, seed=seed, replicates=replicates, confidence=confidence
    )


def area(
    labels: Ints,
    probability: Floats,
    groups: Ints,
    *,
    seed: int,
    replicates: int,
    confidence: float,
) -> Figure:
    """AUROC of (n, k) probabilities, mean over the classes, with its bootstrap CI."""
    value = macro_auroc(labels, probability)
    if value is None:
        return Figure(value=None, note=_NO_IMAGE)
    areas = _areas(labels, probability, groups, _drawn(groups, replicates, seed))
    return auroc_figure(value, areas, _patients(labels, groups, probability), confidence)


def area_fall(
    labels: Ints,
    before: Floats,
    after: Floats,
    groups: Ints,
    *,
    seed: int,
    replicates: int,
    confidence: float,
) -> Figure:
    """AUROC of some probabilities minus that of others on the same images, with its CI.

    Each bootstrap sample serves both (a paired bootstrap), which gives a narrower CI than two
    separate ones. Where all replicates are equal, the bounds come from the two separate CIs.

    Args:
        labels: (n,) class, 0 to k - 1.
        before: (n, k) probabilities.
        after: (n, k), of the same images.
        groups: (n,) patient, numbers from 0.
        seed: of the bootstrap.
        replicates: how many.
        confidence: level of the CI.
    """
    start, end = macro_auroc(labels, before), macro_auroc(labels, after)
    if start is None or end is None:
        return Figure(value=None, note=_NO_IMAGE)
    drawn = _drawn(groups, replicates, seed)
    areas = [_areas(labels, probability, groups, drawn) for probability in (before, after)]
    fall = percentile(start - end, areas[0] - areas[1], confidence)
    if fall.note != ALL_EQUAL:
        return fall
    patients = _patients(labels, groups, before)
    first, second = (newcombe_auroc(value, *patients, confidence) for value in (start, end))
    return Figure(
        value=fall.value,
        low=first[0] - second[1],
        high=first[1] - second[0],
        method="bound",
        note="all replicates are equal: from Newcombe's CI of each",
    )


def _drawn(groups: Ints, replicates: int, seed: int) -> Floats:
    """Number of times each patient is drawn in each replicate, (patients, replicates)."""
    count = int(groups.max()) + 1
    random = np.random.default_rng(seed)
    drawn = [
        np.bincount(random.integers(0, count, count), minlength=count) for _ in range(replicates)
    ]
    return np.stack(drawn).T.astype(np.float64)


def _areas(labels: Ints, probability: Floats, groups: Ints, drawn: Floats) -> Floats:
    """AUROC, mean over the classes, of each replicate; nan where undefined."""
    areas = [
        Ranks.of(labels == kind, probability[:, kind], groups, len(drawn)).areas(drawn)[0]
        for kind in range(probability.shape[1])
    ]
    return np.asarray(np.mean(areas, axis=0), np.float64)


def _patients(labels: Ints, groups: Ints, probability: Floats) -> tuple[int, int]:
    """Patients of the rarest class, and all others."""
    kinds = range(probability.shape[1])
    fewest = min(np.unique(groups[labels == kind]).size for kind in kinds)
    return fewest, int(groups.max()) + 1 - fewest or 1


def folds_of(labels: Ints, groups: Ints, seed: int) -> Ints:
    """Fold of each image, (n,): patients in random order, stratified by class."""
    order = np.random.default_rng(seed).permutation(int(groups.max()) + 1)
    first = np.full(order.size, -1, np.int64)
    first[groups] = labels
    dealt = np.empty(order.size, np.int64)
    dealt[order[np.argsort(first[order], kind="stable")]] = np.arange(order.size) % FOLDS
    return np.asarray(dealt[groups], np.int64)


def _bins(feature: npt.NDArray[Any], trained: Mask) -> Ints:
    """Bin of each image; the edges come from the training images only."""
    if feature.dtype == object:
        names = np.asarray(["\0" if value is None else str(value) for value in feature])
        return np.asarray(np.unique(names, return_inverse=True)[1], np.int64)
    known = ~np.isnan(feature)
    values = feature[known & trained]
    if not values.size:
        return np.asarray(known, np.int64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, np.where(known, feature, 0.0), side="left") + 1
    bins_or_zero: Ints = np.where(known, bins, 0).astype(np.int64)
    return bins_or_zero


def _shares(bins: Ints, labels: Ints, trained: Mask, classes: int) -> Floats:
    over_all = (np.bincount(labels[trained], minlength=classes) + 1.0) / (trained.sum() + classes)
    cells = bins[trained] * classes + labels[trained]
    counts = np.bincount(cells, minlength=(int(bins.max()) + 1) * classes)
    table = counts.reshape(-1, classes) + _PRIOR_IMAGES * over_all
    return np.asarray(table / table.sum(axis=1, keepdims=True), np.float64)
