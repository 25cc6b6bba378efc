"""JPEG: scaled decoding straight to grey, and the damage that libjpeg passes over."""

from __future__ import annotations

import io
from typing import Final, NamedTuple

import numpy as np
import simplejpeg
from PIL import JpegImagePlugin

from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.reject import (
    RefusedError,
    check_bytes,
    check_size,
    exif_orientation,
    turned,
)

_START_OF_SCAN = b"\xff\xda"
_END_OF_IMAGE = b"\xff\xd9"
# libjpeg-turbo's warnings after which part of the picture is missing or invented.
_CUT = ("premature end",)
_DAMAGED = ("bad huffman code", "bad arithmetic code", "instead of rst")
_FRAMES: Final = {0xC0: False, 0xC1: False, 0xC2: True}
"""markers of the frames that are read by themselves: baseline, extended; progressive"""
_APP1, _SCAN = 0xE1, 0xDA
# SOF3 to SOF15 (but DHT, JPG, DAC), markers without a length, and no marker at all.
_RARE: Final = frozenset({0x00, 0x01, *range(0xC3, 0xDA)}) - {0xC4, 0xCC}
_SEGMENTS_MAX: Final = 1_000
"""of a header that is read here; Pillow reads longer ones"""


class JpegHeader(NamedTuple):
    """What the segments before the first scan declare."""

    height: int
    width: int
    samples: int
    """a pixel"""
    is_progressive: bool
    exif: bytes

    def scans(self, data: bytes) -> int:
        """Scans of all pixels, at most; what is taken for a scan may be a thumbnail's."""
        # The only scan of a grey baseline image ends it.
        if not self.is_progressive and self.samples == 1:
            return 1
        return data.count(_START_OF_SCAN)


def jpeg_header(data: bytes) -> JpegHeader | None:
    """Read the header; ``None`` where its structure is not that of an ordinary file."""
    at, exif = 2, b""
    frame: tuple[int, int, int, bool] | None = None
    for _ in range(_SEGMENTS_MAX):
        if at + 4 > len(data) or data[at] != 0xFF:
            return None
        mark = data[at + 1]
        if mark == 0xFF:  # a fill byte
            at += 1
            continue
        size = data[at + 2] << 8 | data[at + 3]
        if mark == _SCAN:
            return None if frame is None else JpegHeader(*frame, exif)
        if mark in _RARE and mark not in _FRAMES:
            return None
        if mark in _FRAMES:
            if frame is not None or size < 8 or at + 10 > len(data) or data[at + 4] != 8:
                return None
            height, width = data[at + 5] << 8 | data[at + 6], data[at + 7] << 8 | data[at + 8]
            frame = height, width, data[at + 9], _FRAMES[mark]
        elif mark == _APP1 and data[at + 4 : at + 10] == b"Exif\0\0":
            exif += data[at + 4 + 6 * bool(exif) : at + 2 + size]
        at += 2 + size
    return None


def is_heavy(data: bytes) -> bool:
    """Whether decoding may take long, or its cost is not known beforehand."""
    if len(data) > limits.INLINE_BYTES_MAX:
        return True
    header = jpeg_header(data)
    if header is None or len(header.exif) > limits.EXIF_BYTES_MAX:
        return True
    pixels = header.height * header.width
    if pixels > limits.INLINE_PIXELS_MAX:
        return True
    return pixels * header.scans(data) > limits.INLINE_SCAN_PIXELS_MAX


def decode_jpeg(data: bytes, at_least: int) -> tuple[Pixels, int, int, int]:
    """Decode a JPEG: (h, w) grey, height and width of the upright original, scale in eighths.

    libjpeg fills what is missing with grey and only warns; here a warning about missing or
    damaged data refuses the file. Images that EXIF turns are decoded in full: the scaled
    decoder's rounding at the far edges would otherwise have to be turned with them.

    Raises:
        RefusedError: by the header, or because the data is cut or damaged.
    """
    header = jpeg_header(data)
    if header is None or header.samples not in (1, 3):
        header = _by_pillow(_pillow_header(data))
    _check(header, data)
    height, width = header.height, header.width
    orientation = exif_orientation(header.exif) if header.exif else None
    if orientation is None or not 2 <= orientation <= 8:
        grey = _pixels(data, at_least, header)
        # The decoder rounds up, and a side of 16 or more keeps that below one eighth.
        return grey, height, width, 8 * grey.shape[0] // height
    grey = turned(_pixels(data, max(height, width), header), orientation)
    return grey, grey.shape[0], grey.shape[1], 8


def _pillow_header(data: bytes) -> JpegImagePlugin.JpegImageFile:
    try:
        return JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    except Exception as error:
        reason = RejectReason.TRUNCATED if _is_cut(data) else RejectReason.UNREADABLE
        raise RefusedError(reason, f"JPEG header: {error}") from error


def _by_pillow(image: JpegImagePlugin.JpegImageFile) -> JpegHeader:
    return JpegHeader(
        image.height,
        image.width,
        image.layers,
        bool(image.info.get("progressive")),
        image.info.get("exif", b""),
    )


def _check(header: JpegHeader, data: bytes) -> None:
    check_size(header.height, header.width)
    if header.samples == 4:
        raise RefusedError(RejectReason.CMYK, "four printing colours (CMYK or YCCK)")
    scans, pixels = header.scans(data), header.height * header.width
    if scans > limits.JPEG_SCANS_MAX:
        raise RefusedError(
            RejectReason.TOO_SLOW,
            f"{scans} scans in a JPEG, over {limits.JPEG_SCANS_MAX} (JPEG_SCANS_MAX)",
        )
    if scans * pixels > limits.JPEG_SCAN_PIXELS_MAX:
        raise RefusedError(
            RejectReason.TOO_SLOW,
            f"{scans} scans of {pixels} pixels in a JPEG, over {limits.JPEG_SCAN_PIXELS_MAX} "
            "together (JPEG_SCAN_PIXELS_MAX)",
        )
    # With several scans all coefficients are held, 2 bytes each; grey, and grey turned.
    check_bytes(pixels, 2 + (2 * header.samples if scans > 1 else 0), len(data))


def _pixels(data: bytes, at_least: int, header: JpegHeader) -> Pixels:
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(
            data, "GRAY", min_height=at_least, min_width=at_least, strict=True
        )
        return pixels[:, :, 0]
    except ValueError as error:
        message = str(error)
    lower = message.lower()
    if any(words in lower for words in _CUT):
        raise RefusedError(RejectReason.TRUNCATED, message)
    if any(words in lower for words in _DAMAGED):
        raise RefusedError(RejectReason.UNREADABLE, message)
    return _pixels_by_pillow(data, header)


def _pixels_by_pillow(data: bytes, header: JpegHeader) -> Pixels:
    """Decode, in full, what simplejpeg refuses: odd sampling factors, harmless warnings.

    Pillow notices missing data only where the file ends: a scan that was cut and closed with
    an end marker passes here, as it does not above.
    """
    if _is_cut(data):
        raise RefusedError(
            RejectReason.TRUNCATED, "the JPEG has no end marker after its last scan"
        )
    image = _pillow_header(data)
    if header.height * header.width > limits.INLINE_PIXELS_MAX:
        image.draft("L", None)  # the luma as it is stored: colours would take 4 bytes a pixel
    try:
        return np.asarray(image.convert("L"))
    except OSError as error:
        cut = "truncated" in str(error)
        reason = RejectReason.TRUNCATED if cut else RejectReason.UNREADABLE
        raise RefusedError(reason, str(error)) from error


def _is_cut(data: bytes) -> bool:
    return data.rfind(_END_OF_IMAGE) <= data.rfind(_START_OF_SCAN)
