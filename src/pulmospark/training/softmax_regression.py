"""Multinomial logistic regression on the driver: MLlib's objective, minimised by L-BFGS.

Mean log loss + regParam / 2 x the squared norm of the coefficients of features divided by their
standard deviation (n - 1); intercepts are not penalised, and sum to 0 over the classes as MLlib's
do. A fit of a few thousand images takes a fraction of a second, where MLlib takes several: each
of its iterations is a job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from pulmospark.core.arrays import Floats, Ints, Singles

FIT_TOLERANCE = 1e-9
"""relative decrease of the objective at which L-BFGS stops: it is then within 1e-6 of the
minimum"""
TUNING_TOLERANCE = 1e-7
"""the same where strengths are compared: probabilities then change in the fourth digit"""
_GRADIENT_TOLERANCE = 1e-5
FITS_AT_ONCE = 4
"""fits in parallel, at most: each holds a standardised copy of its features"""
_BLOCK_BYTES = 2**20
"""features that are read from memory once for both logits and gradient: fits a core's cache"""


@dataclass(frozen=True)
class Standardised:
    """Training features with mean 0 and standard deviation 1, and the transformation.

    Attributes:
        features: float32 (n, width), a copy; a constant feature is 0.
        mean: float64 (width,).
        scale: float64 (width,), standard deviation (n - 1); 1 for a constant feature.
    """

    features: Singles
    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, features: Singles) -> Standardised:
        """Standardise features, float32 (n, width), n at least 2."""
        mean = np.asarray(features.mean(axis=0, dtype=np.float64))
        scaled = features - mean.astype(np.float32)
        squares = sum(
            np.square(scaled[rows]).sum(axis=0, dtype=np.float64) for rows in _blocks(scaled)
        )
        scale = np.asarray(np.sqrt(squares / (len(features) - 1)))
        scale[scale == 0] = 1.0
        scaled /= scale.astype(np.float32)
        return cls(scaled, mean, scale)

    @classmethod
    def by(cls, features: Singles, mean: Floats, scale: Floats) -> Standardised:
        """Standardise features (n, width) as before, by what :meth:`of` found for them.

        Args:
            features: float32.
            mean: float64 (width,).
            scale: float64 (width,).
        """
        scaled = features - mean.astype(np.float32)
        scaled /= scale.astype(np.float32)
        return cls(scaled, mean, scale)


@dataclass(frozen=True)
class SoftmaxFit:
    """A fitted regression.

    Attributes:
        standardised: float64 (classes, width + 1), coefficients of the standardised features and
            intercepts: where another fit can start.
        weights: float64 (classes, width), of the features as they are.
        bias: float64 (classes,).
        objective: before the first iteration and after each.
    """

    standardised: Floats
    weights: Floats
    bias: Floats
    objective: tuple[float, ...]

    def logits(self, features: Singles) -> Floats:
        """Logits (n, classes) of features, float32 (n, width)."""
        return np.asarray(features @ self.weights.T.astype(np.float32) + self.bias, np.float64)


def fit_softmax(
    given: Standardised,
    labels: Ints,
    classes: int,
    reg_param: float,
    *,
    start: SoftmaxFit | None = None,
    max_iter: int,
    tolerance: float = FIT_TOLERANCE,
) -> SoftmaxFit:
    """Fit a regression to standardised features.

    Args:
        given: the training features.
        labels: int64 (n,), 0 to classes - 1.
        classes: their number.
        reg_param: strength of the L2 penalty, MLlib's ``regParam``.
        start: an earlier fit to start from; ``None``: zeros, and the classes' frequencies.
        max_iter: maximum number of iterations.
        tolerance: relative decrease of the objective that ends the fit.
    """
    width = given.features.shape[1]
    hot = np.eye(classes)[labels]
    objective = _objective(given, hot, reg_param)
    if start is None:
        first = np.zeros((classes, width + 1))
        first[:, -1] = np.log(hot.mean(axis=0) + 1e-9)
    else:
        first = start.standardised
    history = [objective(first.ravel())[0]]
    fitted = optimize.minimize(
        objective,
        first.ravel(),
        jac=True,
        method="L-BFGS-B",
        callback=lambda intermediate_result: history.append(float(intermediate_result.fun)),
        options={"maxiter": max_iter, "ftol": tolerance, "gtol": _GRADIENT_TOLERANCE},
    )
    values = fitted.x.reshape(classes, width + 1)
    values[:, -1] -= values[:, -1].mean()
    weights = values[:, :-1] / given.scale
    return SoftmaxFit(values, weights, values[:, -1] - weights @ given.mean, tuple(history))


def _blocks(features: Singles) -> list[slice]:
    """Rows of a matrix, ``_BLOCK_BYTES`` at a time."""
    height = max(1, _BLOCK_BYTES // (4 * features.shape[1]))
    return [slice(first, first + height) for first in range(0, len(features), height)]


def _objective(
    given: Standardised, hot: Floats, reg_param: float
) -> Callable[[Floats], tuple[float, Floats]]:
    """The objective and its slope, of coefficients and intercepts as a flat array.

    Args:
        given: the training features.
        hot: float64 (n, classes), 1 for the class of each image.
        reg_param: strength of the L2 penalty.
    """
    images, width = given.features.shape
    blocks = _blocks(given.features)

    def objective(flat: Floats) -> tuple[float, Floats]:
        values = flat.reshape(hot.shape[1], width + 1)
        weights = values[:, :-1].T.astype(np.float32)
        loss, slope = 0.0, np.zeros_like(values)
        for rows in blocks:
            block, truth = given.features[rows], hot[rows]
            logits = block @ weights + values[:, -1]
            logits -= logits.max(axis=1, keepdims=True)
            powers = np.exp(logits)
            totals = powers.sum(axis=1, keepdims=True)
            loss += float(np.log(totals).sum() - (logits * truth).sum())
            residual = powers / totals - truth
            slope[:, :-1] += residual.T.astype(np.float32) @ block
            slope[:, -1] += residual.sum(axis=0)
        slope /= images
        slope[:, :-1] += reg_param * values[:, :-1]
        penalty = reg_param / 2 * float(np.square(values[:, :-1]).sum())
        return loss / images + penalty, slope.ravel()

    return objective
