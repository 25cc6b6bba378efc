"""Two models on the same films: by how much they differ, and whether chance would do.

The difference of two accuracies on the same patients is far better known than the distance
of their two intervals tells, for both err on the same hard films. So the same draw of
patients serves both models:

- the interval of the difference is the percentile interval of a bootstrap over patients;
- the p-value is that of a permutation test which exchanges the two models patient by patient
  (for one film a patient it is McNemar's test: McNemar 1947; Edgington and Onghena 2007).

Where many pairs are compared Holm's method (1979) keeps the chance of any false alarm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from pulmospark.core import limits
from pulmospark.core.arrays import Floats
from pulmospark.core.errors import InputError, UsageError
from pulmospark.evaluation.inputs import checked
from pulmospark.evaluation.intervals import ALL_EQUAL
from pulmospark.evaluation.metrics import predicted_class
from pulmospark.evaluation.results import Figure, PairedDifference


def paired_difference(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike,
    classes: Sequence[str],
    *,
    replicates: int,
    confidence: float,
    seed: int,
) -> PairedDifference:
    """Accuracy of the first model less that of the second, on the same films.

    Args:
        labels: (n,) true class, 0 to k - 1.
        first: (n, k) probabilities of the first model.
        second: (n, k) of the second, for the same films in the same order.
        groups: (n,) patient of each film.
        classes: k names.
        replicates: of the bootstrap and of the permutation test.
        confidence: of the interval.
        seed: of both.

    Returns:
        The difference (0 to 1, positive where the first is better) with its interval, the
        p-value (two-sided), and the films on which only one of them is right.

    Raises:
        InputError: tables that do not fit each other, or no film.
    """
    one = checked(labels, first, groups, classes)
    two = checked(labels, second, groups, classes)
    if one.labels.size == 0:
        raise InputError("no film to compare on: give predictions of one or more")
    right = [predicted_class(part.probabilities) == part.labels for part in (one, two)]
    gain = right[0].astype(np.float64) - right[1].astype(np.float64)
    count = one.group_count
    gains = np.bincount(one.groups, weights=gain, minlength=count).astype(np.float64)
    films = np.bincount(one.groups, minlength=count).astype(np.float64)
    return PairedDifference(
        difference=_interval(gains, films, replicates=replicates, share=confidence, seed=seed),
        p_value=_exchanged(gains, replicates, seed),
        only_first=int((right[0] & ~right[1]).sum()),
        only_second=int((right[1] & ~right[0]).sum()),
        films=int(one.labels.size),
        groups=count,
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P-values of several tests, adjusted so that the chance of any false alarm is kept.

    Holm, A simple sequentially rejective multiple test procedure, 1979.

    Raises:
        UsageError: one is outside 0 to 1.
    """
    given = np.asarray(p_values, dtype=np.float64)
    if given.size and not ((given >= 0) & (given <= 1)).all():
        raise UsageError(f"p-values {list(p_values)}: must lie in 0 to 1")
    order = np.argsort(given, kind="stable")
    raised = np.minimum(given[order] * np.arange(given.size, 0, -1), 1.0)
    adjusted = np.empty_like(given)
    adjusted[order] = np.maximum.accumulate(raised) if given.size else raised
    return tuple(float(value) for value in adjusted)


def _interval(gains: Floats, films: Floats, *, replicates: int, share: float, seed: int) -> Figure:
    value = float(gains.sum() / films.sum())
    random = np.random.Generator(np.random.PCG64(seed))
    found = np.empty(replicates)
    for start, size in _blocks(replicates, gains.size):
        drawn = random.multinomial(gains.size, np.full(gains.size, 1 / gains.size), size=size)
        found[start : start + size] = (drawn @ gains) / (drawn @ films)
    low, high = np.quantile(found, [(1 - share) / 2, (1 + share) / 2])
    if low == high:
        return Figure(value=value, method="bootstrap", note=ALL_EQUAL)
    return Figure(value=value, low=float(low), high=float(high), method="bootstrap")


def _exchanged(gains: Floats, replicates: int, seed: int) -> float:
    """Share of exchanges of the models, patient by patient, that differ as much or more."""
    telling = gains[gains != 0]
    if telling.size == 0:
        return 1.0
    seen = abs(float(telling.sum()))
    random = np.random.Generator(np.random.PCG64(seed + 1))
    as_much = 0
    for _, size in _blocks(replicates, telling.size):
        signs = random.integers(0, 2, (size, telling.size)) * 2.0 - 1.0
        as_much += int((np.abs(signs @ telling) >= seen - 1e-9).sum())
    # The exchange that was seen is one of them: a p-value of nought there is none.
    return (as_much + 1) / (replicates + 1)


def _blocks(replicates: int, width: int) -> list[tuple[int, int]]:
    block = max(1, limits.BOOTSTRAP_BLOCK_BYTES // (16 * max(width, 1)))
    return [(at, min(block, replicates - at)) for at in range(0, replicates, block)]
