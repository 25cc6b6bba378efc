"""Normal noise."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pulmospark.augment.random_stream import normal_quantiles, sixteen_bits
from pulmospark.augment.transforms.base import Parameters, PixelTransform, up_to
from pulmospark.config.augment import NoiseSettings
from pulmospark.core.arrays import Pixels


class Noise(PixelTransform[NoiseSettings]):
    """Independent normal noise on each pixel."""

    name = "noise"
    slot = 12
    parameters = ("sigma", "seed")

    def draw(self, settings: NoiseSettings, numbers: Sequence[int]) -> tuple[float, ...]:
        return up_to(settings.sigma, numbers[0]), numbers[1]

    def strength(self, settings: NoiseSettings) -> str:
        return f"up to {settings.sigma:g} grey levels (standard deviation)"

    def apply(self, pixels: Pixels, parameters: Parameters) -> Pixels:
        steps = np.rint(normal_quantiles() * np.float32(parameters["sigma"])).astype(np.int16)
        drawn = steps[sixteen_bits(int(parameters["seed"]), pixels.size)]
        noisy = cv2.add(pixels, drawn.reshape(pixels.shape), dtype=cv2.CV_8U)
        return np.asarray(noisy, np.uint8)
