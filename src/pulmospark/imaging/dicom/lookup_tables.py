"""Lookup tables of DICOM headers: of values (PS3.3, C.11.1 and C.11.2) and of colours (C.7.9)."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pulmospark.core import limits
from pulmospark.core.arrays import Floats, Integers, Pixels
from pulmospark.core.schemas import Note, RejectReason
from pulmospark.imaging.dicom.header import Header, sequence, table_data
from pulmospark.imaging.dicom.number_parsing import NoNumberError, numbers
from pulmospark.imaging.reject import RefusedError

_COLOURS: Final = ("Red", "Green", "Blue")
_LUMA: Final = (0.299, 0.587, 0.114)
"""ITU-R BT.601"""


class Lut(NamedTuple):
    """A lookup table."""

    first: int
    """value that the first entry is of; lower ones have it, too"""
    entries: Floats
    """(entries,)"""
    top: float
    """entry that is white"""

    def at(self, values: Floats) -> Floats:
        """Entries of values, rounded to whole ones; of the values' shape."""
        places = np.clip(np.rint(values - self.first), 0, len(self.entries) - 1)
        return self.entries[places.astype(np.int64)]


class NoTableError(ValueError):
    """A lookup table cannot be read."""


def lut_of(
    header: Header, place: Dataset, keyword: str, *, signed: bool, notes: set[Note]
) -> Lut | None:
    """The first table of a sequence; ``None`` where there is none.

    Its own maximum is white: many a writer declares 16 bits of an entry and fills 12, which
    would be all but black.

    Args:
        header: of the file.
        place: where the sequence stands.
        keyword: of the sequence.
        signed: whether the values that it is of may be below 0.
        notes: gets what was doubtful.

    Raises:
        NoTableError: it cannot be read, or has fewer entries than it declares.
    """
    if keyword not in place:
        return None
    item = next(iter(sequence(place, keyword)), None)
    if item is None:
        if place[keyword].value:
            raise NoTableError(keyword)
        return None
    try:
        descriptor = numbers(item, "LUTDescriptor", notes)
    except NoNumberError as error:
        raise NoTableError(keyword) from error
    data = table_data(item, "LUTData", big_endian=header.big_endian)
    if len(descriptor) != 3 or data is None:
        raise NoTableError(keyword)
    count, first, bits = (int(number) for number in descriptor)
    entries = _entries(data, count or 65536, bits)
    if entries is None:
        raise NoTableError(keyword)
    top = float(entries.max())
    if int(top).bit_length() != bits and top > 0:
        notes.add(Note.LUT_BITS)
    # The descriptor's middle number is signed where the values are, and may be read as not.
    first = first - 65536 if signed and first >= 32768 else first
    return Lut(first, entries, max(top, 1.0))


def _entries(data: object, count: int, bits: int) -> Floats | None:
    if isinstance(data, bytes):
        is_wide = bits > 8 or len(data) >= 2 * count
        entries: NDArray[np.generic] = (
            np.frombuffer(data[: len(data) // 2 * 2], "<u2")
            if is_wide
            else np.frombuffer(data, np.uint8)
        )
    else:
        try:
            entries = np.asarray(data).astype(np.float64).ravel()
        except (TypeError, ValueError):
            return None
    return entries[:count].astype(np.float64) if entries.size >= count > 0 else None


class Palette(NamedTuple):
    """A colour table, as the grey that its colours are looked at with."""

    first: int
    """value that the first entry is of"""
    grey: Pixels
    """(entries,) luma"""

    def at(self, values: Integers) -> Pixels:
        """Grey of values, of their shape; those beyond the ends have the ends'."""
        return self.grey[np.clip(values.astype(np.int64) - self.first, 0, len(self.grey) - 1)]


def palette_of(header: Header, *, signed: bool) -> Palette:
    """The colour table, whole or in segments (C.7.9.2).

    Args:
        header: of the file.
        signed: whether the pixels are.

    Raises:
        RefusedError: it is missing, damaged, or unfolds to more than
            ``limits.PALETTE_ENTRIES_MAX``.
    """
    firsts, planes, declared = [], [], []
    for colour in _COLOURS:
        descriptor = header.numbers(f"{colour}PaletteColorLookupTableDescriptor")
        if len(descriptor) != 3:
            raise _no_palette()
        count, first, bits = (int(number) for number in descriptor)
        firsts.append(first - 65536 if signed and first >= 32768 else first)
        declared.append(bits)
        planes.append(_plane(header, colour, count or 65536, bits))
    highest = max(float(plane.max()) for plane in planes)
    is_wide = highest > 255
    if is_wide != (declared[0] > 8):
        header.notes.add(Note.LUT_BITS)
    if len({len(plane) for plane in planes}) > 1 or len(set(firsts)) > 1:
        raise _no_palette()
    luma = sum(weight * plane for weight, plane in zip(_LUMA, planes, strict=True))
    grey = np.rint(luma / (65535.0 if is_wide else 255.0) * 255.0)
    return Palette(firsts[0], np.asarray(grey, np.uint8))


def _no_palette() -> RefusedError:
    return RefusedError(RejectReason.UNREADABLE, "dicom: its colour table is missing or damaged")


def _plane(header: Header, colour: str, count: int, bits: int) -> Floats:
    name = f"{colour}PaletteColorLookupTableData"
    data = table_data(header.dataset, name, big_endian=header.big_endian)
    if data:
        entries = _entries(data, count, bits)
        if entries is None:
            raise _no_palette()
        return entries
    segments = table_data(header.dataset, f"Segmented{name}", big_endian=header.big_endian)
    if not isinstance(segments, bytes) or not segments:
        raise _no_palette()
    words = np.frombuffer(
        segments[: len(segments) // 2 * 2] if bits > 8 else segments,
        "<u2" if bits > 8 else np.uint8,
    )
    entries = unfolded(words.tolist(), is_wide=bits > 8)
    if len(entries) < count:
        raise _no_palette()
    return entries[:count]


def unfolded(words: list[int], *, is_wide: bool) -> Floats:
    """Entries of a segmented colour table, (n,).

    Segments are, by their first word: 0, discrete, the entries themselves; 1, linear, from the
    entry before to one that is given; 2, indirect, earlier segments once more, at an offset in
    bytes of four words of 8 bits or two of 16.

    Args:
        words: the table's, of 8 or 16 bits.
        is_wide: whether they have 16.

    Raises:
        RefusedError: it is damaged, or unfolds to more than ``limits.PALETTE_ENTRIES_MAX``.
    """
    entries: list[float] = []
    at = 0
    while at + 2 < len(words):
        at = _segment(words, at, entries, is_wide=is_wide, may_repeat=True)
    return np.asarray(entries, np.float64)


def _segment(
    words: list[int], at: int, entries: list[float], *, is_wide: bool, may_repeat: bool
) -> int:
    """Unfold the segment at a place; the place of the next."""
    # An empty segment would unfold to nothing, as often as it is repeated.
    if at + 2 >= len(words) or not words[at + 1]:
        raise _no_palette()
    kind, length = words[at], words[at + 1]
    if len(entries) + length > limits.PALETTE_ENTRIES_MAX:
        raise RefusedError(
            RejectReason.UNREADABLE,
            f"dicom: entries of its colour table, over PALETTE_ENTRIES_MAX "
            f"({limits.PALETTE_ENTRIES_MAX})",
        )
    if kind == 0 and at + 2 + length <= len(words):
        entries.extend(words[at + 2 : at + 2 + length])
        return at + 2 + length
    if kind == 1 and entries:
        entries.extend(np.linspace(entries[-1], words[at + 2], length + 1)[1:].round().tolist())
        return at + 3
    if kind == 2 and may_repeat:  # of which none is itself indirect
        parts = 2 if is_wide else 4
        offset = sum(
            word << (n * (16 if is_wide else 8))
            for n, word in enumerate(words[at + 2 : at + 2 + parts])
        )
        place = offset // 2 if is_wide else offset
        for _ in range(length):
            place = _segment(words, place, entries, is_wide=is_wide, may_repeat=False)
        return at + 2 + parts
    raise _no_palette()
