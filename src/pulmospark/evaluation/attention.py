"""Attention over slices, trained on top of a network: which slices a scan's verdict heeds.

After Ilse et al. 2018, Attention-based deep multiple instance learning (ICML), with what the
network says of a slice in place of its deep features: k numbers to learn, which a validation
part of some dozens of scans can bear.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from pulmospark.core.arrays import Floats, Ints
from pulmospark.core.errors import InputError

PENALTY = 0.01
"""of the squared weights, beside the mean log loss of a scan: with no weights all slices count
the same, and the penalty draws back to that"""

_SMALLEST = 1e-6
"""probability below which a slice says no less of a class: its logarithm is bounded"""


def attend(probabilities: Floats, weights: Floats) -> Floats:
    """Mean of a scan's slices, each with its share of the attention.

    Args:
        probabilities: (n, k) of the slices.
        weights: (k,) of the logarithms of a slice's probabilities; zeros make the plain mean.

    Returns:
        (k,) of the scan.
    """
    return np.asarray(_shares(_logs(probabilities), weights) @ probabilities, dtype=np.float64)


def fit_attention(probabilities: Floats, units: Ints, labels: Ints) -> Floats:
    """Weights with the smallest log loss of the scans, and a penalty on their size.

    Args:
        probabilities: (n, k) of slices that the network was not fitted on.
        units: (n,) scan of each slice, 0 to m - 1, none of them empty.
        labels: (m,) class of each scan.

    Returns:
        (k,) weights; the same whatever the order of the rows.

    Raises:
        InputError: there is no scan.
    """
    if not len(labels):
        raise InputError(
            "evaluate.pooling is attention, which is trained on the validation part, and that has "
            "no film: set split.validation above 0, or take another pooling"
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

    found = minimize(loss, np.zeros(probabilities.shape[1]), jac=True, method="L-BFGS-B")
    return np.asarray(found.x, dtype=np.float64)


def _logs(probabilities: Floats) -> Floats:
    return np.log(np.maximum(probabilities, _SMALLEST))


def _shares(logs: Floats, weights: Floats) -> Floats:
    raw = logs @ weights
    shares = np.exp(raw - raw.max())
    return np.asarray(shares / shares.sum(), dtype=np.float64)
