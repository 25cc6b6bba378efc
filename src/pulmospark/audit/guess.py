"""How well a class is guessed from one thing alone: a small model, cross-validated.

The model is a table: things that are names are its bins as they are, numbers are cut at
quantiles of the training films, and what is not known is a bin of its own, for that it is
missing can tell a class too. A bin's guess is the share of each class among its training
films, drawn towards the share over all of them. It sees what a line cannot (both the young and
the old are normal, say), has nothing to tune and needs no library: scikit-learn stays a
dependency of the tests, where its logistic regression is held against it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pulmospark.core.arrays import Floats, Ints, Mask
from pulmospark.evaluation.intervals import (
    ALL_EQUAL,
    auroc_figure,
    newcombe_auroc,
    percentile,
)
from pulmospark.evaluation.metrics import macro_auroc
from pulmospark.evaluation.ranks import Ranks
from pulmospark.evaluation.results import Figure

FOLDS = 5
_NO_FILM = "a class has no film"
_BINS = 8
_PRIOR_FILMS = 4.0
"""films that the shares over all films count for in each bin"""


def guess(
    thing: npt.NDArray[Any], labels: Ints, groups: Ints, *, classes: int, seed: int
) -> Floats:
    """Probability of each class from one thing, each film by a model without its patient.

    Args:
        thing: (n,) float64, nan where not known; or object, names and ``None``.
        labels: (n,) class.
        groups: (n,) patient, numbers from 0; a patient is in one fold.
        classes: how many.
        seed: of the folds.

    Returns:
        (n, classes), rows sum to 1.
    """
    folds = folds_of(labels, groups, seed)
    found = np.empty((labels.size, classes))
    for fold in range(FOLDS):
        tested = folds == fold
        bins = _bins(thing, ~tested)
        found[tested] = _shares(bins, labels, ~tested, classes)[bins[tested]]
    return found


def guess_figure(
    thing: npt.NDArray[Any],
    labels: Ints,
    groups: Ints,
    *,
    classes: int,
    seed: int,
    replicates: int,
    confidence: float,
) -> Figure:
    """AUROC of :func:`guess`, mean over the classes, with its bootstrap interval over patients.

    A thing that does not vary tells nothing: 0.5, without an interval.
    """
    if np.unique(_bins(thing, np.ones(labels.size, bool))).size < 2:
        return Figure(value=0.5, note="it is the same for all films")
    probability = guess(thing, labels, groups, classes=classes, seed=seed)
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
    """AUROC of probabilities, mean over the classes, with its bootstrap interval."""
    value = macro_auroc(labels, probability)
    if value is None:
        return Figure(value=None, note=_NO_FILM)
    found = _areas(labels, probability, groups, _drawn(groups, replicates, seed))
    return auroc_figure(value, found, _patients(labels, groups, probability), confidence)


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
    """AUROC of some probabilities less that of others of the same films, with its interval.

    Each draw of patients serves both, so that the fall is better known than two intervals that
    part can tell. Where all replicates are equal its bounds are those of the two, which is wider.

    Args:
        labels: (n,) class, 0 to k - 1.
        before: (n, k) probabilities.
        after: (n, k), of the same films.
        groups: (n,) patient, numbers from 0.
        seed: of the draws.
        replicates: how many.
        confidence: of the interval.
    """
    start, end = macro_auroc(labels, before), macro_auroc(labels, after)
    if start is None or end is None:
        return Figure(value=None, note=_NO_FILM)
    drawn = _drawn(groups, replicates, seed)
    one, other = (_areas(labels, told, groups, drawn) for told in (before, after))
    found = percentile(start - end, one - other, confidence)
    if found.note != ALL_EQUAL:
        return found
    patients = _patients(labels, groups, before)
    first, second = (newcombe_auroc(value, *patients, confidence) for value in (start, end))
    return Figure(
        value=found.value,
        low=first[0] - second[1],
        high=first[1] - second[0],
        method="bound",
        note="all replicates are equal: Newcombe's bounds of the two apart",
    )


def _drawn(groups: Ints, replicates: int, seed: int) -> Floats:
    """How often each patient counts in each replicate, (patients, replicates)."""
    count = int(groups.max()) + 1
    random = np.random.default_rng(seed)
    drawn = [
        np.bincount(random.integers(0, count, count), minlength=count) for _ in range(replicates)
    ]
    return np.stack(drawn).T.astype(np.float64)


def _areas(labels: Ints, probability: Floats, groups: Ints, drawn: Floats) -> Floats:
    """AUROC, mean over the classes, of each replicate; nan where it is not defined."""
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
    """Fold of each film: patients in random order, class by class, dealt out in turn."""
    order = np.random.default_rng(seed).permutation(int(groups.max()) + 1)
    first = np.full(order.size, -1, np.int64)
    first[groups] = labels
    dealt = np.empty(order.size, np.int64)
    dealt[order[np.argsort(first[order], kind="stable")]] = np.arange(order.size) % FOLDS
    return np.asarray(dealt[groups], np.int64)


def _bins(thing: npt.NDArray[Any], trained: Mask) -> Ints:
    """Number of each film's bin, cut by the films of the training part alone."""
    if thing.dtype == object:
        names = np.asarray(["\0" if one is None else str(one) for one in thing])
        return np.asarray(np.unique(names, return_inverse=True)[1], np.int64)
    known = ~np.isnan(thing)
    values = thing[known & trained]
    if not values.size:
        return np.asarray(known, np.int64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, np.where(known, thing, 0.0), side="left") + 1
    found: Ints = np.where(known, bins, 0).astype(np.int64)
    return found


def _shares(bins: Ints, labels: Ints, trained: Mask, classes: int) -> Floats:
    over_all = (np.bincount(labels[trained], minlength=classes) + 1.0) / (trained.sum() + classes)
    cells = bins[trained] * classes + labels[trained]
    counts = np.bincount(cells, minlength=(int(bins.max()) + 1) * classes)
    table = counts.reshape(-1, classes) + _PRIOR_FILMS * over_all
    return np.asarray(table / table.sum(axis=1, keepdims=True), np.float64)
