"""Translate."""

from __future__ import annotations

from collections.abc import Sequence

from pulmospark.augment.transforms.base import (
    AffineTransform,
    Parameters,
    either_way,
    percent,
    translation,
)
from pulmospark.config.augment import ShiftSettings
from pulmospark.core.arrays import Floats


class Shift(AffineTransform[ShiftSettings]):
    """Translate, independently in each direction."""

    name = "shift"
    slot = 4
    parameters = ("right", "down")

    def draw(self, settings: ShiftSettings, numbers: Sequence[int]) -> tuple[float, ...]:
        right, down = (either_way(settings.share, number) for number in numbers[:2])
        return right, down

    def strength(self, settings: ShiftSettings) -> str:
        return f"up to {percent(settings.share)} of the side in each direction"

    def matrix(self, parameters: Parameters, height: int, width: int) -> Floats:
        return translation(parameters["right"] * width, parameters["down"] * height)
