"""Gaussian blur."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pulmospark.augment.transforms.base import Parameters, PixelTransform, up_to
from pulmospark.config.augment import BlurSettings
from pulmospark.core.arrays import Pixels


class Blur(PixelTransform[BlurSettings]):
    """Gaussian blur."""

    name = "blur"
    slot = 11
    parameters = ("sigma",)

    def draw(self, settings: BlurSettings, numbers: Sequence[int]) -> tuple[float, ...]:
        return (up_to(settings.sigma, numbers[0]),)

    def strength(self, settings: BlurSettings) -> str:
        return f"up to {settings.sigma:g} pixels (standard deviation)"

    def apply(self, pixels: Pixels, parameters: Parameters) -> Pixels:
        sigma = parameters["sigma"]
        if sigma <= 0.0:
            return pixels
        soft = cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(soft, np.uint8)
