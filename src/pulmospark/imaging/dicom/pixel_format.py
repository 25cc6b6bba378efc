"""Shape and meaning of a DICOM file's pixels, as declared in its header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pulmospark.core import limits
from pulmospark.core.schemas import Note, RejectReason
from pulmospark.imaging.dicom.header import Header
from pulmospark.imaging.dicom.number_parsing import NoNumberError, numbers
from pulmospark.imaging.dicom.transfer_syntax import NATIVE, READ, name_of
from pulmospark.imaging.reject import RefusedError, check_size

_COLOURS: Final = frozenset(
    {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"}
)
_GREYS: Final = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})


@dataclass(frozen=True)
class PixelForm:
    """Shape and meaning of the pixels, as the header declares and the limits allow."""

    rows: int
    columns: int
    frames: int
    samples: int
    """1 or 3 a pixel"""
    allocated: int
    """bits of a sample in the file: 8, 16 or 32"""
    stored: int
    """bits of a sample that are used"""
    high: int
    """place of the highest used bit"""
    signed: bool
    planar: bool
    """one plane after the other rather than pixel by pixel"""
    photometric: str
    """photometric interpretation, one of the closed list"""
    padding: tuple[float, float] | None = None
    """first and last value that stands for no measurement; it may lie beyond the used bits"""

    @property
    def lowest(self) -> int:
        """Least value that the used bits can hold."""
        return -(1 << (self.stored - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        """Greatest value that the used bits can hold."""
        return self.lowest + (1 << self.stored) - 1

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Of a sample as it lies in the file, in this machine's order."""
        return np.dtype(f"u{self.allocated // 8}")


def check_pixels(header: Header) -> None:
    """Refuse an object without pixels: a report, a plan, a list of other files.

    Raises:
        RefusedError: it has none, or none in whole numbers, or in a transfer syntax that is not
            read.
    """
    dataset, pixels = header.dataset, header.pixels
    if pixels is None and "Rows" in dataset and "BitsAllocated" in dataset:
        raise RefusedError(
            RejectReason.TRUNCATED, "dicom: it declares an image, and ends before it"
        )
    if pixels is None:
        raise RefusedError(RejectReason.NO_PIXELS, "dicom: it holds no image")
    if pixels.is_float:
        raise RefusedError(
            RejectReason.UNSUPPORTED_FORMAT, "dicom: floating-point pixels are not read"
        )
    if header.syntax not in READ:
        raise RefusedError(
            RejectReason.UNSUPPORTED_FORMAT, f"dicom: {name_of(header.syntax)} is not read"
        )


def pixel_form(header: Header, *, least_side: int = limits.IMAGE_SIDE_MIN) -> PixelForm:
    """Check what the header declares before anything is decoded.

    Args:
        header: of the file.
        least_side: pixels that the shorter side has to have.

    Raises:
        RefusedError: too many pixels, or of a form that is no image's.
    """
    rows, columns = header.whole("Rows"), header.whole("Columns")
    check_size(rows, columns, least_side)
    frames = _frames(header)
    samples = header.whole("SamplesPerPixel", 1)
    allocated = header.whole("BitsAllocated")
    stored = header.whole("BitsStored", 0)
    if not stored:
        stored = allocated
        header.notes.add(Note.BITS_MISSING)
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated:
        raise RefusedError(
            RejectReason.UNSUPPORTED_FORMAT, f"dicom: {stored} of {allocated} bits a sample"
        )
    representation = header.whole("PixelRepresentation", -1)
    if representation not in (0, 1):
        if representation != -1:
            raise RefusedError(
                RejectReason.UNREADABLE, "dicom: PixelRepresentation is neither 0 nor 1"
            )
        header.notes.add(Note.SIGN_MISSING)
    signed = representation == 1
    return PixelForm(
        rows, columns, frames, samples, allocated, stored, _high_bit(header, stored, allocated),
        signed,
        planar=header.whole("PlanarConfiguration", 0) == 1,
        photometric=_photometric(header, samples),
        padding=_padding(header, allocated, signed=signed),
    )  # fmt: skip


def _frames(header: Header) -> int:
    frames = header.whole("NumberOfFrames", 1)
    if frames == 0:  # as some writers have it where there is one
        header.notes.add(Note.FRAMES_ZERO)
        return 1
    if not 1 <= frames <= limits.DICOM_FRAMES_MAX:
        raise RefusedError(
            RejectReason.TOO_MANY_PIXELS if frames > 1 else RejectReason.UNREADABLE,
            f"dicom: {frames} frames, and 1 to DICOM_FRAMES_MAX ({limits.DICOM_FRAMES_MAX}) "
            "are read",
        )
    return frames


def _photometric(header: Header, samples: int) -> str:
    photometric = header.word("PhotometricInterpretation")
    if not photometric and samples == 1:
        photometric = "MONOCHROME2"
        header.notes.add(Note.PHOTOMETRIC_MISSING)
    known = _GREYS if samples == 1 else _COLOURS if samples == 3 else frozenset[str]()
    if photometric not in known:
        raise RefusedError(
            RejectReason.UNSUPPORTED_FORMAT,
            f"dicom: {samples} samples a pixel of a photometric interpretation that is not read",
        )
    return photometric


def _high_bit(header: Header, stored: int, allocated: int) -> int:
    """Place of the highest used bit; in compressed pixels the lowest bits are used."""
    high = header.whole("HighBit", stored - 1)
    if high == stored - 1 or header.syntax not in NATIVE:
        return stored - 1
    if stored - 1 <= high < allocated:
        return high
    header.notes.add(Note.HIGH_BIT)
    return stored - 1


def _padding(header: Header, allocated: int, *, signed: bool) -> tuple[float, float] | None:
    try:
        value, limit = (
            _as_signed(numbers(header.dataset, keyword, header.notes), allocated, signed=signed)
            for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")
        )
    except NoNumberError:
        header.notes.add(Note.PADDING_UNREADABLE)
        return None
    if value is None:
        return None
    return (value, value) if limit is None else (min(value, limit), max(value, limit))


def _as_signed(values: tuple[float, ...], allocated: int, *, signed: bool) -> float | None:
    """A number of the pixels' kind, which may be written as of the other."""
    if not values:
        return None
    value = int(values[0])
    if signed and value >= 1 << (allocated - 1):
        return float(value - (1 << allocated))
    return float(value + (1 << allocated)) if value < 0 and not signed else float(value)
