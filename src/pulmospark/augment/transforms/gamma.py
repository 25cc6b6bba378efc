"""Another curve of grey levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pulmospark.augment.transforms.base import Parameters, ToneTransform, factor
from pulmospark.config.augment import GammaSettings
from pulmospark.core.arrays import Floats


class Gamma(ToneTransform[GammaSettings]):
    """Raise the grey levels, from 0 to 1, to a power."""

    name = "gamma"
    slot = 8
    parameters = ("power",)

    def draw(self, settings: GammaSettings, numbers: Sequence[int]) -> tuple[float, ...]:
        return (factor(settings.share, numbers[0]),)

    def strength(self, settings: GammaSettings) -> str:
        return f"powers of 1/{1 + settings.share:g} to {1 + settings.share:g}"

    def curve(self, levels: Floats, mean: float, parameters: Parameters) -> Floats:
        return np.asarray(np.clip(levels, 0.0, 1.0) ** parameters["power"])
