"""A file's image at full resolution, for a viewer with window and level."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pulmospark.core import limits, serve_limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.schemas import Modality, Note, RejectReason
from pulmospark.imaging.decode import decode
from pulmospark.imaging.dicom.greyscale import CtWindow, chain_of, grey_of
from pulmospark.imaging.dicom.pydicom_logging import quiet
from pulmospark.imaging.dicom.reader import DicomImage, open_dicom
from pulmospark.imaging.reject import RefusedError
from pulmospark.imaging.rejection import Rejected, rejected
from pulmospark.imaging.sniff import sniff


@dataclass(frozen=True, eq=False)
class Viewed:
    """An image to be shown: higher samples are brighter."""

    samples: NDArray[np.uint16]
    """(rows, columns), contiguous"""
    bits: int
    """that the samples use: 8 or 16"""
    slope: float
    intercept: float
    """value = sample * slope + intercept; the values of CT are in Hounsfield units"""
    level: float
    """centre of the window that the model's image was made with, in values"""
    width: float
    """of that window"""
    scale: int = 1
    """the original's pixels per pixel"""

    def grey(self, level: float | None = None, width: float | None = None) -> Pixels:
        """8-bit grey, (rows, columns), in a window.

        Args:
            level: its centre, in values; ``None``: as the image was made.
            width: in values, above 0.
        """
        level = self.level if level is None else level
        width = self.width if width is None else width
        top = int(self.samples.max(initial=0)) + 1
        values = np.arange(top) * self.slope + self.intercept
        shade = (values - level) / (width if self.slope > 0 else -width) + 0.5
        table = np.rint(np.clip(shade, 0.0, 1.0) * 255.0).astype(np.uint8)
        return np.asarray(table[self.samples], np.uint8)


def view_file(data: bytes, frame: int | None, ct_window: CtWindow) -> Viewed | Rejected:
    """Decode a file in full, by the same readers as for scoring.

    Args:
        data: the file's bytes; any bytes are allowed.
        frame: from 1, in a file of several; ``None``: it has one.
        ct_window: that the model's CT slices are made with.

    Returns:
        The image, scaled down to ``serve_limits.SERVE_VIEW_PIXELS_MAX``, or why there is none.
    """
    if sniff(data[: limits.SNIFF_BYTES]) != "dicom":
        decoded = decode(data, at_least=limits.IMAGE_PIXELS_MAX)
        return decoded if isinstance(decoded, Rejected) else _scaled(_of_grey(decoded.grey))
    try:
        return _scaled(_of_dicom(open_dicom(data), (frame or 1) - 1, ct_window))
    except RefusedError as refusal:
        return rejected(refusal.reason, refusal.detail)
    except Exception as error:  # noqa: BLE001 - on hostile bytes; its words may hold a name
        return rejected(RejectReason.UNREADABLE, f"dicom: {type(error).__name__}")


def _of_grey(grey: Pixels) -> Viewed:
    return Viewed(grey.astype(np.uint16), 8, 1.0, 0.0, 127.5, 255.0)


def _of_dicom(image: DicomImage, number: int, ct_window: CtWindow) -> Viewed:
    with quiet():
        notes: set[Note] = set()
        ct = ct_window if image.facts.modality is Modality.CT else None
        chain = chain_of(image.header, image.form, number, ct, notes)
        stored = image.reader.read(number)
        grey = grey_of(stored, image.header, image.form, chain, notes)
        is_plain = image.form.photometric.startswith("MONOCHROME") and not stored.space
        if not is_plain or stored.raw.dtype.itemsize > 2:
            return _of_grey(grey)
        values = np.asarray(stored.values(image.form), np.int32)
    slope, intercept = (
        (1.0, 0.0) if chain.modality_lut is not None else (chain.slope, chain.intercept)
    )
    low, high = _window_of(values, grey)
    lowest, highest = int(values.min()), int(values.max())
    if low <= high:
        samples = values - lowest
        intercept += slope * lowest
    else:  # MONOCHROME1, or a negative slope
        samples = highest - values
        slope, intercept = -slope, intercept + slope * highest
        low, high = highest - low + lowest, highest - high + lowest
    ends = [(end - lowest) * slope + intercept for end in (low, high)]
    width = max(abs(ends[1] - ends[0]), abs(slope))
    shown = np.clip(samples, 0, 65_535).astype(np.uint16)
    return Viewed(shown, 16, slope, intercept, sum(ends) / 2, width)


def _window_of(values: NDArray[np.int32], grey: Pixels) -> tuple[int, int]:
    """Stored values that became black and white; the first is higher where dark is high.

    Taken from the image that was made, so that each kind of window and table is covered.
    """
    inner = (grey > 0) & (grey < 255)
    if not inner.any():
        return int(values.min()), int(values.max())
    shown, shades = values[inner], grey[inner].astype(np.float64)
    darkest, brightest = shades.min(), shades.max()
    dark = float(shown[shades == darkest].mean())
    bright = float(shown[shades == brightest].mean())
    if darkest == brightest:
        return int(dark), int(dark) + 1
    per_shade = (bright - dark) / (brightest - darkest)
    return round(dark - darkest * per_shade), round(bright + (255 - brightest) * per_shade)


def _scaled(viewed: Viewed) -> Viewed:
    rows, columns = viewed.samples.shape
    scale = 1
    while (rows // scale) * (columns // scale) > serve_limits.SERVE_VIEW_PIXELS_MAX:
        scale += 1
    samples = viewed.samples
    if scale > 1:
        size = (columns // scale, rows // scale)
        samples = np.asarray(cv2.resize(samples, size, interpolation=cv2.INTER_AREA), np.uint16)
    return Viewed(
        np.ascontiguousarray(samples),
        viewed.bits,
        viewed.slope,
        viewed.intercept,
        viewed.level,
        viewed.width,
        scale,
    )
