"""From any pixel mode to 8-bit grey."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pulmospark.core.arrays import Pixels

WINDOW_PERCENTILES = (0.5, 99.5)
"""of the pixel values: what maps to black and to white in images of more than 8 bits"""

_WINDOW_SAMPLE_PIXELS = 1_000_000
_STRIP_PIXELS = 2_000_000
_TIFF_PHOTOMETRIC = 262
_TIFF_SAMPLE_FORMAT = 339
_TIFF_SIGNED = 2
_TIFF_WHITE_IS_ZERO = 0
_DEEP_MODES = frozenset({"I", "F"})


def grey_of(image: Image.Image) -> Pixels:
    """8-bit grey, (height, width), of a loaded Pillow image of any mode but CMYK.

    Colours become luma (ITU-R BT.601, as JPEG has it). What is transparent becomes black, the
    colour of an image's surround, so that it adds no structure; an alpha channel that is zero
    everywhere was never filled in and is ignored. More than 8 bits: see :func:`window`.

    The image is converted a strip of rows at a time: as a whole each conversion would take as
    much memory again, up to 4 bytes a pixel.
    """
    if image.mode in _DEEP_MODES or image.mode.startswith("I;16") or _is_signed_byte(image):
        return _windowed(_DeepRows(image))
    if image.mode == "LAB":
        return _converted(image, lambda strip: np.asarray(strip.getchannel(0)))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _grey_on_black(image)
    return _converted(
        image, lambda strip: np.asarray(strip if strip.mode == "L" else strip.convert("L"))
    )


def _grey_on_black(image: Image.Image) -> Pixels:
    luma = np.empty((image.height, image.width), np.uint8)
    alpha = np.empty_like(luma)
    for rows in _strips(*luma.shape):
        strip = image.crop((0, rows.start, image.width, rows.stop))
        strip = strip.convert("RGBA")
        luma[rows] = np.asarray(strip.convert("L"))
        alpha[rows] = np.asarray(strip.getchannel("A"))
    return on_black(luma, alpha)


def _converted(image: Image.Image, convert: Callable[[Image.Image], Pixels]) -> Pixels:
    if image.width * image.height <= _STRIP_PIXELS:
        return convert(image)
    grey = np.empty((image.height, image.width), np.uint8)
    for rows in _strips(*grey.shape):
        grey[rows] = convert(image.crop((0, rows.start, image.width, rows.stop)))
    return grey


def _strips(height: int, width: int) -> list[slice]:
    """Rows of about ``_STRIP_PIXELS`` pixels."""
    rows = max(1, _STRIP_PIXELS // width)
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def grey_of_colours(values: Pixels) -> Pixels:
    """8-bit grey, (height, width), of 8-bit colours RGB(A), (height, width, 3 or 4)."""
    height, width = values.shape[:2]
    luma = np.empty((height, width), np.uint8)
    for rows in _strips(height, width):
        luma[rows] = np.asarray(Image.fromarray(values[rows]).convert("L"))
    if values.shape[2] == 3:
        return luma
    return on_black(luma, np.ascontiguousarray(values[..., 3]))


def on_black(luma: Pixels, alpha: Pixels) -> Pixels:
    """Lay (h, w) grey with an alpha channel on black; an alpha of zeros is taken as none."""
    if alpha.min() == 255 or alpha.max() == 0:
        return luma
    mixed: Pixels = cv2.multiply(luma, alpha, scale=1 / 255)
    return mixed


class _Rows(Protocol):
    """Values of an image of more than 8 bits, of which some rows are taken at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width)"""

    def __getitem__(self, rows: slice) -> NDArray[np.generic]: ...


class _DeepRows:
    """Rows of a Pillow image of more than 8 bits, as they are looked at."""

    def __init__(self, image: Image.Image) -> None:
        self.shape = (image.height, image.width)
        self._image = image
        tags = getattr(image, "tag_v2", None) or {}
        # Pillow keeps whole numbers of 8 bits as unsigned and of 32 as signed, whatever they are.
        self._kind: type[np.generic] | None = None
        if _is_signed_byte(image):
            self._kind = np.int8
        elif image.mode == "I" and tags and tags.get(_TIFF_SAMPLE_FORMAT, (1,))[0] == 1:
            self._kind = np.uint32
        # It inverts "white is zero" TIFF at 8 bits, and leaves it at more.
        self._white: Any = None
        if tags.get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO:
            self._white = max(_greatest(self[rows]) for rows in _strips(*self.shape))

    def __getitem__(self, rows: slice) -> NDArray[np.generic]:
        start, stop, _ = rows.indices(self.shape[0])
        box = (0, start, self._image.width, stop)
        values: NDArray[Any] = np.asarray(self._image.crop(box))
        if self._kind is not None:
            values = values.view(self._kind)
        if self._white is None:
            return values
        if values.dtype.kind == "i":  # the difference may not fit
            values = values.astype(np.int64)
        return np.asarray(self._white - values)


def _is_signed_byte(image: Image.Image) -> bool:
    tags = getattr(image, "tag_v2", None) or {}
    return image.mode == "L" and tags.get(_TIFF_SAMPLE_FORMAT, (1,))[0] == _TIFF_SIGNED


def _greatest(values: NDArray[Any]) -> Any:
    """The greatest finite value; the least there is where none is finite."""
    if values.dtype.kind != "f":
        return values.max()
    return np.max(values, where=np.isfinite(values), initial=np.finfo(values.dtype).min)


def window(values: NDArray[np.generic]) -> Pixels:
    """Map (h, w) values of more than 8 bits to 0 ... 255, linearly between two percentiles.

    A shift by 8 bits would blacken images, for most use 10 to 14 of the 16 bits, and no header
    says how many; the extremes would let one hot pixel or a burned-in letter set the scale.
    Percentiles (:data:`WINDOW_PERCENTILES`) hold under both. They are taken on every n-th row
    and column, about a million pixels. Not-a-number counts as black.

    Raises:
        ValueError: no value is finite.
    """
    return _windowed(values)


def _windowed(values: _Rows) -> Pixels:
    """As :func:`window`, a strip of rows at a time: the steps between take 4 bytes a pixel."""
    height, width = values.shape
    strips = _strips(height, width)
    step = max(1, int(np.sqrt(height * width / _WINDOW_SAMPLE_PIXELS)))
    sample = np.concatenate(
        [values[rows][-rows.start % step :: step, ::step].ravel() for rows in strips]
    )
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        raise ValueError("no pixel has a finite value")
    low, high = (float(value) for value in np.percentile(sample, WINDOW_PERCENTILES))
    if not high > low:
        low, high = float(sample.min()), float(sample.max())
    eight_bit = np.zeros((height, width), np.uint8)
    if not high > low:
        return eight_bit
    with np.errstate(all="ignore"):  # infinite values, and ranges that overflow float32
        scale = np.float32(255.0 / (high - low))
        for rows in strips:
            scaled = (values[rows].astype(np.float32) - np.float32(low)) * scale
            eight_bit[rows] = np.rint(np.clip(np.nan_to_num(scaled), 0.0, 255.0)).astype(np.uint8)
    return eight_bit
