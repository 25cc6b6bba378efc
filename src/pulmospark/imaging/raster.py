"""PNG, TIFF, BMP, WebP and GIF, through Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from pulmospark.core.tables import RejectReason
from pulmospark.imaging.grey import grey_of, grey_of_deep_colour
from pulmospark.imaging.reject import Refused, check_size, orientation_of, turned

# The readers are called by name rather than through Image.open: it would try every format
# that is installed, and warn of size on its own terms through process-wide settings.
_READERS: Final[dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]]] = {
    "png": PngImagePlugin.PngImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "gif": GifImagePlugin.GifImageFile,
}
_PNG_END: Final = b"IEND\xaeB`\x82"
_TIFF_BITS_PER_SAMPLE: Final = 258


def decode_raster(data: bytes, kind: str) -> NDArray[np.uint8]:
    """Decode to upright grey, (height, width), in full.

    Raises:
        Refused: by the header, or because the data is cut or damaged.
    """
    if kind == "webp":
        check_size(*_webp_size(data))  # Pillow's reader already makes room for the canvas
    image = _opened(data, kind)
    check_size(image.height, image.width)
    if getattr(image, "is_animated", False):
        raise Refused(RejectReason.ANIMATED, f"several frames or pages in one {kind} file")
    if image.mode == "CMYK":
        raise Refused(RejectReason.CMYK, "four printing colours (CMYK)")
    if _is_cut(data, kind):
        raise Refused(RejectReason.TRUNCATED, f"the {kind} file ends before its image does")
    deep_colour = _has_deep_colour(data, kind, image)
    try:
        image.load()
    except Exception as error:
        raise Refused(_reason(data, kind, error), f"{kind}: {error}") from error
    grey = _deep_colour(data) if deep_colour else None
    if grey is None:
        grey = grey_of(image)
    if kind != "tiff":  # Pillow turns TIFF itself while it loads
        grey = turned(grey, orientation_of(image))
    return grey


def _opened(data: bytes, kind: str) -> ImageFile.ImageFile:
    try:
        return _READERS[kind](io.BytesIO(data))
    except Exception as error:
        raise Refused(_reason(data, kind, error), f"{kind} header: {error}") from error


def _reason(data: bytes, kind: str, error: Exception) -> RejectReason:
    if "truncated" in str(error).lower() or _is_cut(data, kind):
        return RejectReason.TRUNCATED
    return RejectReason.UNREADABLE


def _is_cut(data: bytes, kind: str) -> bool:
    """Whether the file's own structure reaches beyond its end."""
    if kind == "png":
        return _PNG_END not in data
    if kind == "webp":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if kind == "tiff":
        return _tiff_is_cut(data)
    if kind == "bmp":
        return len(data) < 54 or int.from_bytes(data[10:14], "little") >= len(data)
    return len(data) < 14 or not data.rstrip(b"\0").endswith(b";")  # GIF's trailer


def _tiff_is_cut(data: bytes) -> bool:
    """Whether its first directory, a count and entries of 12 bytes, reaches beyond the end."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    version = int.from_bytes(data[2:4], order)
    if version != 42:  # BigTIFF, with wider fields
        return int.from_bytes(data[8:16], order) + 8 > len(data)
    at = int.from_bytes(data[4:8], order)
    entries = int.from_bytes(data[at : at + 2], order)
    return at + 2 + 12 * entries > len(data)


def _webp_size(data: bytes) -> tuple[int, int]:
    """(height, width) of the canvas: RFC 9649, sections 2.5 to 2.7."""
    if len(data) < 30:
        raise Refused(RejectReason.TRUNCATED, f"{len(data)} bytes, and a WebP header has 30")
    chunk = data[12:16]
    if chunk == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif chunk == b"VP8 ":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    else:
        raise Refused(RejectReason.UNREADABLE, f"WebP begins with an unknown chunk {chunk!r}")
    return height, width


def _has_deep_colour(data: bytes, kind: str, image: ImageFile.ImageFile) -> bool:
    """Whether it has colours of more than 8 bits, of which Pillow keeps the upper 8 only."""
    if kind == "png":
        return data[24] == 16 and data[25] != 0
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode in ("RGB", "RGBA", "RGBX"):
        return bool(max(image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (8,))) > 8)
    return False


def _deep_colour(data: bytes) -> NDArray[np.uint8] | None:
    """Grey of 16-bit colour by OpenCV; ``None`` where it reads the file otherwise.

    A film of 12 bits in such a file would keep 16 greys of Pillow's 8 upper bits.
    """
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        return None
    return grey_of_deep_colour(values)
