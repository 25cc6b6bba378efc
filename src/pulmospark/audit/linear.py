"""A logistic regression on deep features, small enough to be fitted in a second on the driver.

MLlib's would take minutes in jobs for the dozen fits that the audits need, and scikit-learn is
a dependency of the tests, where it is held against this one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from pulmospark.audit.guess import folds_of
from pulmospark.core.arrays import Floats, Ints

_PENALTY = 100.0
"""of the squared weights on standardised features, beside the sum of the losses of all films:
there are about as many features as films"""
_STEPS_MAX = 100


def logistic(features: Floats, labels: Ints, classes: int) -> Callable[[Floats], Floats]:
    """Fit a multinomial logistic regression with a ridge penalty.

    Args:
        features: (n, width).
        labels: (n,) class, 0 to ``classes`` - 1.
        classes: how many; of one that does not occur the probability is as good as nought.

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
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS_MAX}
    ).x.reshape(x.shape[1], classes)

    def predict(others: Floats) -> Floats:
        logits = (others - mean) / spread @ found[:-1] + found[-1]
        return np.asarray(np.exp(log_softmax(logits, axis=1)), np.float64)

    return predict


def cross_fitted(features: Floats, labels: Ints, groups: Ints, classes: int, seed: int) -> Floats:
    """Probabilities of a logistic regression, each film by one without its patient.

    Args:
        features: (n, width).
        labels: (n,) class.
        groups: (n,) patient, numbers from 0.
        classes: how many.
        seed: of the folds.

    Returns:
        (n, classes); the same for all classes where a fold leaves one class to learn from.
    """
    folds = folds_of(labels.astype(np.int64), groups, seed)
    found = np.full((labels.size, classes), 1.0 / classes)
    for fold in np.unique(folds):
        tested = folds == fold
        if np.unique(labels[~tested]).size > 1:
            model = logistic(features[~tested], labels[~tested], classes)
            found[tested] = model(features[tested])
    return found
