"""JPEG: scaled decoding straight to grey, and the damage that libjpeg passes over."""

from __future__ import annotations

import io

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import JpegImagePlugin

from pulmospark.core import limits
from pulmospark.core.tables import RejectReason
from pulmospark.imaging.reject import Refused, check_size, orientation_of, turned

_START_OF_SCAN = b"\xff\xda"
_END_OF_IMAGE = b"\xff\xd9"
# libjpeg-turbo's warnings after which part of the picture is missing or invented.
_CUT = ("premature end",)
_DAMAGED = ("bad huffman code", "bad arithmetic code", "instead of rst")


def decode_jpeg(data: bytes, at_least: int) -> tuple[NDArray[np.uint8], int, int]:
    """Decode a JPEG to grey, (pixels, height, width of the upright original).

    libjpeg fills what is missing with grey and only warns; here a warning about missing or
    damaged data refuses the file.

    Raises:
        Refused: by the header, or because the data is cut or damaged.
    """
    try:
        header = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    except Exception as error:
        raise Refused(_cut_or_unreadable(data), f"JPEG header: {error}") from error
    width, height = header.size
    check_size(height, width)
    if header.mode == "CMYK":
        raise Refused(RejectReason.CMYK, "four printing colours (CMYK or YCCK)")
    if (scans := data.count(_START_OF_SCAN)) > limits.JPEG_SCANS_MAX:
        raise Refused(
            RejectReason.UNREADABLE, f"{scans} scans in a JPEG, over {limits.JPEG_SCANS_MAX}"
        )
    orientation = orientation_of(header) if "exif" in header.info else 1
    grey = _pixels(data, at_least, header)
    if orientation == 1:
        return grey, height, width
    if orientation >= 5:
        height, width = width, height
    return turned(grey, orientation), height, width


def _pixels(
    data: bytes, at_least: int, header: JpegImagePlugin.JpegImageFile
) -> NDArray[np.uint8]:
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "GRAY", min_height=at_least, min_width=at_least, strict=True
        )
        return pixels[:, :, 0]
    except ValueError as error:
        message = str(error)
    told = message.lower()
    if any(words in told for words in _CUT):
        raise Refused(RejectReason.TRUNCATED, message)
    if any(words in told for words in _DAMAGED):
        raise Refused(RejectReason.UNREADABLE, message)
    return _by_pillow(data, at_least, header)


def _by_pillow(
    data: bytes, at_least: int, header: JpegImagePlugin.JpegImageFile
) -> NDArray[np.uint8]:
    """Decode what simplejpeg refuses: odd sampling factors, harmless warnings."""
    if _is_cut(data):
        raise Refused(RejectReason.TRUNCATED, "the JPEG has no end marker after its last scan")
    header.draft("L", (at_least, at_least))
    try:
        return np.asarray(header.convert("L"))
    except OSError as error:
        cut = "truncated" in str(error)
        reason = RejectReason.TRUNCATED if cut else RejectReason.UNREADABLE
        raise Refused(reason, str(error)) from error


def _is_cut(data: bytes) -> bool:
    return data.rfind(_END_OF_IMAGE) <= data.rfind(_START_OF_SCAN)


def _cut_or_unreadable(data: bytes) -> RejectReason:
    return RejectReason.TRUNCATED if _is_cut(data) else RejectReason.UNREADABLE
