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


def decode_jpeg(data: bytes, at_least: int) -> tuple[NDArray[np.uint8], int, int, int]:
    """Decode a JPEG to grey: pixels, height and width of the upright original, scale in eighths.

    libjpeg fills what is missing with grey and only warns; here a warning about missing or
    damaged data refuses the file. Films that EXIF turns are decoded in full: the scaled
    decoder's rounding at the far edges would otherwise have to be turned with them.

    Raises:
        Refused: by the header, or because the data is cut or damaged.
    """
    try:
        header = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    except Exception as error:
        reason = RejectReason.TRUNCATED if _is_cut(data) else RejectReason.UNREADABLE
        raise Refused(reason, f"JPEG header: {error}") from error
    _check(header, data)
    width, height = header.size
    orientation = orientation_of(header) if "exif" in header.info else 1
    if orientation == 1:
        grey = _pixels(data, at_least, header)
        # The decoder rounds up, and a side of 16 or more keeps that below one eighth.
        return grey, height, width, 8 * grey.shape[0] // height
    grey = turned(_pixels(data, max(height, width), header), orientation)
    return grey, grey.shape[0], grey.shape[1], 8


def _check(header: JpegImagePlugin.JpegImageFile, data: bytes) -> None:
    check_size(header.height, header.width)
    if header.mode == "CMYK":
        raise Refused(RejectReason.CMYK, "four printing colours (CMYK or YCCK)")
    if not header.info.get("progressive") and header.layers == 1:
        return  # the scans of the rest are counted: a tenth of a millisecond
    if (scans := data.count(_START_OF_SCAN)) > limits.JPEG_SCANS_MAX:
        raise Refused(
            RejectReason.UNREADABLE, f"{scans} scans in a JPEG, over {limits.JPEG_SCANS_MAX}"
        )


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
    return _by_pillow(data, header)


def _by_pillow(data: bytes, header: JpegImagePlugin.JpegImageFile) -> NDArray[np.uint8]:
    """Decode, in full, what simplejpeg refuses: odd sampling factors, harmless warnings.

    Pillow notices missing data only where the file ends: a scan that was cut and closed with
    an end marker passes here, as it does not above.
    """
    if _is_cut(data):
        raise Refused(RejectReason.TRUNCATED, "the JPEG has no end marker after its last scan")
    try:
        return np.asarray(header.convert("L"))
    except OSError as error:
        cut = "truncated" in str(error)
        reason = RejectReason.TRUNCATED if cut else RejectReason.UNREADABLE
        raise Refused(reason, str(error)) from error


def _is_cut(data: bytes) -> bool:
    return data.rfind(_END_OF_IMAGE) <= data.rfind(_START_OF_SCAN)
