"""The augmenter: operations depend only on seed, image and draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pulmospark.augment.apply import apply
from pulmospark.augment.operations import Operation
from pulmospark.augment.random_stream import unit, words
from pulmospark.augment.transforms import registry
from pulmospark.augment.transforms.base import WORDS_EACH
from pulmospark.config.augment import AugmentSettings
from pulmospark.core.arrays import Pixels

AUGMENT_VERSION = 1
"""Incremented when the same settings, seed, image and draw give other pixels."""


@dataclass(frozen=True)
class Augmenter:
    """Augments images randomly.

    The same settings, seed, key and draw give the same pixels: in any order or process, alone or
    in a batch.

    Attributes:
        settings: probability and strength of each transform.
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
        slots = 1 + max(transform.slot for transform in registry.TRANSFORMS)
        drawn = words(self.seed, key, draw, WORDS_EACH * slots)
        operations = []
        for transform in registry.TRANSFORMS:
            start = transform.slot * WORDS_EACH
            gate, *numbers = drawn[start : start + WORDS_EACH]
            own: Any = getattr(self.settings, transform.name)
            if unit(gate) < own.probability:
                values = transform.draw(own, numbers)
                parameters = dict(zip(transform.parameters, values, strict=True))
                operations.append(Operation(transform.name, parameters))
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
