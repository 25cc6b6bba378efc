"""Apply recorded operations: the same record and image give the same pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import cv2
import numpy as np

from pulmospark.augment.operations import Operation
from pulmospark.augment.transforms.base import PixelTransform, ToneTransform
from pulmospark.augment.transforms.registry import transform
from pulmospark.augment.warp import warp
from pulmospark.core.arrays import Pixels


def apply(pixels: Pixels, operations: Sequence[Operation]) -> Pixels:
    """Apply operations in order.

    Consecutive geometric operations are one warp, consecutive tone curves one lookup table, to
    minimise resampling and rounding.

    Args:
        pixels: (h, w) uint8; unchanged.
        operations: what was drawn.

    Returns:
        (h, w) uint8, a new array.

    Raises:
        ValueError: the pixels are not an 8-bit grey image.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or not pixels.size:
        raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}: expected uint8 (h, w)")
    changed = pixels
    for kind, group in groupby(operations, key=_kind):
        if kind is PixelTransform:
            for operation in group:
                pixel_transform = transform(operation.name)
                assert isinstance(pixel_transform, PixelTransform)
                changed = pixel_transform.apply(changed, operation.parameters)
        else:
            changed = (_tone if kind is ToneTransform else warp)(changed, list(group))
    return changed.copy() if changed is pixels else changed


def _kind(operation: Operation) -> type | None:
    """The kind of its transform; ``None``: geometric."""
    known = transform(operation.name)
    return next(
        (kind for kind in (PixelTransform, ToneTransform) if isinstance(known, kind)), None
    )


def _tone(pixels: Pixels, operations: Sequence[Operation]) -> Pixels:
    """Apply tone curves in order as one lookup table of 256 levels, rounded once."""
    levels = np.arange(256) / 255.0
    mean = cv2.mean(pixels)[0]
    for operation in operations:
        known = transform(operation.name)
        assert isinstance(known, ToneTransform)
        levels = known.curve(levels, mean, operation.parameters)
    table = np.rint(255.0 * np.clip(levels, 0.0, 1.0)).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, table), np.uint8)
