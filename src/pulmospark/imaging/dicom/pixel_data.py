"""Stored values of a DICOM file's frames, for every supported transfer syntax."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pulmospark.core.arrays import Integers, Pixels
from pulmospark.core.schemas import Note, RejectReason
from pulmospark.imaging.dicom.codecs import Decoded, decode_frame
from pulmospark.imaging.dicom.elements import PixelPlace
from pulmospark.imaging.dicom.frames import Frames
from pulmospark.imaging.dicom.header import Header
from pulmospark.imaging.dicom.pixel_format import PixelForm
from pulmospark.imaging.dicom.transfer_syntax import NATIVE, codec_of, name_of
from pulmospark.imaging.reject import RefusedError


@dataclass(frozen=True, eq=False)
class Stored:
    """A frame's samples as they lie in the file, or as the decoder gives them."""

    raw: NDArray[np.unsignedinteger]
    """(rows, columns) or (rows, columns, 3), of any order of bytes; a view where it can be"""
    shift: int
    """unused bits below the used ones"""
    bits: int
    """used bits"""
    space: str = ""
    """``""`` for grey and palette, ``RGB`` or ``YBR`` for colours, ``Y`` for their luma alone"""
    eighths: int = 8
    """scale of ``raw`` to the image, in eighths"""
    is_lossy: bool = False

    def values(self, form: PixelForm, raw: NDArray[np.unsignedinteger] | None = None) -> Integers:
        """What samples mean: the used bits alone, with their sign, and padding as it lies there.

        Args:
            form: of the pixels.
            raw: samples of the same kind and of any shape; ``None``: the frame's.
        """
        raw = self.raw if raw is None else raw
        raw = raw.astype(raw.dtype.newbyteorder("="), copy=False)
        return _padded(raw, _meant(raw, form, self.shift, self.bits), form)


class PixelReader:
    """Reads a file's frames, one at a time."""

    def __init__(self, header: Header, form: PixelForm) -> None:
        """Find them.

        Raises:
            RefusedError: the pixels contradict the transfer syntax, or lack a frame.
        """
        self._header, self._form = header, form
        self._frames: Frames | None = None
        if header.syntax not in NATIVE:
            self._frames = Frames(header, form.frames)

    def read(self, frame: int, *, at_least: int = 0) -> Stored:
        """One frame, from 0.

        Args:
            frame: from 0.
            at_least: pixels that the shorter side keeps where a large frame is decoded at a
                lower resolution; 0: it is decoded in full.

        Raises:
            RefusedError: the data is cut or damaged, or decoding would take too much memory.
        """
        header, form = self._header, self._form
        if self._frames is None:
            return _native(header, form, frame)
        encoded = self._frames[frame]
        decoded = decode_frame(
            header.syntax, encoded, form, held=len(header.body), at_least=at_least
        )
        return Stored(
            decoded.raw, 0, _used_bits(header, decoded, form), decoded.space or _space(form),
            decoded.eighths, decoded.is_lossy,
        )  # fmt: skip


def stored_values(header: Header, form: PixelForm, frame: int) -> tuple[Integers, str]:
    """The stored values of one frame, and the colour space that they are in.

    Args:
        header: of the file.
        form: of its pixels.
        frame: from 0.

    Returns:
        Whole numbers, (rows, columns) or (rows, columns, 3) of unused bits freed and signed as
        declared, and ``Stored.space``.

    Raises:
        RefusedError: the data is cut or damaged, or the transfer syntax is not read.
    """
    stored = PixelReader(header, form).read(frame)
    return stored.values(form), stored.space


def _space(form: PixelForm) -> str:
    return "" if form.samples == 1 else "RGB" if form.photometric == "RGB" else "YBR"


def _used_bits(header: Header, decoded: Decoded, form: PixelForm) -> int:
    """Bits of a decoded sample that count: those stored, as in uncompressed pixels.

    A codestream of fewer bits has its sign where it says (PS3.5, 8.2.3 and 8.2.4), but for JPEG,
    whose samples have none.
    """
    if decoded.precision and decoded.precision != form.stored:
        # As many as are allocated: that is how pixels are compressed with whatever lies above.
        if decoded.precision != form.allocated:
            header.notes.add(Note.PRECISION)
        if decoded.has_own_sign:
            return min(decoded.precision, form.stored)
    if decoded.precision and decoded.signed is not None and decoded.signed != form.signed:
        header.notes.add(Note.SIGN)
    return form.stored


def _meant(raw: NDArray[np.generic], form: PixelForm, shift: int, bits: int) -> Integers:
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
    down: Integers = np.right_shift(signed, width - bits)
    return down


def _padded(raw: NDArray[np.unsignedinteger], meant: Integers, form: PixelForm) -> Integers:
    """The meant values, but for padding that the used bits cannot hold: 63536 in 12 of 16 bits
    would become 2096, a value like any other."""
    if form.padding is None or not form.photometric.startswith("MONOCHROME"):
        return meant
    first, last = form.padding
    if form.lowest <= first and last <= form.highest:
        return meant
    whole: Integers = raw.view(f"i{raw.dtype.itemsize}") if form.signed else raw
    return np.where((whole >= first) & (whole <= last), whole, meant)


def _native(header: Header, form: PixelForm, frame: int) -> Stored:
    if form.photometric == "YBR_PARTIAL_420":
        raise RefusedError(RejectReason.UNSUPPORTED_FORMAT, "dicom: 4:2:0 colours, not compressed")
    data, pixels = memoryview(header.body), header.pixels
    if pixels is None:
        raise RefusedError(RejectReason.NO_PIXELS, "dicom: it holds no image")
    _check_native(header, data, pixels)
    there = min(pixels.length or 0, len(data) - pixels.start)
    halved = _is_halved(there, form)
    count = form.rows * form.columns * (2 if halved else form.samples)
    size = count * form.dtype.itemsize
    start = pixels.start + frame * size
    if there < (frame + 1) * size:
        raise RefusedError(
            RejectReason.TRUNCATED, "dicom: the pixel data ends before its image does"
        )
    kind = form.dtype.newbyteorder(">" if header.big_endian else "<")
    if header.big_endian and form.allocated == 8 and pixels.vr == "OW":
        flat = _swapped(data, pixels.start, frame * size, count)
    else:
        flat = np.frombuffer(data, kind, count, start)
    shift = form.high + 1 - form.stored
    if halved:  # Y1 Y2 Cb Cr
        luma = flat.reshape(-1, 4)[:, :2].reshape(form.rows, form.columns)
        return Stored(luma, shift, form.stored, "Y")
    if form.samples == 1:
        return Stored(flat.reshape(form.rows, form.columns), shift, form.stored)
    if form.planar:
        planes = flat.reshape(3, form.rows, form.columns).transpose(1, 2, 0)
        return Stored(planes, shift, form.stored, _space(form))
    colours = flat.reshape(form.rows, form.columns, 3)
    return Stored(colours, shift, form.stored, _space(form))


def _check_native(header: Header, data: memoryview, pixels: PixelPlace) -> None:
    if pixels.length is None:
        table = int.from_bytes(bytes(data[pixels.start + 4 : pixels.start + 8]), "little")
        codec = codec_of(data[pixels.start + 8 + table + 8 :]) or "compressed"
        raise RefusedError(
            RejectReason.UNREADABLE,
            f"dicom: the transfer syntax says {name_of(header.syntax)}, "
            f"and the pixels are encapsulated ({codec})",
        )


def _swapped(data: memoryview, start: int, at: int, count: int) -> Pixels:
    """8-bit samples that lie two a word, the first in its low byte, in a file of high bytes
    first."""
    first = at // 2 * 2
    words = np.frombuffer(data, ">u2", (at + count + 1) // 2 - first // 2, start + first)
    return words.astype("<u2").view(np.uint8)[at - first :][:count]


def _is_halved(length: int, form: PixelForm) -> bool:
    """Whether two pixels share their colours, as the photometric interpretation may say.

    Programs that unpack a JPEG often leave its name behind: where there is room for the colours
    of all pixels, they are there.
    """
    whole = form.frames * form.rows * form.columns * form.samples * form.dtype.itemsize
    return form.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422") and length < whole
