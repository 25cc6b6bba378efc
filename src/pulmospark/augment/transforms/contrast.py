"""Stretch or squeeze the grey levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pulmospark.augment.transforms.base import Parameters, ToneTransform, factor, times
from pulmospark.config.augment import ContrastSettings
from pulmospark.core.arrays import Floats


class Contrast(ToneTransform[ContrastSettings]):
    """Stretch or squeeze the grey levels about the image's mean."""

    name = "contrast"
    slot = 9
    parameters = ("factor",)

    def draw(self, settings: ContrastSettings, numbers: Sequence[int]) -> tuple[float, ...]:
        return (factor(settings.share, numbers[0]),)

    def strength(self, settings: ContrastSettings) -> str:
        return f"{times(settings.share)}, about the mean"

    def curve(self, levels: Floats, mean: float, parameters: Parameters) -> Floats:
        middle = np.interp(mean, np.arange(256), levels)
        return np.asarray(middle + parameters["factor"] * (levels - middle))
