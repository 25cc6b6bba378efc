"""Swap left and right."""

from __future__ import annotations

import numpy as np

from pulmospark.augment.transforms.base import AffineTransform, Parameters
from pulmospark.config.augment import FlipSettings
from pulmospark.core.arrays import Floats


class Flip(AffineTransform[FlipSettings]):
    """Swap left and right; exact."""

    name = "flip"
    slot = 0

    def strength(self, settings: FlipSettings) -> str:
        return "left and right swapped, with the heart on the other side"

    def about_centre(self, parameters: Parameters) -> Floats:
        return np.diag([-1.0, 1.0, 1.0])
