"""Deform by a smooth random field."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pulmospark.augment.random_stream import normal_quantiles, sixteen_bits
from pulmospark.augment.transforms.base import DeformingTransform, Parameters, percent
from pulmospark.config.augment import ElasticSettings
from pulmospark.core.arrays import Singles

_NODES = 4
"""nodes of the field per side, as in the U-Net paper's grid of 3 x 3 cells"""


class Elastic(DeformingTransform[ElasticSettings]):
    """Normal displacements of a few nodes, interpolated (Ronneberger et al., 2015, 3.1)."""

    name = "elastic"
    slot = 5
    parameters = ("share", "seed")

    def draw(self, settings: ElasticSettings, numbers: Sequence[int]) -> tuple[float, ...]:
        return settings.share, numbers[0]

    def strength(self, settings: ElasticSettings) -> str:
        return f"nodes moved by {percent(settings.share)} of the side (standard deviation)"

    def displacement(
        self, parameters: Parameters, height: int, width: int
    ) -> tuple[Singles, Singles]:
        drawn = normal_quantiles()[sixteen_bits(int(parameters["seed"]), 2 * _NODES * _NODES)]
        nodes = drawn.reshape(2, _NODES, _NODES) * np.float32(parameters["share"])
        right, down = (
            cv2.resize(
                nodes[axis] * np.float32(side), (width, height), interpolation=cv2.INTER_CUBIC
            )
            for axis, side in enumerate((width, height))
        )
        return np.asarray(right, np.float32), np.asarray(down, np.float32)
