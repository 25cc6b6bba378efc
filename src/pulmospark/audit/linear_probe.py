"""A logistic regression on deep features, small enough to be fitted in a second on the driver.

The audits need a dozen fits, which MLlib's jobs would take minutes for. The tests compare it with
scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from pulmospark.audit.predictability import folds_of
from pulmospark.core.arrays import Floats, Ints

_PENALTY = 100.0
"""L2 penalty on standardised features, relative to the summed loss of all images: there are about
as many features as images"""
_STEPS_MAX = 100


def logistic(features: Floats, labels: Ints, classes: int) -> Callable[[Floats], Floats]:
    """Fit a multinomial logistic regression with a ridge penalty.

    Args:
        features: (n, width).
        labels: (n,) class, 0 to ``classes`` - 1.
        classes: how many; one that does not occur gets a probability near zero.

    Returns:
        Features (m, width) to probabilities (m, classes).
    """
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    x = np.hstack([(features - mean) / spread, np.ones((len(features), 1))])
    target = np.eye(classes)[labels]
    penalty = np.full((x.shape[1], 1), _PENALTY / len(x))
    penalty[-1] = 1e-6  # the intercept is free

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(x.shape[1], classes)
        logs = log_softmax(x @ weights, axis=1)
        error = -(target * logs).sum() / len(x) + 0.5 * (penalty * weights**2).sum()
        slope = x.T @ (np.exp(logs) - target) / len(x) + penalty * weights
        return float(error), slope.ravel()

    start = np.zeros(x.shape[1] * classes)
    weights = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS_MAX}
    ).x.reshape(x.shape[1], classes)

    def predict(others: Floats) -> Floats:
        logits = (others - mean) / spread @ weights[:-1] + weights[-1]
        return np.asarray(np.exp(log_softmax(logits, axis=1)), np.float64)

    return predict


def cross_fitted(features: Floats, labels: Ints, groups: Ints, classes: int, seed: int) -> Floats:
    """Cross-validated probabilities of a logistic regression; folds are split by patient.

    Args:
        features: (n, width).
        labels: (n,) class.
        groups: (n,) patient, numbers from 0.
        classes: how many.
        seed: of the folds.

    Returns:
        (n, classes); uniform where a fold leaves a single class for training.
    """
    folds = folds_of(labels.astype(np.int64), groups, seed)
    probability = np.full((labels.size, classes), 1.0 / classes)
    for fold in np.unique(folds):
        tested = folds == fold
        if np.unique(labels[~tested]).size > 1:
            model = logistic(features[~tested], labels[~tested], classes)
            probability[tested] = model(features[tested])
    return probability
