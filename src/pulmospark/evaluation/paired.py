"""Two models on the same images: difference in accuracy, and its statistical significance.

Both models err on the same hard images, so the difference of their accuracies is known more
precisely than two separate CIs suggest. The comparison is therefore paired:

- the CI of the difference comes from the percentiles of a bootstrap over patients;
- the p-value comes from a permutation test that swaps the two models patient by patient
  (with one image per patient it is McNemar's test: McNemar 1947; Edgington and Onghena 2007).

Holm's method (1979) controls the family-wise error rate of several comparisons.
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
    """Accuracy of the first model minus that of the second, on the same images.

    Args:
        labels: (n,) true class, 0 to k - 1.
        first: (n, k) probabilities of the first model.
        second: (n, k) of the second, for the same images in the same order.
        groups: (n,) patient of each image.
        classes: k names.
        replicates: of the bootstrap and of the permutation test.
        confidence: level of the CI.
        seed: of both.

    Returns:
        The difference (-1 to 1, positive if the first is better) with its CI, the two-sided
        p-value, and the numbers of images that only one of them classifies correctly.

    Raises:
        InputError: tables that do not match, or no images.
    """
    by_first = checked(labels, first, groups, classes)
    by_second = checked(labels, second, groups, classes)
    if by_first.labels.size == 0:
        raise InputError("no images to compare on: provide predictions for at least one")
    right = [predicted_class(part.probabilities) == part.labels for part in (by_first, by_second)]
    gain = right[0].astype(np.float64) - right[1].astype(np.float64)
    count = by_first.group_count
    gains = np.bincount(by_first.groups, weights=gain, minlength=count).astype(np.float64)
    images = np.bincount(by_first.groups, minlength=count).astype(np.float64)
    return PairedDifference(
        difference=_interval(gains, images, replicates=replicates, share=confidence, seed=seed),
        p_value=_permutation_p_value(gains, replicates, seed),
        only_first=int((right[0] & ~right[1]).sum()),
        only_second=int((right[1] & ~right[0]).sum()),
        images=int(by_first.labels.size),
        groups=count,
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values of several tests to control the family-wise error rate.

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


def _interval(
    gains: Floats, images: Floats, *, replicates: int, share: float, seed: int
) -> Figure:
    value = float(gains.sum() / images.sum())
    random = np.random.Generator(np.random.PCG64(seed))
    differences = np.empty(replicates)
    for start, size in _blocks(replicates, gains.size):
        drawn = random.multinomial(gains.size, np.full(gains.size, 1 / gains.size), size=size)
        differences[start : start + size] = (drawn @ gains) / (drawn @ images)
    low, high = np.quantile(differences, [(1 - share) / 2, (1 + share) / 2])
    if low == high:
        return Figure(value=value, method="bootstrap", note=ALL_EQUAL)
    return Figure(value=value, low=float(low), high=float(high), method="bootstrap")


def _permutation_p_value(gains: Floats, replicates: int, seed: int) -> float:
    """Share of permutations (models swapped by patient) with at least the observed difference."""
    informative = gains[gains != 0]
    if informative.size == 0:
        return 1.0
    observed = abs(float(informative.sum()))
    random = np.random.Generator(np.random.PCG64(seed + 1))
    as_extreme = 0
    for _, size in _blocks(replicates, informative.size):
        signs = random.integers(0, 2, (size, informative.size)) * 2.0 - 1.0
        as_extreme += int((np.abs(signs @ informative) >= observed - 1e-9).sum())
    # The observed assignment is one of the permutations: the p-value is never zero.
    return (as_extreme + 1) / (replicates + 1)


def _blocks(replicates: int, width: int) -> list[tuple[int, int]]:
    block = max(1, limits.BOOTSTRAP_BLOCK_BYTES // (16 * max(width, 1)))
    return [(at, min(block, replicates - at)) for at in range(0, replicates, block)]
