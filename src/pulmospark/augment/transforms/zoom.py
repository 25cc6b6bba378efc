"""Enlarge or shrink."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pulmospark.augment.transforms.base import AffineTransform, Parameters, factor, times
from pulmospark.config.augment import ZoomSettings
from pulmospark.core.arrays import Floats


class Zoom(AffineTransform[ZoomSettings]):
    """Enlarge or shrink about the centre."""

    name = "zoom"
    slot = 1
    parameters = ("factor",)

    def draw(self, settings: ZoomSettings, numbers: Sequence[int]) -> tuple[float, ...]:
        return (factor(settings.share, numbers[0]),)

    def strength(self, settings: ZoomSettings) -> str:
        return times(settings.share)

    def about_centre(self, parameters: Parameters) -> Floats:
        return np.diag([parameters["factor"], parameters["factor"], 1.0])
