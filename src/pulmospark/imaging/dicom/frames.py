"""Compressed frames of a DICOM file: assign its fragments to frames.

PS3.5, A.4: the first item is a table of offsets, often empty and sometimes wrong; the others are
fragments; a delimiter closes them. What is there is believed before what is said of it.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from pulmospark.core import limits
from pulmospark.core.schemas import Note, RejectReason
from pulmospark.imaging.dicom.codestream import has_end
from pulmospark.imaging.dicom.elements import UNDEFINED
from pulmospark.imaging.dicom.header import Header
from pulmospark.imaging.dicom.transfer_syntax import codec_of, family_of, name_of
from pulmospark.imaging.reject import RefusedError

_HEAD: Final = Struct("<HHL")
_ITEM: Final = (0xFFFE, 0xE000)
_END: Final = (0xFFFE, 0xE0DD)


class Fragment(NamedTuple):
    """A piece of a frame, by its place in the data."""

    start: int
    length: int

    @property
    def item(self) -> int:
        """Where its item's head begins."""
        return self.start - 8


class _Items(NamedTuple):
    table: bytes
    """of basic offsets"""
    fragments: list[Fragment]
    is_closed: bool
    """whether the delimiter is there"""
    is_cut: bool
    """whether the last fragment ends before its length"""


class Frames:
    """The frames of a file's encapsulated pixels."""

    def __init__(self, header: Header, count: int) -> None:
        """Find them.

        Args:
            header: of a file whose transfer syntax is a compressed one.
            count: of frames that the header declares.

        Raises:
            RefusedError: the pixels are not encapsulated, or lack a frame.
        """
        if header.pixels is None:
            raise RefusedError(RejectReason.NO_PIXELS, "dicom: it holds no image")
        self._body = memoryview(header.body)
        self._family = family_of(header.syntax)
        start = header.pixels.start
        if bytes(self._body[start : start + 4]) != b"\xfe\xff\x00\xe0":
            raise RefusedError(
                RejectReason.UNREADABLE,
                f"dicom: the transfer syntax says {name_of(header.syntax)}, "
                "and the pixels are not compressed",
            )
        items = _items(self._body, start)
        self._frames = self._assigned(header, items, count)
        if not items.is_closed:
            if items.is_cut and not has_end(self._bytes(self._frames[-1])):
                raise RefusedError(RejectReason.TRUNCATED, "dicom: the file ends within a frame")
            header.notes.add(Note.NO_DELIMITER)

    def __getitem__(self, frame: int) -> memoryview | bytes:
        """A frame's codestream, held against the transfer syntax before it is decoded."""
        return self._bytes(self._frames[frame])

    def _bytes(self, fragments: list[Fragment]) -> memoryview | bytes:
        pieces = [self._body[piece.start : piece.start + piece.length] for piece in fragments]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _assigned(self, header: Header, items: _Items, count: int) -> list[list[Fragment]]:
        fragments = [piece for piece in items.fragments if piece.length]
        if not fragments:
            raise RefusedError(
                RejectReason.TRUNCATED, "dicom: the compressed data lacks its frames"
            )
        offsets = _offsets(header, items, count)
        starts = {piece.item: n for n, piece in enumerate(fragments)}
        base = fragments[0].item
        places = [starts.get(base + offset, -1) for offset in offsets]
        right = len(places) == count and places[:1] == [0] and places == sorted(set(places))
        if offsets and not right:
            header.notes.add(Note.OFFSET_TABLE)
        if count == 1:
            return [fragments]
        if not right:
            places = self._begun(fragments, count)
        return [fragments[a:b] for a, b in zip(places, [*places[1:], None], strict=True)]

    def _begun(self, fragments: list[Fragment], count: int) -> list[int]:
        """Fragments that frames begin with: each, or those that begin as the codec's do."""
        if len(fragments) == count:
            return list(range(count))
        places = [
            n
            for n, piece in enumerate(fragments)
            if codec_of(self._body[piece.start : piece.start + piece.length]) == self._family
        ]
        if len(places) < count:
            raise RefusedError(
                RejectReason.TRUNCATED,
                f"dicom: the compressed data holds {len(places)} of {count} frames",
            )
        if len(places) > count or places[0] != 0:
            raise RefusedError(
                RejectReason.UNREADABLE,
                f"dicom: cannot assign {len(fragments)} fragments to {count} frames",
            )
        return places


def _items(body: memoryview, start: int) -> _Items:
    at, end = start, len(body)
    table: bytes | None = None
    fragments: list[Fragment] = []
    while at + 8 <= end:
        group, element, length = _HEAD.unpack_from(body, at)
        if (group, element) != _ITEM or length == UNDEFINED:
            return _Items(table or b"", fragments, (group, element) == _END, False)
        value, at = at + 8, at + 8 + length
        whole = min(length, end - value)
        if table is None:
            table = bytes(body[value : value + whole])
        else:
            fragments.append(Fragment(value, whole))
        if len(fragments) > limits.DICOM_FRAGMENTS_MAX:
            raise RefusedError(
                RejectReason.TOO_SLOW,
                "dicom: fragments of compressed pixels, over DICOM_FRAGMENTS_MAX "
                f"({limits.DICOM_FRAGMENTS_MAX})",
            )
        if at > end:
            return _Items(table, fragments, False, True)
    return _Items(table or b"", fragments, False, False)


def _offsets(header: Header, items: _Items, count: int) -> list[int]:
    """Offsets of the frames' first items from the first fragment's, as a table has them."""
    dataset = header.dataset
    if "ExtendedOffsetTable" in dataset:
        extended = dataset["ExtendedOffsetTable"].value
        if isinstance(extended, bytes) and len(extended) == 8 * count:
            return [int.from_bytes(extended[n : n + 8], "little") for n in range(0, 8 * count, 8)]
    table = items.table[: 4 * limits.DICOM_FRAMES_MAX + 4]
    return [int.from_bytes(table[n : n + 4], "little") for n in range(0, len(table) // 4 * 4, 4)]
