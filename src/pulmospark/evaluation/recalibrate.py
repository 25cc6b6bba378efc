"""Recalibration of a model's probabilities on a small local sample."""

from __future__ import annotations

import numpy as np
from pydantic import ConfigDict
from scipy import optimize, special

from pulmospark.core import limits
from pulmospark.core.arrays import Floats, Ints
from pulmospark.core.records import Record

_PENALTY = 1.0
"""weight of the squared offsets, in images: a small sample changes them little"""


class Recalibration(Record):
    """Logits are divided by ``temperature`` and ``offsets`` are added, one per class.

    The offsets correct for class frequencies that differ from those in training; they do not
    change the order of images within a class.
    """

    model_config = ConfigDict(frozen=True)

    temperature: float
    offsets: tuple[float, ...]
    images: int
    """size of the sample it was fitted on"""

    def probabilities(self, logits: Floats) -> Floats:
        """Probabilities (n, k) of logits (n, k)."""
        return np.asarray(
            special.softmax(logits / self.temperature + np.asarray(self.offsets), axis=1)
        )


def fit_recalibration(logits: Floats, labels: Ints, *, start: float = 1.0) -> Recalibration:
    """Fit temperature and offsets by penalised maximum likelihood.

    One temperature and one offset per class is bias-corrected temperature scaling (Alexandari,
    Kundaje and Shrikumar 2020).

    Args:
        logits: (n, k), before any temperature.
        labels: (n,) class.
        start: temperature of the model; the fit is shrunk towards it.
    """
    images, classes = logits.shape
    log_start = float(np.log(start))

    def loss(values: Floats) -> float:
        scaled = logits / np.exp(values[0]) + values[1:]
        fit = special.log_softmax(scaled, axis=1)[np.arange(images), labels].sum()
        return float(-fit + _PENALTY * ((values[0] - log_start) ** 2 + (values[1:] ** 2).sum()))

    bounds = [(np.log(limits.TEMPERATURE_MIN), np.log(limits.TEMPERATURE_MAX))]
    fitted = optimize.minimize(
        loss,
        np.concatenate([[log_start], np.zeros(classes)]),
        method="L-BFGS-B",
        bounds=bounds + [(-20.0, 20.0)] * classes,
    )
    offsets = fitted.x[1:] - fitted.x[1:].mean()
    return Recalibration(
        temperature=float(np.exp(fitted.x[0])),
        offsets=tuple(float(offset) for offset in offsets),
        images=images,
    )
