"""From a decoded image to the standard square, and its perceptual hash."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from pulmospark.core.arrays import Pixels

THUMBNAIL_SIDE = 32
"""pixels: side of the thumbnail from which hash and view are computed"""

_HASH_SIDE = 8
_LINEAR_RATIO_MAX = 4 / 3


def standardise(
    grey: Pixels,
    size: int,
    fit: Literal["stretch", "pad", "crop"],
    extent: tuple[float, float] | None = None,
) -> Pixels:
    """Bring an image to ``size`` x ``size`` pixels, antialiased.

    Args:
        grey: (h, w) uint8.
        size: side of the result, pixels.
        fit: ``stretch`` both axes to the square; ``pad`` with black, the image centred;
            ``crop`` the centred square.
        extent: (height, width) that the image has in ``grey``'s own pixels where that is no
            whole number, see ``Decoded.extent``; ``None``: its shape.

    Returns:
        (size, size) uint8, contiguous.
    """
    height, width = extent or grey.shape
    if fit == "stretch":
        return np.ascontiguousarray(resized(grey, size, size, extent))
    if fit == "pad":
        ratio = size / max(height, width)
        inner = (max(1, round(height * ratio)), max(1, round(width * ratio)))
        square = np.zeros((size, size), np.uint8)
        top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
        square[top : top + inner[0], left : left + inner[1]] = resized(grey, *inner, extent)
        return square
    if min(grey.shape) < size:  # cut first: a long strip would grow without bounds
        return np.ascontiguousarray(resized(_centre(grey, min(grey.shape)), size, size))
    ratio = size / min(height, width)
    outer = (max(size, round(height * ratio)), max(size, round(width * ratio)))
    return np.ascontiguousarray(_centre(resized(grey, *outer, extent), size))


def equalised(pixels: Pixels) -> Pixels:
    """An image with its histogram equalised; (h, w) uint8."""
    return np.asarray(cv2.equalizeHist(pixels), np.uint8)


def _centre(grey: Pixels, side: int) -> Pixels:
    top, left = (grey.shape[0] - side) // 2, (grey.shape[1] - side) // 2
    return grey[top : top + side, left : left + side]


def resized(
    grey: Pixels,
    height: int,
    width: int,
    extent: tuple[float, float] | None = None,
) -> Pixels:
    """Resize (h, w) uint8: an axis that shrinks by area, one that grows linearly.

    Where both shrink by little (:data:`_LINEAR_RATIO_MAX`) it is linear too, at a fifth of
    the time: on images the difference is below a tenth of a grey level.
    """
    rows, columns = extent or grey.shape
    if rows >= height and columns >= width:
        little = max(rows / height, columns / width) <= _LINEAR_RATIO_MAX
        how = cv2.INTER_LINEAR if little else cv2.INTER_AREA
        if extent is None or extent == grey.shape:
            return _resize(grey, height, width, how)
        # Given factors instead of a size, OpenCV keeps them as they are; what lies beyond
        # the extent comes out beyond the size.
        small: Pixels = cv2.resize(
            grey, None, fx=width / columns, fy=height / rows, interpolation=how
        )
        return small[:height, :width]
    # OpenCV's area mode antialiases only where neither axis grows: shrink first, then grow.
    shrunk = (min(height, grey.shape[0]), min(width, grey.shape[1]))
    if shrunk != grey.shape:
        grey = _resize(grey, *shrunk, cv2.INTER_AREA)
    return _resize(grey, height, width, cv2.INTER_LINEAR)


def _resize(grey: Pixels, height: int, width: int, how: int) -> Pixels:
    result: Pixels = cv2.resize(grey, (width, height), interpolation=how)
    return result


def perceptual_hash(pixels: Pixels) -> int:
    """64-bit perceptual hash of an image: near twins differ in few bits.

    The signs of the 8 x 8 lowest frequencies of the cosine transform of a 32 x 32 thumbnail
    against their median (Zauner, "Implementation and benchmarking of perceptual image hash
    functions", 2010), in the order of ImageHash's ``phash``.

    Args:
        pixels: (h, w) uint8.

    Returns:
        The hash as a signed 64-bit integer, as Parquet and Spark hold it. The distance of two
        is ``((a ^ b) & 0xFFFF_FFFF_FFFF_FFFF).bit_count()``.
    """
    return hash_of_thumbnail(thumbnail_of(pixels))


def thumbnail_of(pixels: Pixels) -> Pixels:
    """The thumbnail from which the hash and the view are computed, (32, 32) uint8."""
    return resized(pixels, THUMBNAIL_SIDE, THUMBNAIL_SIDE)


def hash_of_thumbnail(thumbnail: Pixels) -> int:
    """As :func:`perceptual_hash`, from the thumbnail."""
    low = cv2.dct(thumbnail.astype(np.float32))[:_HASH_SIDE, :_HASH_SIDE].ravel()
    ordered = np.sort(low)
    median = (ordered[31] + ordered[32]) / 2
    return int.from_bytes(np.packbits(low > median).tobytes(), "big", signed=True)
