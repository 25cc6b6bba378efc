"""Shear sideways."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pulmospark.augment.transforms.base import AffineTransform, Parameters, either_way
from pulmospark.config.augment import ShearSettings
from pulmospark.core.arrays import Floats


class Shear(AffineTransform[ShearSettings]):
    """Shear sideways: rows move the further, the further they are from the centre."""

    name = "shear"
    slot = 2
    parameters = ("degrees",)

    def draw(self, settings: ShearSettings, numbers: Sequence[int]) -> tuple[float, ...]:
        return (either_way(settings.degrees, numbers[0]),)

    def strength(self, settings: ShearSettings) -> str:
        return f"up to {settings.degrees:g} degrees in either direction"

    def about_centre(self, parameters: Parameters) -> Floats:
        lean = math.tan(math.radians(parameters["degrees"]))
        return np.array([[1.0, lean, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
