"""Unpack ZIP archives from outside, without trusting any name, size or type in them."""

from __future__ import annotations

import contextlib
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pulmospark.core import limits
from pulmospark.core.errors import InputError

_BLOCK_BYTES = 1024 * 1024
_NAME_BYTES_MAX = 255  # of a file's name, on every common file system
_END_MARK, _ZIP64_MARK = b"PK\x05\x06", b"PK\x06\x07"
_END = struct.Struct("<12xI4x2x")
"""the size of the directory, in its end record"""
_END_BYTES_MAX = _END.size + (1 << 16)
"""with the longest comment"""
_DIRECTORY_BYTES_PER_FILE = 1024
"""a record of 46 bytes, a name, extra fields of some tens"""
_PACKED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


@dataclass(frozen=True)
class Unpacked:
    """Counts of an unpacked archive."""

    files: int
    size_bytes: int
    links: int
    """symbolic links and other special entries; skipped"""


def unpack(archive: Path, folder: Path, *, inside_one_folder: bool = False) -> Unpacked:
    """Unpack a ZIP archive into an existing empty folder.

    Args:
        archive: the file.
        folder: target; nothing is written elsewhere.
        inside_one_folder: strip the folder around all entries, as in GitHub's archives.

    Raises:
        InputError: it is not a ZIP, is damaged or encrypted, contains a path outside the folder
            or one twice, or is larger than the limits of ``core.limits`` (``ARCHIVE_...``).
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            return _unpack(opened, archive, folder, strip=int(inside_one_folder))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(f"{archive}: not a valid ZIP archive: {error}") from error


class Entries:
    """The files of a ZIP archive, one after the other, in memory.

    Args:
        file: the archive.
        name: of the archive, for messages.
        files_max: files that it may have.
        bytes_max: bytes that it may unpack to.

    Raises:
        InputError: it is not a ZIP, is damaged, or has more files; :meth:`read_next` raises it
            for a damaged, encrypted or oversized entry.
    """

    def __init__(self, file: BinaryIO, name: str, *, files_max: int, bytes_max: int) -> None:
        self._name = Path(name)
        self._room = bytes_max
        _check_directory(file, self._name, files_max)
        with _zip_errors(self._name):
            self._zip = zipfile.ZipFile(file)
        files = [entry for entry in self._zip.infolist() if not entry.is_dir()]
        if len(files) > files_max:
            raise InputError(f"{name}: {len(files)} files, over the limit of {files_max}")
        self._left = iter(files)

    def read_next(self) -> tuple[str, bytes] | None:
        """Name and content of the next file; ``None``: it was the last."""
        entry = next(self._left, None)
        if entry is None:
            return None
        _check(entry, self._name)
        if entry.file_size > self._room:
            raise InputError(f"{self._name}: unpacks to more bytes than the request may have")
        with _zip_errors(self._name):
            content = b"".join(_blocks(self._zip, entry, self._name))
        self._room -= len(content)
        return entry.filename, content


@contextlib.contextmanager
def _zip_errors(archive: Path) -> Iterator[None]:
    try:
        yield
    # RuntimeError: encrypted in a way that the flags do not say; ValueError: an impossible place.
    except (
        zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
        struct.error, OSError,
    ) as error:  # fmt: skip
        raise InputError(f"{archive}: not a valid ZIP archive: {error}") from error


def _check_directory(file: BinaryIO, archive: Path, files_max: int) -> None:
    """Refuse a directory that would unfold to gigabytes of Python objects when it is read.

    ``zipfile`` reads all of it, whatever count the archive states. ZIP64, which has the sizes
    elsewhere, is for archives over 4 GiB.
    """
    size = file.seek(0, io.SEEK_END)
    tail_size = min(size, _END_BYTES_MAX)
    file.seek(size - tail_size)
    tail = file.read(tail_size)
    file.seek(0)
    place = tail.rfind(_END_MARK)
    if place < 0 or place + _END.size > len(tail):
        raise InputError(f"{archive}: not a valid ZIP archive: its directory is missing")
    if _ZIP64_MARK in tail[:place]:
        raise InputError(f"{archive}: a ZIP64 archive: pack the images as several smaller ones")
    (directory,) = _END.unpack_from(tail, place)
    if directory > files_max * _DIRECTORY_BYTES_PER_FILE:
        raise InputError(
            f"{archive}: a directory of {directory} bytes, over the limit of "
            f"{files_max * _DIRECTORY_BYTES_PER_FILE} for {files_max} files"
        )


def _unpack(opened: zipfile.ZipFile, archive: Path, folder: Path, *, strip: int) -> Unpacked:
    entries = opened.infolist()
    if len(entries) > limits.ARCHIVE_FILES_MAX:
        raise InputError(
            f"{archive}: {len(entries)} entries, over the limit of {limits.ARCHIVE_FILES_MAX}"
        )
    written = files = links = 0
    for entry in entries:
        parts = _parts(entry.filename, archive)[strip:]
        if not parts:
            continue
        if not entry.is_dir() and not _is_file(entry):
            links += 1
            continue
        place = folder.joinpath(*parts)
        if entry.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        _check(entry, archive)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with place.open("xb") as file:
                for block in _blocks(opened, entry, archive):
                    written += len(block)
                    if written > limits.ARCHIVE_UNPACKED_BYTES_MAX:
                        raise InputError(
                            f"{archive}: unpacks to over {limits.ARCHIVE_UNPACKED_BYTES_MAX} bytes"
                        )
                    file.write(block)
        except FileExistsError as error:
            raise InputError(f"{archive}: contains {entry.filename[:200]!r} twice") from error
        files += 1
    return Unpacked(files, written, links)


def _parts(name: str, archive: Path) -> list[str]:
    """An entry's folders and name.

    Raises:
        InputError: they could lead outside the folder.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    bad = (
        name.startswith("/")
        or ".." in parts
        or any(odd in name for odd in ("\\", "\0", ":"))
        or len(parts) > limits.FOLDER_DEPTH_MAX
        or any(len(part.encode("utf-8", "surrogatepass")) > _NAME_BYTES_MAX for part in parts)
    )
    if bad:
        raise InputError(
            f"{archive}: contains the path {name[:200]!a}, which is not inside it: not unpacked"
        )
    return parts


def _is_file(entry: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    return kind in (0, stat.S_IFREG)


def _check(entry: zipfile.ZipInfo, archive: Path) -> None:
    if entry.flag_bits & 0x1:
        raise InputError(f"{archive}: {entry.filename[:200]!r} is password-protected")
    if entry.compress_type not in _PACKED:
        raise InputError(
            f"{archive}: {entry.filename[:200]!r} uses an unsupported compression method"
        )
    if _is_bomb(entry.file_size, entry):
        raise InputError(
            f"{archive}: {entry.filename[:200]!r} unpacks to {entry.file_size} bytes from "
            f"{entry.compress_size}, over a ratio of {limits.ARCHIVE_RATIO_MAX}: not unpacked"
        )


def _is_bomb(size: int, entry: zipfile.ZipInfo) -> bool:
    big = size > limits.ARCHIVE_RATIO_BYTES
    return big and size > limits.ARCHIVE_RATIO_MAX * max(entry.compress_size, 1)


def _blocks(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, archive: Path) -> Iterator[bytes]:
    """Content of an entry, no longer than its declared size."""
    done = 0
    with opened.open(entry) as file:
        while block := file.read(_BLOCK_BYTES):
            done += len(block)
            if done > entry.file_size:
                raise InputError(
                    f"{archive}: {entry.filename[:200]!r} is larger than its declared size"
                )
            yield block
