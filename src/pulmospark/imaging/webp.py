"""WebP: the container's chunks (RFC 9649), decoded by imagecodecs.

Pillow decodes through libwebp's reader of animations, which holds three canvases of 4 bytes a
pixel; the plain reader holds one.
"""

from __future__ import annotations

from typing import Final

import imagecodecs

from pulmospark.core.arrays import Pixels
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.greyscale import grey_of_colours
from pulmospark.imaging.reject import (
    RefusedError,
    check_bytes,
    check_size,
    exif_orientation,
    turned,
    xmp_orientation,
)

_CHUNKS_MAX: Final = 10_000
"""looked at; still images have a handful"""
_ANIMATED: Final = 0x02


def webp_size(data: bytes) -> tuple[int, int]:
    """(height, width) of the canvas: RFC 9649, sections 2.5 to 2.7.

    Raises:
        RefusedError: the file is cut, or of no kind that is known.
    """
    if len(data) < 30:
        raise RefusedError(RejectReason.TRUNCATED, f"{len(data)} bytes, and a WebP header has 30")
    chunk = data[12:16]
    if chunk == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif chunk == b"VP8 ":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    else:
        raise RefusedError(RejectReason.UNREADABLE, f"WebP begins with an unknown chunk {chunk!r}")
    return height, width


def decode_webp(data: bytes) -> Pixels:
    """Decode to upright grey, (height, width), in full.

    Raises:
        RefusedError: by the header, or because the data is cut or damaged.
    """
    height, width = webp_size(data)
    check_size(height, width)
    # The decoder's own pixels of 4 bytes and ours of 3 or 4; the grey ones follow the former.
    check_bytes(height * width, 8, len(data))
    if int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise RefusedError(RejectReason.TRUNCATED, "the webp file ends before its image does")
    listed = _chunks(data)
    if data[12:16] == b"VP8X" and data[20] & _ANIMATED:
        raise RefusedError(RejectReason.ANIMATED, "several frames or pages in one webp file")
    try:
        values: Pixels = imagecodecs.webp_decode(data)
    except Exception as error:
        raise RefusedError(RejectReason.UNREADABLE, f"webp: {error}") from error
    if values.shape[:2] != (height, width):
        raise RefusedError(
            RejectReason.UNREADABLE, "webp: an image of another size than its header's"
        )
    exif = listed.get(b"EXIF", b"")
    orientation = exif_orientation(exif) or xmp_orientation(listed.get(b"XMP ")) or 1
    return turned(grey_of_colours(values), orientation if orientation <= 8 else 1)


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """Contents of the chunks of metadata, by name."""
    listed: dict[bytes, bytes] = {}
    at = 12
    for _ in range(_CHUNKS_MAX):
        if at + 8 > len(data):
            break
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name in (b"EXIF", b"XMP "):
            listed.setdefault(name, data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return listed
