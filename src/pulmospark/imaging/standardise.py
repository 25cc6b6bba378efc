"""From a decoded film to the standard square, and its perceptual hash."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

THUMBNAIL_SIDE = 32
"""pixels: side of the small picture that the hash and the view are told from"""

_HASH_SIDE = 8


def standardise(
    grey: NDArray[np.uint8], size: int, fit: Literal["stretch", "pad", "crop"]
) -> NDArray[np.uint8]:
    """Bring a film to ``size`` x ``size`` pixels, antialiased.

    Args:
        grey: (h, w) uint8.
        size: side of the result, pixels.
        fit: ``stretch`` both axes to the square; ``pad`` with black, the film centred;
            ``crop`` the centred square.

    Returns:
        (size, size) uint8, contiguous.
    """
    height, width = grey.shape
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        grey = grey[top : top + side, left : left + side]
    elif fit == "pad":
        longer = max(height, width)
        inner_height = max(1, round(height * size / longer))
        inner_width = max(1, round(width * size / longer))
        square = np.zeros((size, size), np.uint8)
        top, left = (size - inner_height) // 2, (size - inner_width) // 2
        square[top : top + inner_height, left : left + inner_width] = resized(
            grey, inner_height, inner_width
        )
        return square
    return np.ascontiguousarray(resized(grey, size, size))


def resized(grey: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize (h, w) uint8: each axis by area where it shrinks, linearly where it grows."""
    # OpenCV's area mode antialiases only where neither axis grows: shrink first, then grow.
    small = (min(height, grey.shape[0]), min(width, grey.shape[1]))
    if small != grey.shape:
        grey = cv2.resize(grey, small[::-1], interpolation=cv2.INTER_AREA)
    if small != (height, width):
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR)
    return grey


def perceptual_hash(pixels: NDArray[np.uint8]) -> int:
    """64-bit perceptual hash of a film: near twins differ in few bits.

    The signs of the 8 x 8 lowest frequencies of the cosine transform of a 32 x 32 thumbnail
    against their median (Zauner, "Implementation and benchmarking of perceptual image hash
    functions", 2010), in the order of ImageHash's ``phash``.

    Args:
        pixels: (h, w) uint8.

    Returns:
        The hash as a signed 64-bit integer, as Parquet and Spark hold it. The distance of two
        is ``((a ^ b) & 0xFFFF_FFFF_FFFF_FFFF).bit_count()``.
    """
    thumbnail = resized(pixels, THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    low = cv2.dct(thumbnail.astype(np.float32))[:_HASH_SIDE, :_HASH_SIDE].ravel()
    ordered = np.sort(low)
    median = (ordered[31] + ordered[32]) / 2
    return int.from_bytes(np.packbits(low > median).tobytes(), "big", signed=True)
