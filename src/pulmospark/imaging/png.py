"""PNG: what its chunks declare, and 16-bit colours decoded a strip at a time.

Chunks and filters are those of the PNG specification, third edition (W3C, 2025).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.greyscale import on_black, window
from pulmospark.imaging.reject import RefusedError

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""samples a pixel by colour type"""
_SHOWN: Final = frozenset({b"tRNS", b"eXIf", b"acTL"})
"""ancillary chunks that change what is seen: transparency, orientation, animation"""
_STRIP_BYTES: Final = 2 * 1024 * 1024
_STORED_MAX: Final = 65_535
"""bytes of a block that is stored in a deflated stream (RFC 1951, section 3.2.4)"""
_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
_PIECE_BYTES: Final = 64 * 1024
_PASSES: Final = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2),
                  (0, 1, 2, 2), (1, 0, 2, 1))  # fmt: skip
"""Adam7: first row and column of each pass, and their steps"""


class Chunk(NamedTuple):
    """A chunk of the file."""

    name: bytes
    start: int
    """of its content, after length and name"""
    size: int
    """bytes of its content"""

    @property
    def is_critical(self) -> bool:
        """Whether no decoder may pass over it."""
        return not self.name[0] & 0x20


def chunks(data: bytes) -> list[Chunk]:
    """The chunks up to the end mark, or to where the file ends.

    Raises:
        RefusedError: there are over ``limits.PNG_CHUNKS_MAX``.
    """
    listed: list[Chunk] = []
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        listed.append(Chunk(name, at + 8, size))
        if name == b"IEND":
            break
        if len(listed) > limits.PNG_CHUNKS_MAX:
            raise RefusedError(
                RejectReason.TOO_SLOW, f"png: over {limits.PNG_CHUNKS_MAX} chunks (PNG_CHUNKS_MAX)"
            )
        at += 12 + size
    return listed


def is_cut(listed: list[Chunk], data: bytes) -> bool:
    """Whether the file ends before its end mark does."""
    return not listed or listed[-1].name != b"IEND" or listed[-1].start + 4 > len(data)


def without_ancillary(data: bytes, listed: list[Chunk]) -> bytes:
    """The file without those ancillary chunks that change no pixel, or whose checksum is wrong.

    A decoder passes over an ancillary chunk that is damaged (section 13.2, as libpng does); the
    pixels' own chunks stay, whatever their checksums, for the decoder to check.
    """
    kept = [
        data[chunk.start - 8 : chunk.start + chunk.size + 4]
        for chunk in listed
        if chunk.is_critical or (chunk.name in _SHOWN and _is_whole(memoryview(data), chunk))
    ]
    return b"".join((_SIGNATURE, *kept))


def _is_whole(data: memoryview, chunk: Chunk) -> bool:
    """Whether its checksum is that of its name and content."""
    end = chunk.start + chunk.size
    checked: Any = data[chunk.start - 4 : end]
    crc = imagecodecs.zlibng_crc32(checked)  # ten times as fast as zlib's
    return int(crc).to_bytes(4, "big") == data[end : end + 4]


def check_pixels(data: bytes, listed: list[Chunk]) -> None:
    """Refuse pixels whose checksums are wrong, which Pillow does not look at.

    Raises:
        RefusedError: they are damaged.
    """
    view = memoryview(data)
    if not all(_is_whole(view, chunk) for chunk in listed if chunk.name == b"IDAT"):
        raise RefusedError(RejectReason.UNREADABLE, "png: wrong checksum of the pixels (IDAT)")


def exif_of(data: bytes, listed: list[Chunk]) -> bytes | None:
    """Content of the eXIf chunk, before or after the pixels; ``None`` where there is none."""
    for chunk in listed:
        if chunk.name == b"eXIf" and _is_whole(memoryview(data), chunk):
            return data[chunk.start : chunk.start + chunk.size]
    return None


class PngForm(NamedTuple):
    """What the header declares of the pixels."""

    width: int
    height: int
    bits: int
    """of a sample"""
    colour: int
    """colour type, see ``_CHANNELS``"""
    is_interlaced: bool

    @property
    def is_deep_colour(self) -> bool:
        """Whether it has 16-bit colours or grey with alpha, of which Pillow keeps 8 bits only."""
        return self.bits == 16 and self.colour in (2, 4, 6)


def png_form(data: bytes) -> PngForm | None:
    """Read the header; ``None`` where the file does not begin with one."""
    if len(data) < 33 or data[12:16] != b"IHDR":
        return None
    width, height, bits, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    return PngForm(width, height, bits, colour, interlace != 0)


def grey_of_deep_colour(data: bytes, form: PngForm, listed: list[Chunk]) -> Pixels:
    """8-bit grey, (height, width), of an image of 16-bit colours.

    An image of 12 bits in such a file would keep 16 greys of Pillow's 8 upper bits. The file is
    inflated a strip at a time, so that memory holds the luma only, and not all samples.

    Raises:
        RefusedError: the pixels are cut, or no deflated data.
    """
    luma = np.empty((form.height, form.width), np.uint16)
    has_alpha = form.colour != 2 or any(chunk.name == b"tRNS" for chunk in listed)
    alpha = np.empty(luma.shape, np.uint8) if has_alpha else None
    hidden = _transparent_colour(data, listed) if form.colour == 2 else None
    stream = _Inflated(data, listed)
    for rows, columns in _passes(form):
        top = 0
        luma_rows = luma[rows, columns]
        alpha_rows = None if alpha is None else alpha[rows, columns]
        for samples in _strips(stream, form, *luma_rows.shape):
            place = slice(top, top + len(samples))
            top += len(samples)
            luma_rows[place] = (
                samples[..., 0]
                if form.colour == 4
                else cv2.cvtColor(samples, cv2.COLOR_RGB2GRAY)  # of four channels the first three
            )
            if alpha_rows is not None:
                alpha_rows[place] = _alpha(samples, form, hidden)
    grey = window(luma)
    return grey if alpha is None else on_black(grey, alpha)


def _alpha(samples: NDArray[np.uint16], form: PngForm, hidden: tuple[int, ...] | None) -> Pixels:
    if form.colour != 2:
        high = samples[..., -1] >> 8
        return high.astype(np.uint8)
    if hidden is None:
        return np.full(samples.shape[:2], 255, np.uint8)
    return np.where((samples == hidden).all(axis=2), np.uint8(0), np.uint8(255))


def _transparent_colour(data: bytes, listed: list[Chunk]) -> tuple[int, ...] | None:
    for chunk in listed:
        if chunk.name == b"tRNS" and chunk.size == 6 and _is_whole(memoryview(data), chunk):
            return struct.unpack_from(">3H", data, chunk.start)
    return None


def _passes(form: PngForm) -> list[tuple[slice, slice]]:
    """Rows and columns of the passes that have pixels."""
    if not form.is_interlaced:
        return [(slice(None), slice(None))]
    return [
        (slice(row, None, down), slice(column, None, right))
        for row, column, down, right in _PASSES
        if row < form.height and column < form.width
    ]


def _strips(
    stream: _Inflated, form: PngForm, height: int, width: int
) -> Iterator[NDArray[np.uint16]]:
    """Samples of a pass, (rows, width, channels), a strip of rows at a time.

    Each strip is given to libpng as a small file of its own, behind the row before it, which the
    filters look back to.
    """
    channels = _CHANNELS[form.colour]
    row_bytes = 1 + 2 * channels * width
    rows = max(1, _STRIP_BYTES // row_bytes)
    before = b""
    for top in range(0, height, rows):
        count = min(rows, height - top)
        filtered = stream.take(count * row_bytes)
        file = _small_file(before + filtered, form, width, count + bool(before))
        try:
            samples: NDArray[np.uint16] = imagecodecs.png_decode(file)
        except Exception as error:
            raise RefusedError(RejectReason.UNREADABLE, f"png: {error}") from error
        samples = samples.reshape(count + bool(before), width, channels)[bool(before) :]
        # Filter 0: the samples as they are, high byte first.
        before = b"\0" + samples[-1].astype(">u2").tobytes()
        yield samples


def _small_file(filtered: bytes, form: PngForm, width: int, height: int) -> bytearray:
    """A file of these rows; what is deflated is stored, and each byte copied once."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, form.bits, form.colour, 0, 0, 0)
    blocks = range(0, len(filtered), _STORED_MAX)
    size = 2 + 5 * len(blocks) + len(filtered) + 4
    parts: list[bytes | memoryview] = [
        _SIGNATURE, struct.pack(">I", 13), head, struct.pack(">I", zlib.crc32(head)),
        struct.pack(">I", size), b"IDAT", b"\x78\x01",
    ]  # fmt: skip
    view = memoryview(filtered)
    for at in blocks:
        block = view[at : at + _STORED_MAX]
        parts += [struct.pack("<BHH", at == blocks[-1], len(block), len(block) ^ 0xFFFF), block]
    parts.append(struct.pack(">I", imagecodecs.zlibng_adler32(filtered)))
    file = bytearray().join(parts)
    checked: Any = memoryview(file)[-size - 4 :]
    crc = imagecodecs.zlibng_crc32(checked)
    checked.release()  # while it is held, the file cannot grow
    file += struct.pack(">I", crc) + _END
    return file


class _Inflated:
    """The inflated pixels of a file, taken piece by piece."""

    def __init__(self, data: bytes, listed: list[Chunk]) -> None:
        self._data = memoryview(data)
        self._left = [chunk for chunk in reversed(listed) if chunk.name == b"IDAT"]
        self._chunk = memoryview(b"")
        self._inflate = zlib.decompressobj()

    def take(self, count: int) -> bytes:
        """The next bytes, exactly so many."""
        parts: list[bytes] = []
        while count:
            packed = self._inflate.unconsumed_tail or self._next_piece()
            try:
                part = self._inflate.decompress(packed, count)
            except zlib.error as error:
                raise RefusedError(RejectReason.UNREADABLE, f"png: {error}") from error
            if not part and not packed:
                raise RefusedError(
                    RejectReason.TRUNCATED, "png: the pixels end before the image does"
                )
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _next_piece(self) -> memoryview:
        """Packed bytes; none at the end. Few, since what is not used at once is copied."""
        while not self._chunk and self._left:
            chunk = self._left.pop()
            self._chunk = self._data[chunk.start : chunk.start + chunk.size]
        piece, self._chunk = self._chunk[:_PIECE_BYTES], self._chunk[_PIECE_BYTES:]
        return piece
