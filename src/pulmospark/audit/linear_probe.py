"""A logistic regression on deep features, small enough to be fitted in a second on the driver.

The audits need a dozen fits, which MLlib's jobs would take minutes for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pulmospark.audit.predictability import folds_of
from pulmospark.core.arrays import Floats, Ints

_STRENGTH = 0.01
"""scikit-learn's ``C``, on standardised features: an L2 penalty of 100 relative to the summed loss
of all images, because there are about as many features as images"""
_TOLERANCE, _ITERATIONS_MAX = 1e-6, 1000


def logistic(features: Floats, labels: Ints, classes: int) -> Callable[[Floats], Floats]:
    """Fit a multinomial logistic regression with a ridge penalty.

    Args:
        features: (n, width).
        labels: (n,) class, 0 to ``classes`` - 1; at least two of them.
        classes: how many; one that does not occur gets a probability of 0.

    Returns:
        Features (m, width) to probabilities (m, classes).
    """
    # A second, which reading an audit or one without a model is spared.
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    # Of two classes scikit-learn fits one row of coefficients, the difference of two: twice the
    # penalty that two rows would have.
    strength = _STRENGTH * (2 if np.unique(labels).size == 2 else 1)
    regression = LogisticRegression(C=strength, tol=_TOLERANCE, max_iter=_ITERATIONS_MAX)
    model = make_pipeline(StandardScaler(), regression).fit(features, labels)

    def predict(others: Floats) -> Floats:
        probability = np.zeros((len(others), classes))
        probability[:, model.classes_] = model.predict_proba(others)
        return probability

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
