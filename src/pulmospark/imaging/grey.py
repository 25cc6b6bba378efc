"""From any pixel mode to 8-bit grey."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

WINDOW_PERCENTILES = (0.5, 99.5)
"""of the pixel values: what maps to black and to white in films of more than 8 bits"""

_WINDOW_SAMPLE_PIXELS = 1_000_000
_TIFF_PHOTOMETRIC = 262
_TIFF_WHITE_IS_ZERO = 0
_DEEP_MODES = frozenset({"I", "F"})


def grey_of(image: Image.Image) -> NDArray[np.uint8]:
    """8-bit grey, (height, width), of a loaded Pillow image of any mode but CMYK.

    Colours become luma (ITU-R BT.601, as JPEG has it). What is transparent becomes black, the
    colour of a film's surround, so that it adds no structure; an alpha channel that is zero
    everywhere was never filled in and is ignored. More than 8 bits: see :func:`window`.
    """
    if image.mode in _DEEP_MODES or image.mode.startswith("I;16"):
        return window(_upright_values(image))
    if image.mode == "LAB":
        return np.asarray(image.getchannel(0))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        coloured = image.convert("RGBA")
        return on_black(np.asarray(coloured.convert("L")), np.asarray(coloured.getchannel("A")))
    return np.asarray(image if image.mode == "L" else image.convert("L"))


def grey_of_deep_colour(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """8-bit grey of 16-bit colour, (height, width, 3 or 4), in OpenCV's order BGR(A)."""
    if values.ndim == 2:
        return window(values)
    luma = cv2.cvtColor(values[..., :3], cv2.COLOR_BGR2GRAY)
    alpha = values[..., 3] if values.shape[2] == 4 else None
    if alpha is None or alpha.max() == 0:
        return window(luma)
    return on_black(window(luma), (alpha >> 8).astype(np.uint8))


def on_black(luma: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay grey with an alpha channel on black; an alpha of zeros is taken as none."""
    if alpha.min() == 255 or alpha.max() == 0:
        return luma
    mixed: NDArray[np.uint8] = cv2.multiply(luma, alpha, scale=1 / 255)
    return mixed


def window(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Map values of more than 8 bits to 0 ... 255, linearly between two percentiles.

    A shift by 8 bits would blacken films, for most use 10 to 14 of the 16 bits, and no header
    says how many; the extremes would let one hot pixel or a burned-in letter set the scale.
    Percentiles (:data:`WINDOW_PERCENTILES`) hold under both. They are taken on every n-th row
    and column, about a million pixels. Not-a-number counts as black.

    Raises:
        ValueError: no value is finite.
    """
    step = max(1, int(np.sqrt(values.size / _WINDOW_SAMPLE_PIXELS)))
    sample = values[::step, ::step]
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        raise ValueError("no pixel has a finite value")
    low, high = (float(value) for value in np.percentile(sample, WINDOW_PERCENTILES))
    if not high > low:
        low, high = float(sample.min()), float(sample.max())
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    with np.errstate(all="ignore"):  # infinite values, and ranges that overflow float32
        scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    eight_bit: NDArray[np.uint8] = np.rint(np.clip(np.nan_to_num(scaled), 0.0, 255.0)).astype(
        np.uint8
    )
    return eight_bit


def _upright_values(image: Image.Image) -> NDArray[np.generic]:
    values: NDArray[Any] = np.asarray(image)
    # Pillow inverts "white is zero" TIFF at 8 bits, and leaves it at 16 and more.
    tags = getattr(image, "tag_v2", None)
    if tags is not None and tags.get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO:
        values = values.max() - values
    return values
