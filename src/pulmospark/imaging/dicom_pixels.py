"""Stored values of a DICOM file's frames, for every transfer syntax that films come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import get_frame

from pulmospark.core import limits
from pulmospark.core.tables import RejectReason
from pulmospark.imaging.dicom_codestream import Codestream, jpeg2000_codestream, jpeg_codestream
from pulmospark.imaging.dicom_header import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    Header,
    little_endian,
    numbers,
)
from pulmospark.imaging.jpegls_apart import Failed, decode_jpegls
from pulmospark.imaging.reject import Refused, check_size

_UID: Final = "1.2.840.10008.1.2"
NATIVE: Final = frozenset({IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN})
RLE: Final = f"{_UID}.5"
JPEG: Final = frozenset(f"{_UID}.4.{n}" for n in (50, 51, 57, 70))
"""Baseline, Extended (8 and 12 bit), Lossless, Lossless of first-order prediction"""
JPEG_LS: Final = frozenset({f"{_UID}.4.80", f"{_UID}.4.81"})
JPEG_2000: Final = frozenset({f"{_UID}.4.90", f"{_UID}.4.91"})
"""lossless only, and both"""

_COLOURS: Final = frozenset(
    {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"}
)
_GREYS: Final = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})

Values = NDArray[np.integer]


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
        Refused: it has none, or none in whole numbers.
    """
    dataset = header.dataset
    if "PixelData" in dataset:
        return
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise Refused(RejectReason.UNSUPPORTED_FORMAT, "dicom: floating-point pixels are not read")
    if "Rows" in dataset and "BitsAllocated" in dataset:
        raise Refused(RejectReason.TRUNCATED, "dicom: it declares an image, and ends before it")
    raise Refused(RejectReason.NO_PIXELS, "dicom: it holds no image")


def pixel_form(header: Header, *, least_side: int = limits.IMAGE_SIDE_MIN) -> PixelForm:
    """Check what the header declares before anything is decoded.

    Args:
        header: of the file.
        least_side: pixels that the shorter side has to have.

    Raises:
        Refused: too many pixels, or of a form that is no film's.
    """
    rows, columns = header.whole("Rows"), header.whole("Columns")
    check_size(rows, columns, least_side)
    frames = header.whole("NumberOfFrames", 1)
    if not 1 <= frames <= limits.DICOM_FRAMES_MAX:
        raise Refused(
            RejectReason.TOO_MANY_PIXELS if frames > 1 else RejectReason.UNREADABLE,
            f"dicom: {frames} frames, and 1 to {limits.DICOM_FRAMES_MAX} are read",
        )
    samples = header.whole("SamplesPerPixel", 1)
    allocated = header.whole("BitsAllocated")
    stored = header.whole("BitsStored", allocated)
    high = header.whole("HighBit", stored - 1)
    photometric = header.word("PhotometricInterpretation") or "MONOCHROME2"
    known = _GREYS if samples == 1 else _COLOURS if samples == 3 else frozenset[str]()
    if photometric not in known:
        raise Refused(
            RejectReason.UNSUPPORTED_FORMAT,
            f"dicom: {samples} samples a pixel of a photometric interpretation that is not read",
        )
    # The highest bit is wrong in old files; it says nothing in a compressed one.
    if high != stored - 1 and not (header.syntax in NATIVE and stored - 1 <= high < allocated):
        high = stored - 1
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated:
        raise Refused(
            RejectReason.UNSUPPORTED_FORMAT, f"dicom: {stored} of {allocated} bits a sample"
        )
    signed = header.whole("PixelRepresentation", 0) == 1
    return PixelForm(
        rows, columns, frames, samples, allocated, stored, high, signed,
        planar=header.whole("PlanarConfiguration", 0) == 1,
        photometric=photometric,
        padding=_padding(header, allocated, signed=signed),
    )  # fmt: skip


def _padding(header: Header, allocated: int, *, signed: bool) -> tuple[float, float] | None:
    told, limit = (
        _as_signed(numbers(header.dataset, keyword), allocated, signed=signed)
        for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")
    )
    if told is None:
        return None
    return (told, told) if limit is None else (min(told, limit), max(told, limit))


def _as_signed(told: tuple[float, ...], allocated: int, *, signed: bool) -> float | None:
    """A number of the pixels' kind, which may be written as of the other."""
    if not told:
        return None
    value = int(told[0])
    if signed and value >= 1 << (allocated - 1):
        return float(value - (1 << allocated))
    return float(value + (1 << allocated)) if value < 0 and not signed else float(value)


def stored_values(header: Header, form: PixelForm, frame: int) -> tuple[Values, str]:
    """The stored values of one frame, and the colour space that they are in.

    Args:
        header: of the file.
        form: of its pixels.
        frame: from 0.

    Returns:
        Whole numbers, (rows, columns) or (rows, columns, 3) of unused bits freed and signed as
        declared; ``""`` for grey and palette, ``RGB`` or ``YBR`` for colours. Of uncompressed
        4:2:2 colours only the luma is returned, (rows, columns). Padding beyond the used bits
        stays as it lies in the file.

    Raises:
        Refused: the data is cut or damaged, or the transfer syntax is not read.
    """
    space = "" if form.samples == 1 else "RGB" if form.photometric == "RGB" else "YBR"
    if header.syntax in NATIVE:
        found, bits = _native(header, form, frame), form.stored
        if found.ndim == 2 and space:
            return found, "Y"
        return _padded(found, _meant(found, form, form.high + 1 - form.stored, bits), form), space
    encoded = _encoded(header, form, frame)
    if header.syntax == RLE:
        found = _rle(encoded, form)
        return _padded(found, _meant(found, form, 0, form.stored), form), space
    stream, decoded = _decoded(header.syntax, encoded, form)
    if form.samples == 3 and header.syntax in JPEG:
        space = stream.space or space
    elif form.samples == 3 and form.photometric in ("YBR_ICT", "YBR_RCT"):
        space = "RGB"
    own = header.syntax in JPEG_2000 or header.syntax in JPEG_LS
    return _meant(decoded, form, 0, stream.precision if own else form.stored), space


def _meant(raw: NDArray[np.generic], form: PixelForm, shift: int, bits: int) -> Values:
    """Values of the used bits alone, with their sign."""
    if raw.dtype.kind == "i":
        raw = raw.view(f"u{raw.dtype.itemsize}")
    width = raw.dtype.itemsize * 8
    bits = min(bits, width)
    unused = width - bits - shift
    if not (unused or shift or form.signed):
        return raw  # type: ignore[return-value]
    # Up to the top, and down again: that frees both ends, and spreads the sign.
    up = np.left_shift(raw, max(unused, 0)) if unused > 0 else raw
    signed = up.view(f"i{raw.dtype.itemsize}") if form.signed else up
    down: Values = np.right_shift(signed, width - bits)
    return down


def _padded(raw: NDArray[np.unsignedinteger], meant: Values, form: PixelForm) -> Values:
    """The meant values, but for padding that the used bits cannot hold: 63536 in 12 of 16 bits
    would become 2096, a value like any other."""
    if form.padding is None or not form.photometric.startswith("MONOCHROME"):
        return meant
    first, last = form.padding
    if form.lowest <= first and last <= form.highest:
        return meant
    whole: Values = raw.view(f"i{raw.dtype.itemsize}") if form.signed else raw
    return np.where((whole >= first) & (whole <= last), whole, meant)


def _native(header: Header, form: PixelForm, frame: int) -> NDArray[np.unsignedinteger]:
    data = header.dataset["PixelData"].value
    if form.photometric == "YBR_PARTIAL_420":
        raise Refused(RejectReason.UNSUPPORTED_FORMAT, "dicom: 4:2:0 colours, not compressed")
    halved = _is_halved(data, form)
    count = form.rows * form.columns * (2 if halved else form.samples)
    size = count * form.dtype.itemsize
    start = frame * size
    if not isinstance(data, bytes) or len(data) < start + size:
        raise Refused(RejectReason.TRUNCATED, "dicom: the pixel data ends before its image does")
    words = header.big_endian and form.allocated == 8 and header.dataset["PixelData"].VR == "OW"
    if words:  # two samples a word, the first in its low byte
        data = little_endian(data)
    kind = form.dtype.newbyteorder(">" if header.big_endian else "<")
    flat = np.frombuffer(data, kind, count, start).astype(form.dtype, copy=False)
    if halved:  # Y1 Y2 Cb Cr
        return flat.reshape(-1, 4)[:, :2].reshape(form.rows, form.columns)
    if form.samples == 1:
        return flat.reshape(form.rows, form.columns)
    if form.planar:
        return flat.reshape(3, form.rows, form.columns).transpose(1, 2, 0)
    return flat.reshape(form.rows, form.columns, 3)


def _is_halved(data: object, form: PixelForm) -> bool:
    """Whether two pixels share their colours, as the photometric interpretation may say.

    Programs that unpack a JPEG often leave its name behind: where there is room for the colours
    of all pixels, they are there.
    """
    whole = form.frames * form.rows * form.columns * form.samples * form.dtype.itemsize
    named = form.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422")
    return named and isinstance(data, bytes) and len(data) < whole


def _encoded(header: Header, form: PixelForm, frame: int) -> bytes:
    if header.syntax not in {RLE, *JPEG, *JPEG_LS, *JPEG_2000}:
        raise Refused(RejectReason.UNSUPPORTED_FORMAT, "dicom: a transfer syntax that is not read")
    dataset = header.dataset
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    try:
        return get_frame(
            dataset["PixelData"].value,
            frame,
            extended_offsets=offsets,
            number_of_frames=form.frames,
        )
    except Exception as error:
        raise Refused(
            RejectReason.TRUNCATED, "dicom: the compressed data lacks a frame or its end"
        ) from error


def _rle(encoded: bytes, form: PixelForm) -> NDArray[np.unsignedinteger]:
    kind = form.dtype.newbyteorder("<")
    count = form.rows * form.columns * form.samples
    try:  # into room of the declared size: a small file could unfold to 64 times its own
        raw = imagecodecs.dicomrle_decode(encoded, kind, out=bytearray(count * kind.itemsize))
    except Exception as error:
        raise Refused(RejectReason.UNREADABLE, "dicom: the RLE data is damaged") from error
    flat = np.frombuffer(raw, kind)
    if flat.size < count:
        raise Refused(RejectReason.TRUNCATED, "dicom: the RLE data ends before its image does")
    flat = flat.astype(form.dtype, copy=False)
    if form.samples == 1:
        return flat.reshape(form.rows, form.columns)
    return flat.reshape(3, form.rows, form.columns).transpose(1, 2, 0)


def _decoded(
    syntax: str, encoded: bytes, form: PixelForm
) -> tuple[Codestream, NDArray[np.generic]]:
    stream = jpeg2000_codestream(encoded) if syntax in JPEG_2000 else jpeg_codestream(encoded)
    told = (stream.height, stream.width, stream.samples)
    if told != (form.rows, form.columns, form.samples):
        raise Refused(
            RejectReason.UNREADABLE,
            f"dicom: a frame of {stream.width} x {stream.height} x {stream.samples} where the "
            f"header says {form.columns} x {form.rows} x {form.samples}",
        )
    try:
        if syntax in JPEG_2000:
            found = imagecodecs.jpeg2k_decode(encoded, numthreads=1)
        elif stream.is_ls:
            found = decode_jpegls(encoded)
        else:
            # Colours are left as they are: which ones they are, the header knows better.
            plain = None if stream.samples == 1 else "YCBCR"
            found = imagecodecs.jpeg8_decode(encoded, colorspace=plain, outcolorspace=plain)
    except Failed as error:
        raise Refused(RejectReason.UNREADABLE, f"dicom: JPEG-LS: {error}") from error
    except Exception as error:
        raise Refused(
            RejectReason.UNREADABLE, f"dicom: the decoder refuses a frame: {type(error).__name__}"
        ) from error
    wanted = (form.rows, form.columns) if form.samples == 1 else (form.rows, form.columns, 3)
    if found.shape != wanted:
        raise Refused(RejectReason.UNREADABLE, "dicom: the decoder gives another shape")
    return stream, found
