"""Softmax for workers, with NumPy only."""

from __future__ import annotations

import numpy as np

from pulmospark.core.arrays import Floats


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Probabilities softmax(logits / T), (n, k); finite for logits of any size.

    Like ``evaluation.calibration.apply_temperature``, but spares workers the seconds of importing
    SciPy.
    """
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
