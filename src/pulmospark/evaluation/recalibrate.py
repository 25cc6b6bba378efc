"""Recalibration: what a small local sample corrects in the probabilities of a model."""

from __future__ import annotations

import numpy as np
from pydantic import ConfigDict
from scipy import optimize, special

from pulmospark.core import limits
from pulmospark.core.arrays import Floats, Ints
from pulmospark.core.records import Record

_PENALTY = 1.0
"""weight of the squared offsets, in films: few films then move them little"""


class Recalibration(Record):
    """Logits are divided by ``temperature`` and ``offsets`` are added, one a class.

    The offsets stand for classes that are more or less frequent than where the model was
    trained; the order of two films of a class they do not change.
    """

    model_config = ConfigDict(frozen=True)

    temperature: float
    offsets: tuple[float, ...]
    films: int
    """of the sample that it was fitted on"""

    def probabilities(self, logits: Floats) -> Floats:
        """Probabilities (n, k) of logits (n, k)."""
        return np.asarray(
            special.softmax(logits / self.temperature + np.asarray(self.offsets), axis=1)
        )


def fit_recalibration(logits: Floats, labels: Ints, *, start: float = 1.0) -> Recalibration:
    """Fit temperature and offsets by penalised maximum likelihood.

    One temperature and an offset a class is bias-corrected temperature scaling (Alexandari,
    Kundaje and Shrikumar 2020).

    Args:
        logits: (n, k), before any temperature.
        labels: (n,) class.
        start: temperature of the model as it is; the fit is drawn towards it.
    """
    films, classes = logits.shape
    log_start = float(np.log(start))

    def loss(values: Floats) -> float:
        scaled = logits / np.exp(values[0]) + values[1:]
        fit = special.log_softmax(scaled, axis=1)[np.arange(films), labels].sum()
        return float(-fit + _PENALTY * ((values[0] - log_start) ** 2 + (values[1:] ** 2).sum()))

    bounds = [(np.log(limits.TEMPERATURE_MIN), np.log(limits.TEMPERATURE_MAX))]
    found = optimize.minimize(
        loss,
        np.concatenate([[log_start], np.zeros(classes)]),
        method="L-BFGS-B",
        bounds=bounds + [(-20.0, 20.0)] * classes,
    )
    offsets = found.x[1:] - found.x[1:].mean()
    return Recalibration(
        temperature=float(np.exp(found.x[0])),
        offsets=tuple(float(one) for one in offsets),
        films=films,
    )
