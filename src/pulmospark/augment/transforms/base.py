"""What a transform is, and the four kinds of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

import numpy as np

from pulmospark.augment.random_stream import unit
from pulmospark.config.base import Settings
from pulmospark.core.arrays import Floats, Pixels, Singles

SettingsT = TypeVar("SettingsT", bound=Settings)
Parameters = Mapping[str, float]

WORDS_EACH = 8
"""random numbers reserved per transform, used or not: changing the settings of one transform, or
adding one, then does not affect the others"""
_DIGITS = 6
"""decimals of a parameter: keeps the record exact and short"""


class Transform(ABC, Generic[SettingsT]):
    """One random change of an image: stateless, with a record of what was drawn."""

    name: ClassVar[str]
    """of its settings in `AugmentSettings`, of its module, and in records"""
    slot: ClassVar[int]
    """its place in the random numbers of an image, from 0: unique, and never used again"""
    parameters: ClassVar[tuple[str, ...]] = ()
    """names of what is drawn, all numbers; shares refer to the image's side"""

    def draw(self, settings: SettingsT, numbers: Sequence[int]) -> tuple[float, ...]:
        """Values of `parameters`, from ``WORDS_EACH`` - 1 integers below 2**53."""
        return ()

    @abstractmethod
    def strength(self, settings: SettingsT) -> str:
        """How strong it is, as the report says it."""


class AffineTransform(Transform[SettingsT]):
    """An affine map of the coordinates; consecutive ones are one warp."""

    def matrix(self, parameters: Parameters, height: int, width: int) -> Floats:
        """Map of pixel coordinates (x, y, 1) from an image to the changed image; (3, 3)."""
        centre = translation((width - 1) / 2, (height - 1) / 2)
        back = translation(-(width - 1) / 2, -(height - 1) / 2)
        return centre @ self.about_centre(parameters) @ back

    def about_centre(self, parameters: Parameters) -> Floats:
        """The map with the image's centre at (0, 0), y pointing down; (3, 3)."""
        raise NotImplementedError


class DeformingTransform(Transform[SettingsT]):
    """A displacement of each pixel; it ends a warp."""

    @abstractmethod
    def displacement(
        self, parameters: Parameters, height: int, width: int
    ) -> tuple[Singles, Singles]:
        """Where a pixel comes from, relative to itself: right and down, pixels; (h, w) each."""


class ToneTransform(Transform[SettingsT]):
    """A curve of grey levels; consecutive ones are one lookup table."""

    @abstractmethod
    def curve(self, levels: Floats, mean: float, parameters: Parameters) -> Floats:
        """Change a curve.

        Args:
            levels: (256,) the curve so far, 0 to 1 where it is not clipped.
            mean: grey level of the image, 0 to 255.
            parameters: what was drawn.

        Returns:
            (256,) the changed curve.
        """


class PixelTransform(Transform[SettingsT]):
    """Any other change of the pixels."""

    @abstractmethod
    def apply(self, pixels: Pixels, parameters: Parameters) -> Pixels:
        """The changed image, (h, w) uint8; ``pixels`` stay as they are."""


def either_way(most: float, number: int) -> float:
    """Uniform from -``most`` to ``most``."""
    return round(most * (2.0 * unit(number) - 1.0), _DIGITS)


def up_to(most: float, number: int, least: float = 0.0) -> float:
    """Uniform from ``least`` to ``most``."""
    return round(least + (most - least) * unit(number), _DIGITS)


def factor(share: float, number: int) -> float:
    """From 1 / (1 + ``share``) to 1 + ``share``, uniform on a logarithmic scale."""
    return round(math.exp(math.log1p(share) * (2.0 * unit(number) - 1.0)), _DIGITS)


def translation(right: float, down: float) -> Floats:
    """The affine map that moves by so many pixels; (3, 3)."""
    return np.array([[1.0, 0.0, right], [0.0, 1.0, down], [0.0, 0.0, 1.0]])


def times(share: float) -> str:
    """The range of `factor` in words."""
    return f"1/{1 + share:g} to {1 + share:g} times"


def percent(share: float) -> str:
    """``8 %``."""
    return f"{100 * share:g} %"
