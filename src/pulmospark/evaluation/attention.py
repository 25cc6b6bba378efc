"""Attention pooling over slices, trained on top of a network.

After Ilse et al. 2018, Attention-based deep multiple instance learning (ICML), but on the slice
probabilities instead of deep features: only k parameters, so a validation split of a few dozen
scans is enough.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from pulmospark.core.arrays import Floats, Ints
from pulmospark.core.errors import InputError

PENALTY = 0.01
"""L2 penalty on the weights, relative to the mean log loss per scan; it shrinks towards zero
weights, which average all slices equally"""

_SMALLEST = 1e-6
"""lower bound on probabilities, so that their logarithm is bounded"""


def attend(probabilities: Floats, weights: Floats) -> Floats:
    """Attention-weighted mean of a scan's slices.

    Args:
        probabilities: (n, k) of the slices.
        weights: (k,) weights of a slice's log probabilities; zeros give the plain mean.

    Returns:
        (k,) of the scan.
    """
    return np.asarray(_shares(_logs(probabilities), weights) @ probabilities, dtype=np.float64)


def fit_attention(probabilities: Floats, units: Ints, labels: Ints) -> Floats:
    """Fit weights that minimise the log loss of the scans, with an L2 penalty.

    Args:
        probabilities: (n, k) of slices that the network was not fitted on.
        units: (n,) scan of each slice, 0 to m - 1, none of them empty.
        labels: (m,) class of each scan.

    Returns:
        (k,) weights; independent of the order of the rows.

    Raises:
        InputError: there is no scan.
    """
    if not len(labels):
        raise InputError(
            "evaluate.pooling=attention needs a validation split, which is empty: set "
            "split.validation above 0, or choose another pooling"
        )
    order = np.argsort(units, kind="stable")
    ends = np.cumsum(np.bincount(units))[:-1]
    scans = [
        (_logs(rows), rows, int(label))
        for rows, label in zip(np.split(probabilities[order], ends), labels, strict=True)
    ]

    def loss(weights: Floats) -> tuple[float, Floats]:
        total, slope = 0.0, np.zeros_like(weights)
        for logs, rows, label in scans:
            shares = _shares(logs, weights)
            pooled = max(float(shares @ rows[:, label]), _SMALLEST)
            total -= np.log(pooled)
            slope -= (shares * (rows[:, label] - pooled)) @ logs / pooled
        count = len(scans)
        penalty = PENALTY * float(weights @ weights)
        return total / count + penalty, slope / count + 2 * PENALTY * weights

    fit = minimize(loss, np.zeros(probabilities.shape[1]), jac=True, method="L-BFGS-B")
    return np.asarray(fit.x, dtype=np.float64)


def _logs(probabilities: Floats) -> Floats:
    return np.log(np.maximum(probabilities, _SMALLEST))


def _shares(logs: Floats, weights: Floats) -> Floats:
    raw = logs @ weights
    shares = np.exp(raw - raw.max())
    return np.asarray(shares / shares.sum(), dtype=np.float64)
