"""How far films lie from others in a network's features."""

from __future__ import annotations

import numpy as np

from pulmospark.core.arrays import Floats, Integers, Reals

_NEIGHBOURS_SHARE, _NEIGHBOURS_MIN = 0.05, 5
"""of the films that others are measured by: strange films that are like each other, hands say,
are near their own kind, and stand out only from more neighbours than there are of them"""
_ROWS_AT_ONCE = 256
_FENCE_RANGES = 3.0


def distances(films: Reals, reference: Reals, groups: Integers | None = None) -> Floats:
    """Mean distance to the nearest of a reference, features at length 1.

    The nearest are a twentieth of the reference, five at least.

    Args:
        films: (n, width).
        reference: (m, width).
        groups: (n,) patients of the films, where the reference is of the same films: those of
            the same patient do not count.

    Returns:
        (n,), 0 to 2; the nearest of nothing is 2 away.
    """
    one, other = unit(films), unit(reference)
    found = np.empty(len(one))
    count = min(max(_NEIGHBOURS_MIN, round(_NEIGHBOURS_SHARE * len(other))), len(other))
    for start in range(0, len(one), _ROWS_AT_ONCE):
        near = one[start : start + _ROWS_AT_ONCE] @ other.T
        if groups is not None:
            near[groups[start : start + _ROWS_AT_ONCE, None] == groups[None, :]] = -1.0
        best = np.partition(near, -count, axis=1)[:, -count:]
        apart = np.sqrt(np.maximum(2.0 - 2.0 * best, 0.0)).mean(axis=1)
        found[start : start + _ROWS_AT_ONCE] = apart
    return found


def fence(scores: Floats) -> float:
    """Outer fence of distances: third quartile and three ranges between quartiles (Tukey)."""
    low, high = np.quantile(scores, [0.25, 0.75])
    return float(high + _FENCE_RANGES * (high - low))


def unit(features: Reals) -> Reals:
    """Features (n, width) at length 1."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / (length + 1e-12), features.dtype)
