"""Brighter or darker."""

from __future__ import annotations

from collections.abc import Sequence

from pulmospark.augment.transforms.base import (
    Parameters,
    ToneTransform,
    either_way,
    percent,
)
from pulmospark.config.augment import BrightnessSettings
from pulmospark.core.arrays import Floats


class Brightness(ToneTransform[BrightnessSettings]):
    """Add a number of grey levels to all."""

    name = "brightness"
    slot = 10
    parameters = ("share",)

    def draw(self, settings: BrightnessSettings, numbers: Sequence[int]) -> tuple[float, ...]:
        return (either_way(settings.share, numbers[0]),)

    def strength(self, settings: BrightnessSettings) -> str:
        return f"up to {percent(settings.share)} of the grey levels, up or down"

    def curve(self, levels: Floats, mean: float, parameters: Parameters) -> Floats:
        return levels + parameters["share"]
