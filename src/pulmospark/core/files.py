"""Atomic writing of files and folders."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pulmospark.core import limits
from pulmospark.core.atomic_folders import folder_aside
from pulmospark.core.errors import InputError, PlatformError
from pulmospark.core.locations import check_local
from pulmospark.core.safe_text import shown_json

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_LINKS = {
    # Not supported, another file system, too many links to one file, or a mount that refuses.
    errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK,
    errno.EACCES, errno.EINVAL,
}  # fmt: skip


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder next to ``target``, which atomically replaces it at the end.

    After an error ``target`` is untouched and the temporary folder is gone. After a kill the old
    or the new version is there, and the next call removes leftovers: see
    :func:`pulmospark.core.atomic_folders.folder_aside`.

    Raises:
        PlatformError: no space, or no permission to write there.
    """
    with disk_errors(target), folder_aside(check_local(target)) as aside:
        yield aside


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it if that is not possible.

    Raises:
        OSError: the copy failed, or the disk is full.
    """
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(source, target)


def allocate(path: Path) -> None:
    """Allocate disk space for the full size of a file.

    A memory-mapped file is sparse until it is written, and a process that writes to it when the
    disk is full is killed by SIGBUS.

    Raises:
        PlatformError: no space.
    """
    with disk_errors(path), path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Give the path of a file next to ``target``, which becomes ``target`` at the end.

    After an error ``target`` is untouched and the half-written file is gone. Its folder exists.
    """
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        yield aside
        os.replace(aside, target)  # noqa: PTH105 - the atomic one, also over a file
    finally:
        aside.unlink(missing_ok=True)


def write_bytes(target: Path, data: bytes) -> None:
    """Write a small file atomically; its folder exists."""
    with whole_file(target) as aside:
        aside.write_bytes(data)


def write_text(target: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically; its folder is made where it is missing.

    Raises:
        PlatformError: no space, or no permission to write there.
    """
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, text.encode())


def write_json(target: Path, value: Any) -> None:
    """Write a JSON value atomically, indented."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(target, shown_json(text) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file, up to a maximum size.

    Raises:
        InputError: it is missing, too large or not JSON.
    """
    try:
        if (size := path.stat().st_size) > limits.CONFIG_FILE_BYTES_MAX:
            raise InputError(
                f"{path}: {size} bytes, over the limit of {limits.CONFIG_FILE_BYTES_MAX}"
            )
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_not_finite)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}") from error


def _not_finite(text: str) -> Any:
    raise ValueError(f"{text} is not a number")


@contextlib.contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder into a one-line error with its remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            free = _free_bytes(target)
            raise PlatformError(
                f"{target}: the disk is full ({free} bytes free): make room, or write elsewhere "
                "with --out"
            ) from error
        if isinstance(error, PermissionError) or error.errno == errno.EROFS:
            raise PlatformError(
                f"{target}: no permission to write there: choose another folder with --out"
            ) from error
        if isinstance(error, (NotADirectoryError, FileExistsError)):
            raise PlatformError(
                f"{target}: is a file, but must be a folder: choose another with --out"
            ) from error
        raise


def _free_bytes(path: Path) -> int:
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def forget_oldest(folder: Path, kept: int) -> None:
    """Remove the folders of a cache but for those used last; hidden ones are being written.

    Args:
        folder: of the cache.
        kept: how many stay.
    """
    entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    entries.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in entries[kept:]:
        shutil.rmtree(path, ignore_errors=True)
