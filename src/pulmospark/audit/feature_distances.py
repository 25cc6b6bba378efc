"""Distances between images in a network's feature space."""

from __future__ import annotations

import numpy as np

from pulmospark.core.arrays import Floats, Integers, Reals

_NEIGHBOURS_SHARE, _NEIGHBOURS_MIN = 0.05, 5
"""share of the reference images, and minimum number: outliers that resemble each other (hands,
say) are close to each other, so more neighbours than there are of them are needed"""
_ROWS_AT_ONCE = 256
_FENCE_RANGES = 3.0


def distances(images: Reals, reference: Reals, groups: Integers | None = None) -> Floats:
    """Mean distance to the nearest reference images, on features of unit length.

    The nearest are a twentieth of the reference, at least five.

    Args:
        images: (n, width).
        reference: (m, width).
        groups: (n,) patients of the images, if the reference is the same images: images of the
            same patient are ignored.

    Returns:
        (n,), 0 to 2; 2 where no other image is left.
    """
    measured, references = unit(images), unit(reference)
    nearest = np.empty(len(measured))
    count = min(max(_NEIGHBOURS_MIN, round(_NEIGHBOURS_SHARE * len(references))), len(references))
    for start in range(0, len(measured), _ROWS_AT_ONCE):
        near = measured[start : start + _ROWS_AT_ONCE] @ references.T
        if groups is not None:
            near[groups[start : start + _ROWS_AT_ONCE, None] == groups[None, :]] = -1.0
        best = np.partition(near, -count, axis=1)[:, -count:]
        apart = np.sqrt(np.maximum(2.0 - 2.0 * best, 0.0)).mean(axis=1)
        nearest[start : start + _ROWS_AT_ONCE] = apart
    return nearest


def fence(scores: Floats) -> float:
    """Tukey's outer fence of scores (n,): third quartile plus three interquartile ranges."""
    low, high = np.quantile(scores, [0.25, 0.75])
    return float(high + _FENCE_RANGES * (high - low))


def unit(features: Reals) -> Reals:
    """Features (n, width) scaled to unit length."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / (length + 1e-12), features.dtype)
