"""Decode a file's bytes to 8-bit grey, or return a reject reason; never raises.

The header is checked before a pixel is decoded, so that a small file which declares 60,000 x
60,000 pixels costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging import decode_subprocess, jpeg
from pulmospark.imaging.reject import RefusedError
from pulmospark.imaging.rejection import Rejected as Rejected  # noqa: PLC0414 - part of the result
from pulmospark.imaging.rejection import rejected
from pulmospark.imaging.sniff import DECODED_FORMATS, sniff

if TYPE_CHECKING:
    from pulmospark.imaging.dicom.greyscale import CtWindow
    from pulmospark.imaging.dicom.reader import DicomImage


@dataclass(frozen=True)
class Decoded:
    """An image in 8-bit grey."""

    grey: Pixels
    """(h, w), upright; may be scaled down from the original"""
    height: int
    """of the original as it is looked at (after EXIF orientation), pixels"""
    width: int
    """of the original as it is looked at, pixels"""
    format: str
    """of the content: a name in ``sniff.DECODED_FORMATS``"""
    eighths: int = 8
    """scale of ``grey`` to the original, in eighths"""
    notes: str | None = None
    """what of the file's header was doubtful: values of ``schemas.Note``, joined"""

    @property
    def extent(self) -> tuple[float, float]:
        """(height, width) of the image in the pixels of ``grey``.

        JPEG's scaled decoding rounds up: 700 pixels at 3/8 are 262.5, in 263. To take them
        for 263 would shift the far edge by half a pixel, 1 to 3 grey levels on average.
        """
        return self.height * self.eighths / 8, self.width * self.eighths / 8


def decode(data: bytes, *, at_least: int, ct_window: CtWindow = "lung") -> Decoded | Rejected:
    """Decode an image to 8-bit grey.

    JPEG is decoded at the smallest scale (n/8) whose shorter side is still ``at_least``,
    other formats in full. Images of more than 8 bits are windowed, see ``grey.window``. What may
    take long is decoded in a child process, see :mod:`pulmospark.imaging.decode_subprocess`.

    Args:
        data: the file's bytes; any bytes are allowed.
        at_least: pixels that the shorter side keeps, where the original has them.
        ct_window: of CT slices, see ``dicom_grey.CT_WINDOWS``.

    Returns:
        The image, or the reason why there is none. Nothing is raised, whatever the bytes.
    """
    kind = "file"
    try:
        kind = _format(data)
        if kind == "dicom":
            # Inside: pydicom takes a third of a second, which other formats are spared.
            from pulmospark.imaging.dicom.reader import open_dicom  # noqa: PLC0415

            return _one_frame(open_dicom(data), ct_window, at_least)
        heavy = jpeg.is_heavy(data) if kind == "jpeg" else _raster().is_heavy(data, kind)
    except RefusedError as refusal:
        return rejected(refusal.reason, refusal.detail)
    except ImportError:
        raise  # of the machine, not of the file
    except Exception as error:  # noqa: BLE001 - decoders raise anything on hostile bytes
        return rejected(RejectReason.UNREADABLE, _words(kind, error))
    if heavy:
        return _decode_apart(data, kind, at_least=at_least)
    try:
        return decode_here(data, kind, at_least=at_least)
    except MemoryError as error:
        return rejected(RejectReason.UNREADABLE, _words(kind, error))


def decode_here(data: bytes, kind: str, *, at_least: int) -> Decoded | Rejected:
    """As :func:`decode`, in this process, at any cost.

    Args:
        data: the file's bytes.
        kind: its format, any but ``dicom``.
        at_least: pixels that the shorter side keeps, where the original has them.

    Raises:
        MemoryError: there is not enough; nothing else is raised.
    """
    try:
        if kind == "jpeg":
            grey, height, width, eighths = jpeg.decode_jpeg(data, at_least)
            return Decoded(grey, height, width, kind, eighths)
        grey = _raster().decode_raster(data, kind)
        return Decoded(grey, grey.shape[0], grey.shape[1], kind)
    except RefusedError as refusal:
        if isinstance(refusal.__cause__, MemoryError):
            raise refusal.__cause__ from None
        return rejected(refusal.reason, refusal.detail)
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
            raise MemoryError(str(error)) from error
        return rejected(RejectReason.UNREADABLE, _words(kind, error))


def _raster() -> ModuleType:
    """The decoders of other formats; their Pillow takes as long to import as that of JPEG."""
    from pulmospark.imaging import raster  # noqa: PLC0415 - see above

    return raster


def _decode_apart(data: bytes, kind: str, *, at_least: int) -> Decoded | Rejected:
    """As :func:`decode_here`, in a child process that is killed if it takes too long."""
    try:
        answer, raw = decode_subprocess.ask("image", data, {"kind": kind, "at_least": at_least})
    except decode_subprocess.DecoderSlowError as error:
        return rejected(RejectReason.TOO_SLOW, f"{kind}: {error} (DECODE_SECONDS_MAX)")
    except decode_subprocess.DecoderError as error:
        return rejected(RejectReason.UNREADABLE, f"{kind}: {error}")
    if "reason" in answer:
        return rejected(RejectReason(answer["reason"]), answer["detail"])
    grey = np.frombuffer(raw, np.uint8).reshape(answer["shape"])
    return Decoded(grey, answer["height"], answer["width"], kind, answer["eighths"])


def _one_frame(image: DicomImage, ct_window: CtWindow, at_least: int) -> Decoded:
    if image.frames > 1:
        raise RefusedError(
            RejectReason.ANIMATED, f"dicom: {image.frames} frames where one image was expected"
        )
    frame = image.frame(0, ct_window, at_least=at_least)
    return Decoded(frame.grey, frame.height, frame.width, "dicom", frame.eighths, frame.notes)


def _words(kind: str, error: Exception) -> str:
    name = f"{kind}: {type(error).__name__}"
    # What a DICOM reader says may hold a patient's name.
    return name if kind == "dicom" else f"{name}: {error}"


def _format(data: bytes) -> str:
    if not data:
        raise RefusedError(RejectReason.EMPTY, "the file has no bytes")
    kind = sniff(data[: limits.SNIFF_BYTES])
    if kind is None:
        start = data[:8].hex(" ")
        raise RefusedError(RejectReason.NOT_AN_IMAGE, f"no image format begins with {start}")
    if kind not in DECODED_FORMATS:
        raise RefusedError(
            RejectReason.UNSUPPORTED_FORMAT, f"{kind} is not read: convert it to PNG"
        )
    return kind
