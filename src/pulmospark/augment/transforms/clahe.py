"""Contrast-limited adaptive histogram equalisation."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pulmospark.augment.transforms.base import Parameters, PixelTransform, up_to
from pulmospark.config.augment import ClaheSettings
from pulmospark.core.arrays import Pixels


class Clahe(PixelTransform[ClaheSettings]):
    """Contrast-limited adaptive histogram equalisation (Zuiderveld, 1994)."""

    name = "clahe"
    slot = 7
    parameters = ("clip_limit", "tiles")

    def draw(self, settings: ClaheSettings, numbers: Sequence[int]) -> tuple[float, ...]:
        return up_to(settings.clip_limit, numbers[0], 1.0), settings.tiles

    def strength(self, settings: ClaheSettings) -> str:
        tiles = settings.tiles
        return f"clip limit 1 to {settings.clip_limit:g}, {tiles} x {tiles} tiles"

    def apply(self, pixels: Pixels, parameters: Parameters) -> Pixels:
        tiles = int(parameters["tiles"])
        equaliser = cv2.createCLAHE(parameters["clip_limit"], (tiles, tiles))
        return np.asarray(equaliser.apply(pixels), np.uint8)
