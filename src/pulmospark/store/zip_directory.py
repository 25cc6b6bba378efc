"""The directory of a zip, read in pieces: ``zipfile`` makes an object of a kilobyte of each file.

https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, with ZIP64.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple

from pulmospark.core import archive_limits, limits
from pulmospark.core.errors import InputError
from pulmospark.store.archive_bytes import ArchiveBytes

STORED, DEFLATED = 0, 8
ENCRYPTED, SPECIAL = 254, 255
"""in place of a method: of a file with a password, and of a link or another special file"""

_END = struct.Struct("<4s4H2LH")
_END64_PLACE = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
LOCAL_MARK = b"PK\3\4"
_COMMENT_MAX = 65_535
_UTF8, _HAS_PASSWORD = 0x800, 0x1
_ZIP64 = 1
_UNKNOWN = 0xFFFFFFFF


class Entry(NamedTuple):
    """A file in an archive, as its directory describes it."""

    name: str
    place: int
    """of its header in a zip, of its content in a tar"""
    packed: int
    """bytes in the archive"""
    size: int
    """bytes unpacked"""
    crc: int
    method: int
    """``STORED``, ``DEFLATED``, ``ENCRYPTED``, ``SPECIAL``, or another of the format's"""


def zip_entries(source: ArchiveBytes, shown: str) -> Iterator[Entry]:
    """The files of a zip in the order of its directory, without its folders.

    Args:
        source: of the zip.
        shown: its name, for messages.

    Raises:
        InputError: it is no zip, is damaged, or larger than the limits of archives.
        OSError: the machine fails.
        SourceUnavailableError: the store fails.
    """
    start, size, count, before = _directory(source, shown)
    if count > limits.ARCHIVE_FILES_MAX or size > archive_limits.ARCHIVE_DIRECTORY_BYTES_MAX:
        raise InputError(
            f"{shown}: a directory of {count:,} files in {size:,} bytes, over the limit of "
            f"{limits.ARCHIVE_FILES_MAX:,} or {archive_limits.ARCHIVE_DIRECTORY_BYTES_MAX:,}: "
            "split it"
        )
    packed = seen = 0
    held = b""
    done = 0
    while done < size or held:
        if len(held) < _ENTRY.size + 3 * 65_536 and done < size:
            length = min(archive_limits.ARCHIVE_DIRECTORY_READ_BYTES, size - done)
            piece = source.read(start + done, length)
            if len(piece) < length:
                raise _damaged(shown, "its directory is cut off")
            held, done = held + piece, done + length
        at = 0
        while len(held) - at >= _ENTRY.size + 3 * 65_536 or (done >= size and at < len(held)):
            entry, at = _entry(held, at, before, source.size, shown)
            seen += 1
            packed += entry.packed
            if seen > limits.ARCHIVE_FILES_MAX or packed > source.size:
                raise _damaged(shown, "its files overlap, or are more than it states")
            if not entry.name.endswith("/"):
                yield entry
        held = held[at:]


def _directory(source: ArchiveBytes, shown: str) -> tuple[int, int, int, int]:
    """Start and bytes of the directory, its files, and the bytes before the archive itself."""
    length = min(source.size, _END.size + _COMMENT_MAX + _END64_PLACE.size)
    tail = source.read(source.size - length, length)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(tail):
        raise InputError(f"{shown}: not a zip archive: its directory is missing")
    _, _, _, _, count, size, start, _ = _END.unpack_from(tail, at)
    end = source.size - length + at
    place = tail[max(at - _END64_PLACE.size, 0) : at]
    if len(place) == _END64_PLACE.size and place.startswith(b"PK\6\7"):
        end -= _END64_PLACE.size + _END64.size
        record = source.read(max(end, 0), _END64.size)
        if len(record) < _END64.size or not record.startswith(b"PK\6\6"):
            raise _damaged(shown, "its ZIP64 record is missing")
        *_, count, size, start = _END64.unpack(record)
    before = end - size - start
    if before < 0 or size + start > source.size:
        raise _damaged(shown, "its directory lies outside it")
    return start + before, size, count, before


def _entry(held: bytes, at: int, before: int, end_of_all: int, shown: str) -> tuple[Entry, int]:
    """The record at an offset, and where the next begins."""
    if len(held) - at < _ENTRY.size or held[at : at + 4] != b"PK\1\2":
        raise _damaged(shown, "a record of its directory is broken")
    record = _ENTRY.unpack_from(held, at)
    flags, method, crc, packed, size = record[3], record[4], *record[7:10]
    name_length, extra_length, comment_length = record[10:13]
    attributes, place = record[15], record[16]
    after_name = at + _ENTRY.size + name_length
    end = after_name + extra_length + comment_length
    if end > len(held) or name_length > archive_limits.ARCHIVE_NAME_BYTES_MAX:
        raise _damaged(shown, "a record of its directory is broken")
    name = name_of(held[at + _ENTRY.size : after_name], flags)
    if _UNKNOWN in (packed, size, place):
        extra = held[after_name : after_name + extra_length]
        size, packed, place = _large(extra, size, packed, place, shown)
    kind = stat.S_IFMT(attributes >> 16)
    if flags & _HAS_PASSWORD:
        method = ENCRYPTED
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        method = SPECIAL
    # What lies outside is found missing when it is read.
    place, size = min(before + place, end_of_all), min(size, 2**62)
    return Entry(name, place, packed, size, crc, min(method, SPECIAL)), end


def name_of(raw: bytes, flags: int) -> str:
    """A name as text, without ``./`` before it; bytes that are not UTF-8 become ``\\xNN``."""
    name = raw.decode("utf-8", "backslashreplace") if flags & _UTF8 else raw.decode("cp437")
    return name.removeprefix("./")


def _large(extra: bytes, size: int, packed: int, place: int, shown: str) -> tuple[int, int, int]:
    """Sizes and place of a record whose extra field has them, because they exceed 4 GiB."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == _ZIP64:
            field = extra[at + 4 : at + 4 + length]
            numbers = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            try:
                size, packed, place = (
                    next(numbers) if value == _UNKNOWN else value
                    for value in (size, packed, place)
                )
            except (StopIteration, RuntimeError):
                break
            return size, packed, place
        at += 4 + length
    raise _damaged(shown, "a ZIP64 record of its directory is broken")


def _damaged(shown: str, reason: str) -> InputError:
    return InputError(f"{shown}: a damaged zip archive: {reason}: repack it")
