"""Images made small for the report."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pulmospark.core import limits

_QUALITY = 85


def thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """A grey image as a small JPEG.

    Args:
        pixels: (height, width) uint8 grey.

    Returns:
        JPEG bytes, the longer side at most ``limits.REPORT_THUMBNAIL_SIDE`` pixels.

    Raises:
        ValueError: the array has another shape or dtype.
    """
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}: give uint8 (height, width)")
    image = Image.fromarray(np.ascontiguousarray(pixels))
    side = limits.REPORT_THUMBNAIL_SIDE
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = BytesIO()
    image.save(out, "JPEG", quality=_QUALITY, optimize=True)
    return out.getvalue()
