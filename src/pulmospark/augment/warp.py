"""Geometric operations, composed so that an image is resampled once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from pulmospark.augment.operations import Operation
from pulmospark.augment.transforms.base import AffineTransform, DeformingTransform
from pulmospark.augment.transforms.registry import transform
from pulmospark.core.arrays import Floats, Pixels

_EDGE = cv2.BORDER_REPLICATE
"""Edge pixels are replicated. Black corners would let a network recognise rotated images, and a
mirrored edge shows ribs and arms twice."""


def warp(pixels: Pixels, operations: Sequence[Operation]) -> Pixels:
    """Apply geometric operations in order, with bilinear interpolation.

    Consecutive affine operations, and a deforming one after them, are one warp.

    Args:
        pixels: (h, w) uint8.
        operations: geometric ones.

    Returns:
        (h, w) uint8.
    """
    affine: list[Operation] = []
    for operation in operations:
        known = transform(operation.name)
        if isinstance(known, DeformingTransform):
            pixels, affine = _deformed(pixels, affine, known, operation), []
        else:
            affine.append(operation)
    if not affine:
        return pixels
    height, width = pixels.shape
    moved = cv2.warpAffine(
        pixels,
        matrix(affine, height, width)[:2],
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=_EDGE,
    )
    return np.asarray(moved, np.uint8)


def matrix(operations: Sequence[Operation], height: int, width: int) -> Floats:
    """The affine map of pixel coordinates (x, y, 1) from an image to the augmented image; (3, 3).

    Args:
        operations: affine ones, in order of application.
        height: of the image, pixels.
        width: of the image, pixels.
    """
    whole = np.eye(3)
    for operation in operations:
        known = transform(operation.name)
        assert isinstance(known, AffineTransform)
        whole = known.matrix(operation.parameters, height, width) @ whole
    return whole


def _deformed(
    pixels: Pixels,
    affine: Sequence[Operation],
    last: DeformingTransform[Any],
    operation: Operation,
) -> Pixels:
    height, width = pixels.shape
    right, down = last.displacement(operation.parameters, height, width)
    right += np.arange(width, dtype=np.float32)[None, :]
    down += np.arange(height, dtype=np.float32)[:, None]
    inverse = np.linalg.inv(matrix(affine, height, width)).astype(np.float32)
    from_x = inverse[0, 0] * right + inverse[0, 1] * down + inverse[0, 2]
    from_y = inverse[1, 0] * right + inverse[1, 1] * down + inverse[1, 2]
    moved = cv2.remap(pixels, from_x, from_y, cv2.INTER_LINEAR, borderMode=_EDGE)
    return np.asarray(moved, np.uint8)
