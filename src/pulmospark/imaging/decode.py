"""From a file's bytes to 8-bit grey, or to the reason why not; it never raises.

The header is checked before a pixel is decoded, so that a small file which declares 60,000 x
60,000 pixels costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pulmospark.core import limits
from pulmospark.core.tables import RejectReason
from pulmospark.imaging import jpeg, raster
from pulmospark.imaging.reject import Refused
from pulmospark.imaging.sniff import DECODED_FORMATS, sniff


@dataclass(frozen=True)
class Decoded:
    """A film in 8-bit grey."""

    grey: NDArray[np.uint8]
    """(h, w), upright; may be scaled down from the original"""
    height: int
    """of the original as it is looked at (after EXIF orientation), pixels"""
    width: int
    """of the original as it is looked at, pixels"""
    format: str
    """of the content: a name in ``sniff.DECODED_FORMATS``"""


@dataclass(frozen=True)
class Rejected:
    """Why a file is no film of the table."""

    reason: RejectReason
    detail: str
    """one line, at most ``limits.DETAIL_CHARS_MAX`` characters"""
    image_id: str | None = None
    """SHA-256 of the file's bytes, where they were read and identified"""


def decode(data: bytes, *, at_least: int) -> Decoded | Rejected:
    """Decode a film to 8-bit grey.

    JPEG is decoded at the smallest scale (n/8) whose shorter side is still ``at_least``,
    other formats in full. Films of more than 8 bits are windowed, see ``grey.window``.

    Args:
        data: the file's bytes; any bytes are allowed.
        at_least: pixels that the shorter side keeps, where the original has them.

    Returns:
        The film, or the reason why there is none. Nothing is raised, whatever the bytes.
    """
    if not data:
        return rejected(RejectReason.EMPTY, "the file has no bytes")
    kind = sniff(data[: limits.SNIFF_BYTES])
    if kind is None:
        start = data[:8].hex(" ")
        return rejected(RejectReason.NOT_AN_IMAGE, f"no image format begins with {start}")
    if kind not in DECODED_FORMATS:
        return rejected(RejectReason.UNSUPPORTED_FORMAT, f"{kind} is not read: convert it to PNG")
    try:
        if kind == "jpeg":
            grey, height, width = jpeg.decode_jpeg(data, at_least)
        else:
            grey, height, width = raster.decode_raster(data, kind)
    except Refused as refusal:
        return rejected(refusal.reason, refusal.detail)
    except Exception as error:  # noqa: BLE001 - decoders raise anything on hostile bytes
        return rejected(RejectReason.UNREADABLE, f"{kind}: {type(error).__name__}: {error}")
    return Decoded(grey=grey, height=height, width=width, format=kind)


def rejected(reason: RejectReason, detail: str, image_id: str | None = None) -> Rejected:
    """A rejection whose detail is one line of bounded length."""
    line = " ".join(detail.split())
    clean = line.encode("utf-8", "replace").decode()
    return Rejected(reason, clean[: limits.DETAIL_CHARS_MAX], image_id)
