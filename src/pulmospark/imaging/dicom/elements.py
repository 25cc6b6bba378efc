"""A DICOM data set's elements, walked by their lengths before any becomes a value.

Nothing is built: elements, items and nesting are counted against limits, so that a file of a
million empty ones costs a tenth of a second, and the pixel data is found where it lies, so that
it need not be copied. Encoding: PS3.5, 7.1 (elements) and 7.5 (sequences).
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from pulmospark.core import limits
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.reject import RefusedError

Buffer = bytes | bytearray | memoryview

LONG_VRS: Final = frozenset({
    b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"
})  # fmt: skip
"""value representations whose length has 32 bits"""
UNDEFINED: Final = 0xFFFFFFFF

_FLOAT_PIXELS, _DOUBLE_PIXELS, _PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


class _Head(NamedTuple):
    """An element's head."""

    tag: int
    vr: bytes
    """empty where the encoding has none"""
    length: int
    value: int
    """where its value begins"""


@dataclass(frozen=True)
class PixelPlace:
    """Where the pixels lie in a data set."""

    start: int
    length: int | None
    """bytes; ``None``: encapsulated, up to a delimiter"""
    vr: str
    """empty where the encoding has none"""
    is_float: bool


@dataclass(frozen=True)
class Extent:
    """A data set as far as its pixels."""

    end: int
    """where the element of the pixels begins, or the data ends"""
    pixels: PixelPlace | None


def walk(
    data: Buffer, start: int, *, implicit: bool, big_endian: bool, kept: Container[int]
) -> Extent:
    """Walk a data set up to its pixels.

    Args:
        data: the bytes.
        start: of the first element.
        implicit: whether elements have no value representation.
        big_endian: whether numbers have their high byte first.
        kept: tags that are read later, whose values are held against
            ``limits.DICOM_VALUE_BYTES_MAX``; sequences among them are walked through, others
            only where their length does not give their end.

    Raises:
        RefusedError: the data is cut, or has too many or too deep elements.
    """
    return _Walk(data, start, implicit=implicit, big_endian=big_endian, kept=kept).extent()


class _Walk:
    def __init__(
        self, data: Buffer, start: int, *, implicit: bool, big_endian: bool, kept: Container[int]
    ) -> None:
        order = ">" if big_endian else "<"
        self._data, self._at, self._end = data, start, len(data)
        self._implicit, self._kept, self._count = implicit, kept, 0
        self._tag, self._short = Struct(f"{order}HH"), Struct(f"{order}H")
        self._long = Struct(f"{order}L")

    def extent(self) -> Extent:
        while self._at + 8 <= self._end:
            begun = self._at
            head = self._head(implicit=self._implicit)
            if head.tag >= _FLOAT_PIXELS:
                return Extent(begun, self._pixels(head))
            if head.tag >> 16 == 0:
                raise RefusedError(
                    RejectReason.TRUNCATED, "dicom: zeros where its header should be"
                )
            self._value(head)
        if self._at > self._end:
            raise RefusedError(RejectReason.TRUNCATED, "dicom: ends within its header")
        # Some bytes of padding are no element.
        return Extent(self._at, None)

    def _pixels(self, head: _Head) -> PixelPlace | None:
        if head.tag not in (_FLOAT_PIXELS, _DOUBLE_PIXELS, _PIXELS):
            return None
        length = None if head.length == UNDEFINED else head.length
        return PixelPlace(head.value, length, head.vr.decode("ascii"), head.tag != _PIXELS)

    def _head(self, *, implicit: bool) -> _Head:
        self._count += 1
        if self._count > limits.DICOM_ELEMENTS_MAX:
            raise RefusedError(
                RejectReason.TOO_SLOW,
                "dicom: elements and items in its header, over DICOM_ELEMENTS_MAX "
                f"({limits.DICOM_ELEMENTS_MAX})",
            )
        at = self._at
        if at + 8 > self._end:
            raise RefusedError(RejectReason.TRUNCATED, "dicom: ends within its header")
        group, element = self._tag.unpack_from(self._data, at)
        tag = group << 16 | element
        if implicit or group == 0xFFFE:
            return _Head(tag, b"", self._long.unpack_from(self._data, at + 4)[0], at + 8)
        vr = bytes(self._data[at + 4 : at + 6])
        if vr in LONG_VRS:
            if at + 12 > self._end:
                raise RefusedError(RejectReason.TRUNCATED, "dicom: ends within its header")
            return _Head(tag, vr, self._long.unpack_from(self._data, at + 8)[0], at + 12)
        if not (vr.isalpha() and vr.isupper()):
            # Elements without a value representation among others, as some writers left them.
            return _Head(tag, b"", self._long.unpack_from(self._data, at + 4)[0], at + 8)
        return _Head(tag, vr, self._short.unpack_from(self._data, at + 6)[0], at + 8)

    def _value(self, head: _Head) -> None:
        """Pass over a top-level element's value, through a sequence where that is wanted."""
        kept = head.tag in self._kept
        if head.length == UNDEFINED and _is_encapsulated(head):
            self._fragments(head)
        elif head.length == UNDEFINED or (kept and self._is_sequence(head)):
            self._sequence(head, kept=kept)
        else:
            self._plain(head, kept=kept)

    def _plain(self, head: _Head, *, kept: bool) -> None:
        if kept and head.length > limits.DICOM_VALUE_BYTES_MAX:
            raise RefusedError(
                RejectReason.TOO_MANY_BYTES,
                f"dicom: {head.length} bytes in one value of its header, over "
                f"DICOM_VALUE_BYTES_MAX ({limits.DICOM_VALUE_BYTES_MAX})",
            )
        self._at = head.value + head.length

    def _fragments(self, head: _Head) -> None:
        """Pass over encapsulated data that is not the image's: an icon's, a maker's own."""
        self._at = head.value
        while (item := self._head(implicit=True)).tag == _ITEM:
            self._at = item.value + item.length
        self._at = item.value

    def _is_sequence(self, head: _Head) -> bool:
        if head.vr and head.vr != b"UN":
            return head.vr == b"SQ"
        return dictionary_has_tag(head.tag) and dictionary_VR(head.tag) == "SQ"

    def _sequence(self, head: _Head, *, kept: bool) -> None:
        """Walk through a sequence of any depth, without recursion.

        The stack holds, for each open sequence and item, where it ends (``None``: at its
        delimiter), whether it is an item, and whether its elements have a representation.
        """
        # PS3.5, 6.2.2: what is in an element of unknown kind is implicit, whatever the file is.
        implicit = self._implicit or head.vr == b"UN"
        stack = [(_end_of(head), False, implicit)]
        self._at = head.value
        while stack:
            end, is_item, implicit = stack[-1]
            if end is not None and self._at >= end:
                stack.pop()
                continue
            inner = self._head(implicit=implicit)
            self._at = inner.value
            if inner.tag in (_ITEM_END, _SEQUENCE_END):
                stack.pop()
            elif is_item and inner.length == UNDEFINED and _is_encapsulated(inner):
                self._fragments(inner)
            elif is_item and (inner.length == UNDEFINED or self._is_sequence(inner)):
                stack.append((_end_of(inner), False, implicit or inner.vr == b"UN"))
            elif is_item:
                self._plain(inner, kept=kept)
            elif inner.tag == _ITEM:
                stack.append((_end_of(inner), True, implicit))
            else:
                raise RefusedError(RejectReason.UNREADABLE, "dicom: a sequence holds no items")
            if len(stack) > 2 * limits.DICOM_DEPTH_MAX:
                raise RefusedError(
                    RejectReason.UNREADABLE,
                    f"dicom: nested sequences, over DICOM_DEPTH_MAX ({limits.DICOM_DEPTH_MAX})",
                )
        if self._at > self._end:
            raise RefusedError(RejectReason.TRUNCATED, "dicom: ends within its header")


def _is_encapsulated(head: _Head) -> bool:
    """Whether what has no length consists of fragments rather than of items with elements."""
    return head.vr not in (b"", b"SQ", b"UN")


def _end_of(head: _Head) -> int | None:
    return None if head.length == UNDEFINED else head.value + head.length
