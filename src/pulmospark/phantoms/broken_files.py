"""Broken image files, so that a demo shows how they are rejected."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from pulmospark.core.schemas import RejectReason
from pulmospark.phantoms.draw import PNG_SIGNATURE, png_chunk

BOMB_SIDE = 60_000
"""pixels, as the header of the bomb declares"""


def truncated(jpeg: bytes) -> bytes:
    """The first two fifths of a JPEG."""
    return jpeg[: len(jpeg) * 2 // 5]


def empty(_: bytes) -> bytes:
    """An empty file."""
    return b""


def text(_: bytes) -> bytes:
    """A page of text, as a failed download leaves under an image's name."""
    return b"<html><body>404: the image is no longer here (PHANTOM)</body></html>\n"


def bomb(_: bytes) -> bytes:
    """A PNG of a few kB whose header declares 60,000 x 60,000 pixels of 8-bit grey."""
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(50 * (BOMB_SIDE + 1)), 9)
    chunks = (b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")
    return PNG_SIGNATURE + b"".join(png_chunk(name, data) for name, data in chunks)


BROKEN: tuple[tuple[RejectReason, str, Callable[[bytes], bytes]], ...] = (
    (RejectReason.TRUNCATED, ".jpg", truncated),
    (RejectReason.EMPTY, ".jpg", empty),
    (RejectReason.NOT_AN_IMAGE, ".png", text),
    (RejectReason.TOO_MANY_PIXELS, ".png", bomb),
)
"""Expected reject reason of each, its file extension, and its construction from a JPEG."""
