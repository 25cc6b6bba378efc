"""Unpack ZIP archives from outside, without trusting any name, size or type in them."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pulmospark.core import limits
from pulmospark.core.errors import InputError

_BLOCK_BYTES = 1024 * 1024
_NAME_BYTES_MAX = 255  # of a file's name, on every common file system
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
