"""Files inside zip and tar archives, read by offset: nothing is unpacked.

The address of a file is that of its archive, ``!/`` and the name that the archive gives it:
``/data/set.zip!/COVID/a.png``, ``s3://hospital/set.zip!/COVID/a.png``. The name is text, looked up
in the archive's directory, and never a path.
"""

from __future__ import annotations

import os
import re
import tarfile
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np

from pulmospark.core import archive_limits, limits
from pulmospark.core.arrays import Hashes
from pulmospark.core.errors import InputError, SourceUnavailableError
from pulmospark.core.schemas import RejectReason
from pulmospark.store.archive_bytes import ArchiveBytes, Headers, archive_bytes
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.uri import is_store_uri
from pulmospark.store.zip_directory import (
    DEFLATED,
    ENCRYPTED,
    LOCAL,
    LOCAL_MARK,
    SPECIAL,
    STORED,
    Entry,
    name_of,
    zip_entries,
)

ENDS = (".zip", ".tar")
"""of the names of archives, in any case"""
_PACKED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
_ADDRESS = re.compile(r"(.*?\.(?:zip|tar))!(?:/(.*))?", re.IGNORECASE | re.DOTALL)
_SLACK = 512
"""bytes read beyond the header that the directory describes: that of the file may be longer"""


class EntryError(Exception):
    """A file in an archive cannot be read, for its own sake.

    Attributes:
        reason: of the reject.
        detail: one line.
    """

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def is_archive(name: str) -> bool:
    """Whether a name is that of an archive whose files can be read by offset.

    Raises:
        InputError: it is that of a packed tar, in which no file can be read without those
            before it.
    """
    lower = name.lower()
    if lower.endswith(_PACKED_TARS):
        raise InputError(
            f"{name}: a packed tar can only be read from its begin: unpack it, or repack it as "
            ".zip or .tar"
        )
    return lower.endswith(ENDS)


def archive_folder(archive: str) -> str:
    """The address of all files of an archive, to which ``/`` and a name are appended."""
    return f"{archive}!"


class ArchivePath(type(Path())):  # type: ignore[misc]
    """The folder of an archive in a store, or one in it, for code that takes folders as paths.

    A path would make one slash of the two after the scheme. ``str`` of it is the address; for the
    file system there is no such folder.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return re.sub(r"^([a-z0-9]+:)/+", r"\1//", super().__str__())

    def absolute(self) -> ArchivePath:
        """Itself."""
        return self

    def resolve(self, strict: bool = False) -> ArchivePath:
        """Itself: there are no links."""
        del strict
        return self


def parts_of_address(address: str) -> tuple[str, str] | None:
    """The archive of an address, and the name in it; ``None``: it is in no archive.

    Example:
        >>> parts_of_address("/data/set.zip!/COVID/a.png")
        ('/data/set.zip', 'COVID/a.png')
    """
    match = _ADDRESS.fullmatch(address) if "!" in address else None
    return (match[1], match[2] or "") if match else None


def outermost(address: str) -> str:
    """The file or object that has to be there to read an address: the archive, or itself."""
    parts = parts_of_address(address)
    return parts[0] if parts else address


@dataclass(frozen=True, eq=False)
class Directory:
    """Where the files of an archive lie, 48 bytes for each, in the order of hashes of their names.

    Attributes:
        source: bytes of the archive.
        is_tar: whether it is a tar.
        repeated: names that occur again: the last file counts, as it does where one unpacks.
    """

    source: ArchiveBytes
    is_tar: bool
    repeated: int
    _hashes: Hashes
    _facts: np.ndarray[tuple[int, int], np.dtype[np.int64]]
    """(n, 5): place, packed, size, CRC, method"""

    def find(self, name: str) -> Entry | None:
        """The file of a name."""
        wanted = np.uint64(_hash(name))
        at = int(np.searchsorted(self._hashes, wanted))
        if at == len(self._hashes) or self._hashes[at] != wanted:
            return None
        return Entry(name, *map(int, self._facts[at]))


def directory_of(archive: str) -> Directory:
    """The directory of an archive as it is now, kept while it stays so.

    Raises:
        InputError: it is no archive, is damaged, or larger than the limits.
        ObjectMissingError: there is no such object.
        OSError: there is no such file, or the machine fails.
        SourceUnavailableError: the store fails.
    """
    if not is_store_uri(archive):
        return _directory(archive, archive_bytes(archive))
    return _stored(archive, os.getpid())


@lru_cache(maxsize=archive_limits.ARCHIVES_OPEN_MAX)
def _stored(archive: str, _process: int) -> Directory:
    """Of an object, which is asked for once: each look would be a request for each file."""
    return _directory(archive, archive_bytes(archive))


@lru_cache(maxsize=archive_limits.ARCHIVES_OPEN_MAX)
def _directory(archive: str, source: ArchiveBytes) -> Directory:
    hashes, facts = array("Q"), array("q")
    for entry in _entries(archive, source):
        hashes.append(_hash(entry.name))
        facts.extend(entry[1:])
    hashed = np.frombuffer(hashes, np.uint64)
    # Stable and reversed: of one name's files the last comes first.
    order = np.argsort(hashed[::-1], kind="stable")
    hashed = hashed[::-1][order]
    table = np.frombuffer(facts, np.int64).reshape(-1, 5)[::-1][order]
    first = np.ones(len(hashed), bool)
    first[1:] = hashed[1:] != hashed[:-1]
    is_tar = archive.lower().endswith(".tar")
    return Directory(source, is_tar, int((~first).sum()), hashed[first], table[first])


def entries_of(archive: str) -> Iterator[Entry]:
    """The files of an archive in its order, links among them; of a name that repeats, the last.

    Raises:
        InputError: as :func:`directory_of`, as the other errors.
    """
    _stored.cache_clear()
    directory = directory_of(archive)
    for entry in _entries(archive, directory.source):
        kept = directory.find(entry.name)
        if kept is not None and kept.place == entry.place:
            yield entry


def read_entry(archive: str, name: str) -> bytes:
    """The content of a file in an archive, of at most ``limits.FILE_BYTES_MAX`` bytes.

    Raises:
        EntryError: the file cannot be read, for its own sake or its archive's.
        OSError: the machine fails, or the archive is not there.
        SourceUnavailableError: the store fails, or the archive was changed meanwhile.
    """
    return _read(archive, name, None)


def begin_of_entry(archive: str, name: str, length: int) -> bytes:
    """The first bytes of a file in an archive, errors as :func:`read_entry`."""
    return _read(archive, name, length)


def _read(archive: str, name: str, length: int | None) -> bytes:
    try:
        directory = directory_of(archive)
    except ObjectMissingError:
        raise EntryError(RejectReason.VANISHED, "its archive is gone") from None
    except InputError as error:
        raise EntryError(RejectReason.UNREADABLE, error.message) from None
    entry = directory.find(name)
    if entry is None:
        raise EntryError(RejectReason.VANISHED, "not in its archive")
    _check(entry)
    try:
        return _content(directory, entry, length)
    except SourceUnavailableError:
        _stored.cache_clear()  # it may have been changed
        raise


def _content(directory: Directory, entry: Entry, length: int | None) -> bytes:
    packed = entry.packed if length is None else min(entry.packed, length + _SLACK)
    data = _packed(directory, entry, packed)
    if entry.method == DEFLATED:
        return _inflated(data, entry, length)
    if length is None and not directory.is_tar and zlib.crc32(data) != entry.crc:
        raise EntryError(RejectReason.UNREADABLE, "its checksum is wrong: the archive is damaged")
    return data[:length]


def leads_out(name: str) -> bool:
    """Whether a name would be a path outside a folder, were it one."""
    return name.startswith("/") or "\0" in name or ".." in name.replace("\\", "/").split("/")


def _check(entry: Entry) -> None:
    if leads_out(entry.name):
        raise EntryError(RejectReason.BAD_NAME, "its name leads out of its archive")
    if entry.method == ENCRYPTED:
        raise EntryError(RejectReason.UNREADABLE, "protected by a password in its archive")
    if entry.method == SPECIAL:
        raise EntryError(RejectReason.UNREADABLE, "not a regular file of its archive")
    if entry.method not in {STORED, DEFLATED}:
        raise EntryError(
            RejectReason.UNREADABLE,
            f"compression method {entry.method} of its archive: repack it with deflate",
        )
    if entry.size > limits.FILE_BYTES_MAX:
        raise EntryError(
            RejectReason.TOO_MANY_BYTES, f"{entry.size} bytes, over {limits.FILE_BYTES_MAX}"
        )
    most = limits.ARCHIVE_RATIO_MAX * max(entry.packed, 1)
    if entry.size > limits.ARCHIVE_RATIO_BYTES and entry.size > most:
        raise EntryError(
            RejectReason.TOO_MANY_BYTES,
            f"{entry.size} bytes from {entry.packed}, over a ratio of {limits.ARCHIVE_RATIO_MAX}",
        )


def _packed(directory: Directory, entry: Entry, length: int) -> bytes:
    """So many bytes of a file as they lie in the archive."""
    if directory.is_tar:
        data = directory.source.read(entry.place, length)
    else:
        # One request for header and content: each waits for the store.
        head = LOCAL.size + 4 * len(entry.name) + _SLACK
        data = directory.source.read(entry.place, head + length)
        if len(data) < LOCAL.size or not data.startswith(LOCAL_MARK):
            raise EntryError(RejectReason.UNREADABLE, "missing where its archive says it is")
        *_, name_length, extra_length = LOCAL.unpack_from(data)
        flags = int.from_bytes(data[6:8], "little")
        start = LOCAL.size + name_length + extra_length
        # Both are text of an attacker's, who might want one image to pass for another.
        if name_of(data[LOCAL.size : LOCAL.size + name_length], flags) != entry.name:
            raise EntryError(RejectReason.UNREADABLE, "has two names in its archive")
        missing = start + length - len(data)
        if missing > 0:
            data += directory.source.read(entry.place + len(data), missing)
        data = data[start : start + length]
    if len(data) < length:
        raise EntryError(RejectReason.TRUNCATED, "its archive ends before it does")
    return data


def _inflated(data: bytes, entry: Entry, length: int | None) -> bytes:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflate.decompress(data, (entry.size + 1) if length is None else length)
    except zlib.error as error:
        raise EntryError(RejectReason.UNREADABLE, f"damaged in its archive: {error}") from None
    if length is not None:
        return content
    if len(content) != entry.size or zlib.crc32(content) != entry.crc:
        raise EntryError(
            RejectReason.UNREADABLE, "its size or checksum is wrong: the archive is damaged"
        )
    return content


def _entries(archive: str, source: ArchiveBytes) -> Iterator[Entry]:
    if archive.lower().endswith(".tar"):
        return _tar_entries(archive, source)
    return zip_entries(source, archive)


def _tar_entries(archive: str, source: ArchiveBytes) -> Iterator[Entry]:
    if is_store_uri(archive):
        raise InputError(
            f"{archive}: a tar has no directory, so each worker would have to read all of it: "
            "repack it as .zip, or copy it to this machine"
        )
    files = 0
    try:
        with tarfile.open(fileobj=Headers(source), mode="r:") as tar:
            while (member := tar.next()) is not None:
                vars(tar)["members"].clear()  # kept for a later look, a kilobyte each
                files += 1
                if files > limits.ARCHIVE_FILES_MAX:
                    raise InputError(
                        f"{archive}: more than {limits.ARCHIVE_FILES_MAX:,} files: split it"
                    )
                if member.isdir():
                    continue
                is_file = member.isreg() and not member.issparse()
                name = member.name.removeprefix("./").encode("utf-8", "surrogateescape")
                yield Entry(
                    name.decode("utf-8", "backslashreplace"),
                    member.offset_data,
                    member.size,
                    member.size,
                    0,
                    STORED if is_file else SPECIAL,
                )
    except (tarfile.TarError, EOFError, ValueError, IndexError) as error:
        raise InputError(f"{archive}: not a tar archive, or a damaged one: {error}") from None


def _hash(name: str) -> int:
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
