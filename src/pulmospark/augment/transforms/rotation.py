"""Rotate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pulmospark.augment.transforms.base import AffineTransform, Parameters, either_way
from pulmospark.config.augment import RotationSettings
from pulmospark.core.arrays import Floats


class Rotation(AffineTransform[RotationSettings]):
    """Rotate about the centre; angles are anticlockwise as displayed."""

    name = "rotation"
    slot = 3
    parameters = ("degrees",)

    def draw(self, settings: RotationSettings, numbers: Sequence[int]) -> tuple[float, ...]:
        return (either_way(settings.degrees, numbers[0]),)

    def strength(self, settings: RotationSettings) -> str:
        return f"up to {settings.degrees:g} degrees in either direction"

    def about_centre(self, parameters: Parameters) -> Floats:
        # y points down: anticlockwise on the display is clockwise in the formula.
        cosine, sine = (f(math.radians(parameters["degrees"])) for f in (math.cos, math.sin))
        return np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
