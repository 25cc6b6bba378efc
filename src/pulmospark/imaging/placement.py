"""Where an original image lies in its standard image: how a heat map is brought back to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from pulmospark.core.arrays import Mask, Singles

Fit = Literal["stretch", "pad", "crop"]
Box = tuple[int, int, int, int]
"""top, left, bottom, right in pixels; the last two are exclusive"""


@dataclass(frozen=True)
class Placement:
    """The map from an original image to its standard image, one line for each axis.

    Coordinates are continuous: pixel i reaches from i to i + 1. A point of the original lies at
    ``offset + scale * point`` of the standard image.

    Attributes:
        height: of the upright original, pixels.
        width: of the upright original, pixels.
        size: side of the standard image, pixels.
        scale: of rows and columns, standard pixels per pixel of the original.
        offset: row and column of the original's top left corner in the standard image.
    """

    height: int
    width: int
    size: int
    scale: tuple[float, float]
    offset: tuple[float, float]

    @classmethod
    def identity(cls, size: int) -> Self:
        """Of a standard image whose original is unknown: it counts as the original."""
        return cls(size, size, size, (1.0, 1.0), (0.0, 0.0))

    @classmethod
    def of(
        cls,
        shape: tuple[int, int],
        original: tuple[int, int],
        size: int,
        fit: Fit,
        *,
        eighths: int = 8,
        box: Box | None = None,
    ) -> Self:
        """Of an image that :func:`pulmospark.imaging.standardise.standardise` brought to a square.

        Args:
            shape: height and width of the decoded image, pixels.
            original: height and width of the upright original, pixels.
            size: side of the standard image, pixels.
            fit: how it was made square.
            eighths: scale of the decoded image to the original, in eighths.
            box: part of the decoded image that was standardised; ``None``: all of it.
        """
        top, left, bottom, right = box or (0, 0, *shape)
        if box is None:
            extent = (original[0] * eighths / 8, original[1] * eighths / 8)
        else:
            extent = (float(bottom - top), float(right - left))
        pixels = (bottom - top, right - left)
        rows, columns = _axes(pixels, extent, size, fit)
        # From pixels of the decoded image to those of the original.
        scale = (rows[0] * eighths / 8, columns[0] * eighths / 8)
        offset = (rows[1] - rows[0] * top, columns[1] - columns[0] * left)
        return cls(*original, size, scale, offset)

    def to_original(self, standard: Singles, shape: tuple[int, int] | None = None) -> Singles:
        """Resample an array of the standard image in the original's coordinates, linearly.

        Args:
            standard: (size, size) float32.
            shape: of the result, which covers the whole original; ``None``: the original's.

        Returns:
            ``shape`` float32; 0 where the original lies outside the standard image.
        """
        rows, columns = shape or (self.height, self.width)
        step = (self.scale[0] * self.height / rows, self.scale[1] * self.width / columns)
        # Pixel centres: a column x of the result lies at offset + step (x + 1/2) - 1/2.
        matrix = np.array(
            [
                [step[1], 0.0, self.offset[1] + (step[1] - 1) / 2],
                [0.0, step[0], self.offset[0] + (step[0] - 1) / 2],
            ]
        )
        # Replicated: half a pixel at the edge has no neighbour to be interpolated with.
        # Inside: only heat maps need it, and this module's importers are many.
        import cv2  # noqa: PLC0415

        result: Singles = cv2.warpAffine(
            standard,
            matrix,
            (columns, rows),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        result[~self._inside(0, rows, step[0])] = 0.0
        result[:, ~self._inside(1, columns, step[1])] = 0.0
        return result

    def visible(self) -> Box:
        """Part of the standard image that shows the original; the rest is padding."""
        ends = [
            (max(0.0, offset), min(float(self.size), offset + scale * length))
            for offset, scale, length in zip(
                self.offset, self.scale, (self.height, self.width), strict=True
            )
        ]
        (top, bottom), (left, right) = ((round(a), round(b)) for a, b in ends)
        return top, left, max(bottom, top + 1), max(right, left + 1)

    def _inside(self, axis: int, count: int, step: float) -> Mask:
        """Which of ``count`` pixels of an axis have their centre in the standard image."""
        centres = self.offset[axis] + step * (np.arange(count) + 0.5)
        return np.asarray((centres >= 0) & (centres <= self.size), np.bool_)


Axis = tuple[float, float]
"""scale and offset"""


def _axes(
    pixels: tuple[int, int], extent: tuple[float, float], size: int, fit: Fit
) -> tuple[Axis, Axis]:
    """Scale and offset of rows and columns, as ``standardise`` makes a square of an image."""
    height, width = extent
    if fit == "stretch":
        return (size / height, 0.0), (size / width, 0.0)
    if fit == "pad":
        ratio = size / max(extent)
        inner = [max(1, round(side * ratio)) for side in extent]
        rows, columns = (
            (length / side, float((size - length) // 2))
            for length, side in zip(inner, extent, strict=True)
        )
        return rows, columns
    if (side := min(pixels)) < size:
        rows, columns = ((size / side, -((length - side) // 2) * size / side) for length in pixels)
        return rows, columns
    ratio = size / min(extent)
    outer = [max(size, round(side * ratio)) for side in extent]
    rows, columns = (
        (length / side, float(-((length - size) // 2)))
        for length, side in zip(outer, extent, strict=True)
    )
    return rows, columns
