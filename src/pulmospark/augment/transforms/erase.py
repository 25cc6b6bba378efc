"""Random erasing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pulmospark.augment.random_stream import unit
from pulmospark.augment.transforms.base import (
    Parameters,
    PixelTransform,
    factor,
    percent,
    up_to,
)
from pulmospark.config.augment import EraseSettings
from pulmospark.core.arrays import Pixels

_AREA_MIN = 0.02
_ASPECT_MAX = 10 / 3  # with its inverse, the range of the paper


class Erase(PixelTransform[EraseSettings]):
    """Random erasing (Zhong et al., 2020): one rectangle with a uniform grey."""

    name = "erase"
    slot = 13
    parameters = ("top", "left", "height", "width", "grey")

    def draw(self, settings: EraseSettings, numbers: Sequence[int]) -> tuple[float, ...]:
        area = up_to(settings.area, numbers[0], _AREA_MIN)
        aspect = factor(_ASPECT_MAX - 1.0, numbers[1])
        height = round(min(1.0, math.sqrt(area * aspect)), 6)
        width = round(min(1.0, math.sqrt(area / aspect)), 6)
        top, left = up_to(1.0 - height, numbers[2]), up_to(1.0 - width, numbers[3])
        return top, left, height, width, int(256 * unit(numbers[4]))

    def strength(self, settings: EraseSettings) -> str:
        return f"a rectangle of 2 % to {percent(settings.area)} of the image"

    def apply(self, pixels: Pixels, parameters: Parameters) -> Pixels:
        height, width = pixels.shape
        top, left = round(parameters["top"] * height), round(parameters["left"] * width)
        bottom = top + max(1, round(parameters["height"] * height))
        right = left + max(1, round(parameters["width"] * width))
        erased = pixels.copy()
        erased[top:bottom, left:right] = int(parameters["grey"])
        return erased
