"""How the decoders refuse a file, and the checks that they share."""

from __future__ import annotations

import contextlib
import re
import struct
from typing import Final

import numpy as np
from PIL import Image

from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.schemas import RejectReason

_ORIENTATION_TAG: Final = 274
_EXIF_KINDS: Final = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""struct's format characters of integers by EXIF type"""


class RefusedError(Exception):  # not of core's tree: it never leaves this package
    """A decoder refuses the file.

    Args:
        reason: the closed list's word for it.
        detail: what was found, and the limit.
    """

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def check_size(height: int, width: int, least_side: int = limits.IMAGE_SIDE_MIN) -> None:
    """Refuse a size that is over or under the limits, as the header declares it.

    Raises:
        RefusedError: too many pixels, or too few.
    """
    if height * width > limits.IMAGE_PIXELS_MAX:
        raise RefusedError(
            RejectReason.TOO_MANY_PIXELS,
            f"{width} x {height} pixels, over {limits.IMAGE_PIXELS_MAX}",
        )
    if min(height, width) < least_side:
        raise RefusedError(
            RejectReason.TOO_SMALL,
            f"{width} x {height} pixels, a side under {least_side}",
        )


def check_bytes(pixels: int, bytes_a_pixel: float, file_bytes: int) -> None:
    """Refuse what would take more memory than there is for one image.

    Args:
        pixels: as the header declares them.
        bytes_a_pixel: held at once while it is decoded and turned to grey.
        file_bytes: size of the file, which is held, too.

    Raises:
        RefusedError: together over ``limits.DECODED_BYTES_MAX``.
    """
    needed = int(pixels * bytes_a_pixel) + file_bytes
    if needed > limits.DECODED_BYTES_MAX:
        raise RefusedError(
            RejectReason.TOO_MANY_PIXELS,
            f"{pixels} pixels in a file of {file_bytes} bytes take {needed} bytes to decode, over "
            f"{limits.DECODED_BYTES_MAX} (DECODED_BYTES_MAX)",
        )


def orientation_of(image: Image.Image, exif: object = None) -> int:
    """EXIF orientation, 1 to 8, or XMP's; 1 where there is none or it cannot be read.

    Pillow would copy the value of each field of the block: 65,535 of them may share a megabyte.

    Args:
        image: of which ``info`` is looked at.
        exif: the EXIF block where it is known; ``None``: ``info`` has it, or there is none.
    """
    value = None
    if exif is None:
        exif = image.info.get("exif")
    if exif is None and isinstance(raw := image.info.get("Raw profile type exif"), str):
        with contextlib.suppress(ValueError):
            exif = bytes.fromhex("".join(raw.split("\n")[3:]))
    if isinstance(exif, bytes):
        value = exif_orientation(exif)
    if value is None:
        value = xmp_orientation(image.info.get("XML:com.adobe.xmp") or image.info.get("xmp"))
    return value if value is not None and 1 <= value <= 8 else 1


def exif_orientation(exif: bytes) -> int | None:
    """Tag 0x0112 of an EXIF block's first directory; ``None`` where there is none."""
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    try:
        (at,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(order + "HHI", block, entry)
            if tag == _ORIENTATION_TAG and kind in _EXIF_KINDS and values == 1:
                (value,) = struct.unpack_from(order + _EXIF_KINDS[kind], block, entry + 8)
                return int(value)
    except struct.error:  # a damaged block costs no image
        return None
    return None


def xmp_orientation(xmp: object) -> int | None:
    """tiff:Orientation of an XMP packet, a digit; ``None`` where there is none."""
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "replace")
    if not isinstance(xmp, bytes):
        return None
    match = re.search(rb'tiff:Orientation(?:="|>)([0-9])', xmp)
    return None if match is None else int(match[1])


def turned(grey: Pixels, orientation: int) -> Pixels:
    """Turn and mirror (h, w) pixels upright, as the EXIF standard (tag 0x0112) orders."""
    if orientation >= 5:
        grey = grey.T
    # After the transposition of 5 to 8 the remaining mirrors differ.
    if orientation in (2, 3, 6, 7):
        grey = grey[:, ::-1]
    if orientation in (3, 4, 7, 8):
        grey = grey[::-1]
    return np.ascontiguousarray(grey)
