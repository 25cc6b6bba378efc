"""Multinomial logistic regression on the driver: MLlib's objective, minimised by L-BFGS.

Mean log loss + reg / 2 x the squared norm of the coefficients of features divided by their
standard deviation (n - 1); intercepts are not penalised. A fit of a few thousand images takes a
fraction of a second, compared with seconds in MLlib: fast enough for tuning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from pulmospark.core.arrays import Floats, Ints, Singles

_LOSS_TOLERANCE = 1e-7
"""relative tolerance of L-BFGS: probabilities then change in the fourth digit"""


@dataclass(frozen=True)
class Standardised:
    """Training features with mean 0 and standard deviation 1, and the transformation.

    Attributes:
        features: float32 (n, width); a constant feature is 0.
        mean: float64 (width,).
        scale: float64 (width,); 1 for a constant feature.
    """

    features: Singles
    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, features: Singles) -> Standardised:
        """Standardise features, float32 (n, width), n at least 2."""
        mean = features.mean(axis=0, dtype=np.float64)
        scale = features.std(axis=0, ddof=1, dtype=np.float64)
        scale[scale == 0] = 1.0
        scaled = (features - mean.astype(np.float32)) / scale.astype(np.float32)
        return cls(scaled, mean, scale)


def fit_softmax(
    given: Standardised,
    labels: Ints,
    classes: int,
    reg_param: float,
    *,
    start: Floats | None = None,
    max_iter: int = 60,
) -> Floats:
    """Coefficients and intercepts on the standardised features, float64 (classes, width + 1).

    Args:
        given: the training features.
        labels: int64 (n,), 0 to classes - 1.
        classes: their number.
        reg_param: strength of the L2 penalty, MLlib's ``regParam``.
        start: an earlier fit to start from; ``None``: zeros, and the classes' frequencies.
        max_iter: maximum number of iterations.
    """
    images, width = given.features.shape
    hot = np.eye(classes)[labels]
    if start is None:
        start = np.zeros((classes, width + 1))
        start[:, -1] = np.log(hot.mean(axis=0) + 1e-9)

    def objective(flat: Floats) -> tuple[float, Floats]:
        values = flat.reshape(classes, width + 1)
        weights = values[:, :-1]
        logits = given.features @ weights.T.astype(np.float32) + values[:, -1]
        share = special.softmax(logits, axis=1)
        loss = float(np.mean(special.logsumexp(logits, axis=1) - logits[hot > 0]))
        residual = (share - hot) / images
        slope = np.empty_like(values)
        slope[:, :-1] = residual.T.astype(np.float32) @ given.features
        slope[:, :-1] += reg_param * weights
        slope[:, -1] = residual.sum(axis=0)
        return loss + reg_param / 2 * float((weights**2).sum()), slope.ravel()

    fitted = optimize.minimize(
        objective,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_iter, "ftol": _LOSS_TOLERANCE, "gtol": 1e-5},
    )
    return np.asarray(fitted.x.reshape(classes, width + 1))


def logits_of(features: Singles, given: Standardised, fit: Floats) -> Floats:
    """Logits (n, classes) of unstandardised features, float32 (n, width)."""
    weights = fit[:, :-1] / given.scale
    bias = fit[:, -1] - weights @ given.mean
    return np.asarray(features @ weights.T.astype(np.float32) + bias, np.float64)
