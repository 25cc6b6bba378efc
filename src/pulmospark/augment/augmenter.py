"""The augmenter: operations depend only on seed, image and draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pulmospark.augment.apply import apply
from pulmospark.augment.operations import PARAMETERS, Operation, OperationName
from pulmospark.augment.random_stream import unit, words
from pulmospark.config.augment import AugmentSettings
from pulmospark.core.arrays import Pixels

AUGMENT_VERSION = 1
"""Incremented when the same settings, seed, image and draw give other pixels."""

_DIGITS = 6
"""decimals of a parameter: keeps the record exact and short"""

_WORDS_EACH = 8
"""random numbers reserved per operation, used or not: changing the settings of one operation, or
appending a new one, then does not affect the others"""

_ERASE_AREA_MIN = 0.02
_ERASE_ASPECT_MAX = 10 / 3  # with its inverse, the range of the paper (Zhong et al., 2020)


@dataclass(frozen=True)
class Augmenter:
    """Augments images randomly.

    The same settings, seed, key and draw give the same pixels: in any order or process, alone or
    in a batch.

    Attributes:
        settings: probability and strength of each operation.
        seed: of all images.
    """

    settings: AugmentSettings
    seed: int

    def operations(self, key: str, draw: int) -> tuple[Operation, ...]:
        """Sample the operations for an image, in the order of application.

        Args:
            key: of the image: its ``image_id``.
            draw: version of the image: number of the augmented copy, or the epoch.
        """
        drawn = words(self.seed, key, draw, _WORDS_EACH * len(OperationName))
        operations = []
        for place, name in enumerate(OperationName):
            gate, *rest = drawn[place * _WORDS_EACH : (place + 1) * _WORDS_EACH]
            settings: Any = getattr(self.settings, name.value)
            if unit(gate) < settings.probability:
                values = _DRAWN[name](settings, rest)
                operations.append(
                    Operation(name, dict(zip(PARAMETERS[name], values, strict=True)))
                )
        return tuple(operations)

    def __call__(
        self, pixels: Pixels, key: str, draw: int
    ) -> tuple[Pixels, tuple[Operation, ...]]:
        """Version ``draw`` of an image, and the operations that produce it.

        Args:
            pixels: (h, w) uint8; unchanged.
            key: of the image: its ``image_id``.
            draw: which version.

        Returns:
            (h, w) uint8, a new array; and operations with which
            :func:`pulmospark.augment.apply.apply` reproduces the pixels.

        Raises:
            ValueError: the pixels are not an 8-bit grey image.
        """
        operations = self.operations(key, draw)
        return apply(pixels, operations), operations

    def augment_batch(self, pixels: Pixels, keys: Sequence[str], draw: int) -> Pixels:
        """Version ``draw`` of each image, with the same pixels as one by one.

        Args:
            pixels: (n, h, w) uint8; unchanged.
            keys: of the images.
            draw: version: the epoch during training.

        Returns:
            (n, h, w) uint8, a new array.

        Raises:
            ValueError: keys and images differ in number, or the pixels are not grey images.
        """
        changed = np.empty_like(pixels)
        for image, key, target in zip(pixels, keys, changed, strict=True):
            target[:] = self(image, key, draw)[0]
        return changed


def _both_ways(most: float, word: int) -> float:
    return round(most * (2.0 * unit(word) - 1.0), _DIGITS)


def _up_to(most: float, word: int, least: float = 0.0) -> float:
    return round(least + (most - least) * unit(word), _DIGITS)


def _factor(share: float, word: int) -> float:
    return round(math.exp(math.log1p(share) * (2.0 * unit(word) - 1.0)), _DIGITS)


def _erased(settings: Any, rest: Sequence[int]) -> tuple[float, ...]:
    area = _up_to(settings.area, rest[0], _ERASE_AREA_MIN)
    aspect = _factor(_ERASE_ASPECT_MAX - 1.0, rest[1])
    height = round(min(1.0, math.sqrt(area * aspect)), _DIGITS)
    width = round(min(1.0, math.sqrt(area / aspect)), _DIGITS)
    top, left = _up_to(1.0 - height, rest[2]), _up_to(1.0 - width, rest[3])
    return top, left, height, width, int(256 * unit(rest[4]))


_DRAWN: Mapping[OperationName, Callable[[Any, Sequence[int]], tuple[float, ...]]] = {
    OperationName.FLIP: lambda _, __: (),
    OperationName.ZOOM: lambda own, rest: (_factor(own.share, rest[0]),),
    OperationName.SHEAR: lambda own, rest: (_both_ways(own.degrees, rest[0]),),
    OperationName.ROTATION: lambda own, rest: (_both_ways(own.degrees, rest[0]),),
    OperationName.SHIFT: lambda own, rest: (
        _both_ways(own.share, rest[0]),
        _both_ways(own.share, rest[1]),
    ),
    OperationName.ELASTIC: lambda own, rest: (own.share, rest[0]),
    OperationName.EQUALISE: lambda _, __: (),
    OperationName.CLAHE: lambda own, rest: (_up_to(own.clip_limit, rest[0], 1.0), own.tiles),
    OperationName.GAMMA: lambda own, rest: (_factor(own.share, rest[0]),),
    OperationName.CONTRAST: lambda own, rest: (_factor(own.share, rest[0]),),
    OperationName.BRIGHTNESS: lambda own, rest: (_both_ways(own.share, rest[0]),),
    OperationName.BLUR: lambda own, rest: (_up_to(own.sigma, rest[0]),),
    OperationName.NOISE: lambda own, rest: (_up_to(own.sigma, rest[0]), rest[1]),
    OperationName.ERASE: _erased,
}
"""Operation -> its parameters, in the order of :data:`PARAMETERS`."""
