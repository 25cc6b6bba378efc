"""Histogram equalisation."""

from __future__ import annotations

import cv2
import numpy as np

from pulmospark.augment.transforms.base import Parameters, PixelTransform
from pulmospark.config.augment import EqualiseSettings
from pulmospark.core.arrays import Pixels


class Equalise(PixelTransform[EqualiseSettings]):
    """Histogram equalisation of the whole image."""

    name = "equalise"
    slot = 6

    def strength(self, settings: EqualiseSettings) -> str:
        return "the histogram of the whole image"

    def apply(self, pixels: Pixels, parameters: Parameters) -> Pixels:
        return np.asarray(cv2.equalizeHist(pixels), np.uint8)
