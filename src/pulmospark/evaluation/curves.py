"""ROC and precision-recall curves, thinned for plotting."""

from __future__ import annotations

import numpy as np

from pulmospark.core import limits
from pulmospark.core.arrays import Floats, Mask
from pulmospark.evaluation.results import Curve

ABOVE_ALL = float(np.nextafter(1.0, 2.0))
"""A threshold above every probability: where both curves start."""


def roc_curve(positive: Mask, scores: Floats, points: int = limits.CURVE_POINTS_MAX) -> Curve:
    """ROC curve: x = 1 - specificity, y = sensitivity, from (0, 0) to (1, 1).

    An image is predicted positive if its score is at or above the threshold.

    Args:
        positive: (n,) whether an image is of the class.
        scores: (n,) its probability.
        points: maximum number of points.

    Returns:
        The curve; without points if there are no positive or no negative images.
    """
    true, false, threshold = _counts(positive, scores)
    if true.size == 0 or true[-1] == 0 or false[-1] == 0:
        return Curve(x=(), y=())
    x = np.concatenate(([0.0], false / false[-1]))
    y = np.concatenate(([0.0], true / true[-1]))
    return _thinned(x, y, np.concatenate(([ABOVE_ALL], threshold)), points)


def precision_recall_curve(
    positive: Mask, scores: Floats, points: int = limits.CURVE_POINTS_MAX
) -> Curve:
    """Precision-recall curve: x = sensitivity, y = PPV, from recall 0 to recall 1.

    It starts at (0, 1) by convention: no image is predicted positive there.

    Args:
        positive: (n,) whether an image is of the class.
        scores: (n,) its probability.
        points: maximum number of points.

    Returns:
        The curve; without points if there are no positive images.
    """
    true, false, threshold = _counts(positive, scores)
    if true.size == 0 or true[-1] == 0:
        return Curve(x=(), y=())
    x = np.concatenate(([0.0], true / true[-1]))
    y = np.concatenate(([1.0], true / (true + false)))
    return _thinned(x, y, np.concatenate(([ABOVE_ALL], threshold)), points)


def _counts(positive: Mask, scores: Floats) -> tuple[Floats, Floats, Floats]:
    """True and false positives at each distinct score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: ranked.size])
    true = np.cumsum(positive[order])[last]
    return true.astype(np.float64), (last + 1 - true).astype(np.float64), ranked[last]


def _thinned(x: Floats, y: Floats, threshold: Floats, points: int) -> Curve:
    """Keep the ends and points at equal steps along the curve.

    Steps are of |dx| + |dy|, so steep parts keep their points: the thinned curve deviates
    from the full one by at most one step, 2 / ``points`` on a ROC curve.
    """
    if x.size > points:
        along = np.concatenate(([0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))))
        kept = np.unique(np.searchsorted(along, np.linspace(0.0, along[-1], points)))
        kept = np.union1d(np.minimum(kept, x.size - 1), [0, x.size - 1])[-points:]
        kept[0] = 0
        x, y, threshold = x[kept], y[kept], threshold[kept]
    return Curve(x=tuple(x.tolist()), y=tuple(y.tolist()), threshold=tuple(threshold.tolist()))
