"""PNG, TIFF, BMP, WebP and GIF, through Pillow and imagecodecs."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging import png, tiff, webp
from pulmospark.imaging.greyscale import grey_of, on_black, window
from pulmospark.imaging.reject import (
    RefusedError,
    check_bytes,
    check_size,
    orientation_of,
    turned,
)

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
_BYTES: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
"""bytes of a pixel in Pillow's memory, by mode; others have 4"""


def is_heavy(data: bytes, kind: str) -> bool:
    """Whether decoding may take long, or its cost is not known beforehand.

    Raises:
        RefusedError: by the header.
    """
    return _has_heavy_header(data, kind) or len(data) > limits.INLINE_BYTES_MAX


def _has_heavy_header(data: bytes, kind: str) -> bool:
    if kind == "png":
        form = png.png_form(data)
        return form is not None and form.width * form.height > limits.INLINE_PIXELS_MAX
    if kind == "tiff":
        directory = tiff.directory_of(data)
        if directory.has_next:  # refused at once
            return False
        strips = max(
            len(directory.numbers(tag)) for tag in (tiff.STRIP_OFFSETS, tiff.TILE_OFFSETS)
        )
        pixels = directory.whole(tiff.WIDTH) * directory.whole(tiff.HEIGHT)
        return (
            directory.is_costly
            or strips > limits.INLINE_STRIPS_MAX
            or pixels > limits.INLINE_PIXELS_MAX
        )
    if kind == "bmp":
        width, height = (abs(int.from_bytes(data[at : at + 4], "little", signed=True))
                         for at in (18, 22))  # fmt: skip
        plain = int.from_bytes(data[30:34], "little") in (0, 3)
        most = limits.INLINE_PIXELS_MAX if plain else limits.INLINE_RLE_PIXELS_MAX
        return width * height > most
    if kind == "webp":
        height, width = webp.webp_size(data)
        return height * width > limits.INLINE_PIXELS_MAX // 2  # slower, and of more memory
    width, height = (int.from_bytes(data[at : at + 2], "little") for at in (6, 8))
    return len(data) > limits.INLINE_GIF_BYTES_MAX or width * height > limits.INLINE_PIXELS_MAX


def decode_raster(data: bytes, kind: str) -> Pixels:
    """Decode to upright grey, (height, width), in full.

    Raises:
        RefusedError: by the header, or because the data is cut or damaged.
    """
    if kind == "png":
        return _png(data)
    if kind == "tiff":
        return _tiff(data)
    if kind == "webp":
        return webp.decode_webp(data)
    image = _opened(data, kind)
    _check(image, kind, len(data))
    if _is_cut(data, kind):
        raise RefusedError(RejectReason.TRUNCATED, f"the {kind} file ends before its image does")
    _load(image, data, kind)
    return turned(grey_of(image), orientation_of(image))


def _png(data: bytes) -> Pixels:
    form = png.png_form(data)
    if form is not None:
        check_size(form.height, form.width)
    listed = png.chunks(data)
    try:
        return _png_of_chunks(data, form, listed)
    except RefusedError as refusal:
        damaged = refusal.reason in (RejectReason.UNREADABLE, RejectReason.TRUNCATED)
        if not damaged or png.is_cut(listed, data):
            raise
        # A chunk that says nothing of the pixels may be what is damaged.
        bare = png.without_ancillary(data, listed)
        if len(bare) == len(data):
            raise
        return _png_of_chunks(bare, form, png.chunks(bare))


def _png_of_chunks(data: bytes, form: png.PngForm | None, listed: list[png.Chunk]) -> Pixels:
    image = _opened(data, "png")
    _check(image, "png", len(data))
    if png.is_cut(listed, data) and _PNG_END not in data:
        raise RefusedError(RejectReason.TRUNCATED, "the png file ends before its image does")
    png.check_pixels(data, listed)
    if form is not None and form.is_deep_colour:
        grey = png.grey_of_deep_colour(data, form, listed)
    else:
        _load(image, data, "png")
        grey = grey_of(image)
    return turned(grey, orientation_of(image, png.exif_of(data, listed)))


def _tiff(data: bytes) -> Pixels:
    directory = tiff.directory_of(data)
    if directory.has_next:
        raise RefusedError(RejectReason.ANIMATED, "several frames or pages in one tiff file")
    check_size(directory.whole(tiff.HEIGHT), directory.whole(tiff.WIDTH))
    tiff.check_form(directory)
    try:
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    except SyntaxError as error:  # Pillow's word for a form of pixels that it does not know
        raise RefusedError(
            RejectReason.UNSUPPORTED_FORMAT, f"tiff: {tiff.form_words(directory)}: not read"
        ) from error
    except Exception as error:
        raise RefusedError(_reason(data, "tiff", error), f"tiff header: {error}") from error
    _check(image, "tiff", len(data))
    if directory.is_deep_colour:
        return _deep_tiff(data, directory, image)
    _load(image, data, "tiff")
    _mend_palette(image)
    return grey_of(image)  # Pillow turns TIFF itself while it loads


def _deep_tiff(data: bytes, directory: tiff.Directory, image: ImageFile.ImageFile) -> Pixels:
    """Grey of 16-bit colour, of which Pillow keeps the upper 8 bits only."""
    samples = directory.whole(tiff.SAMPLES, 3)
    check_bytes(image.width * image.height, 2 * samples + (2 if samples == 3 else 5), len(data))
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        raise RefusedError(RejectReason.UNREADABLE, "tiff: 16-bit colours that cannot be decoded")
    luma = cv2.cvtColor(values, cv2.COLOR_BGR2GRAY)  # of four channels the first three
    extra = directory.numbers(tiff.EXTRA_SAMPLES)
    # Associated alpha is multiplied into the colours already; an extra sample may be anything.
    shown = samples == 4 and (not len(extra) or extra[0] not in (0, 1))
    alpha = (values[..., 3] >> 8).astype(np.uint8) if shown else None
    del values
    grey = window(luma)
    return grey if alpha is None else on_black(grey, alpha)


def _mend_palette(image: Image.Image) -> None:
    """Old writers filled the colour map, of 16 bits, with 8: Pillow would show black."""
    if image.mode not in ("P", "PA"):
        return
    entries = np.asarray(getattr(image, "tag_v2", {}).get(tiff.COLOUR_MAP, ()))
    if len(entries) and len(entries) % 3 == 0 and 0 < entries.max() < 256:
        image.putpalette(entries.reshape(3, -1).T.astype(np.uint8).tobytes(), "RGB")


def _check(image: ImageFile.ImageFile, kind: str, file_bytes: int) -> None:
    check_size(image.height, image.width)
    if kind != "tiff" and getattr(image, "is_animated", False):
        raise RefusedError(RejectReason.ANIMATED, f"several frames or pages in one {kind} file")
    if image.mode == "CMYK":
        raise RefusedError(RejectReason.CMYK, "four printing colours (CMYK)")
    # In addition to Pillow's pixels: luma, or grey; of transparent ones alpha, and both together.
    extra = 1 if _BYTES.get(image.mode, 0) or image.mode in ("I", "F", "RGB") else 3
    check_bytes(image.height * image.width, _BYTES.get(image.mode, 4) + extra, file_bytes)


def _opened(data: bytes, kind: str) -> ImageFile.ImageFile:
    try:
        return _READERS[kind](io.BytesIO(data))
    except Exception as error:
        raise RefusedError(_reason(data, kind, error), f"{kind} header: {error}") from error


def _load(image: ImageFile.ImageFile, data: bytes, kind: str) -> None:
    try:
        image.load()
    except Exception as error:
        raise RefusedError(_reason(data, kind, error), f"{kind}: {error}") from error


def _reason(data: bytes, kind: str, error: Exception) -> RejectReason:
    if "truncated" in str(error).lower() or _is_cut(data, kind):
        return RejectReason.TRUNCATED
    return RejectReason.UNREADABLE


def _is_cut(data: bytes, kind: str) -> bool:
    """Whether the file's own structure reaches beyond its end."""
    if kind == "png":
        return _PNG_END not in data
    if kind == "tiff":
        return False  # its directory was read whole
    if kind == "bmp":
        return len(data) < 54 or int.from_bytes(data[10:14], "little") >= len(data)
    return len(data) < 14 or not data.rstrip(b"\0").endswith(b";")  # GIF's trailer
