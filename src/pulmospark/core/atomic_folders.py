"""Folders that appear atomically, and leftovers of killed processes."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from pulmospark.core.locks import free_to_remove, own_folder

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{32}\.(?P<kind>part|old)")
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_LOCK_TRIES = 3
"""a folder may be swept between its creation and its locking, hardly three times in a row"""
_NO_EXCHANGE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM}


@contextlib.contextmanager
def folder_aside(target: Path) -> Iterator[Path]:
    """A new, locked folder next to ``target`` that replaces it at the end.

    First removes what killed processes left there. If the system can exchange two names (Linux),
    ``target`` always exists; elsewhere a process killed between two renames leaves the older
    folder aside, and the next call puts it back.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    aside, lock = _new_folder(target)
    try:
        yield aside
        _put_in_place(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def sweep(target: Path) -> None:
    """Remove leftovers of killed processes for ``target``, but never another writer's work.

    A writer holds the lock of its own folder until it is in place.
    """
    for path in sorted(target.parent.glob(f".{_escaped(target.name)}.*")):
        match = _LEFTOVER.fullmatch(path.name)
        if match is None or match["name"] != target.name or not path.is_dir():
            continue
        if match["kind"] == "old" and not target.exists():
            path.rename(target)
        elif free_to_remove(path):
            shutil.rmtree(path, ignore_errors=True)


def sweep_inside(folder: Path) -> None:
    """Remove leftovers of folders and files in a folder; for whoever holds the folder's lock."""
    for path in folder.glob(".*"):
        match = _LEFTOVER.fullmatch(path.name)
        if match is None:
            continue
        if path.is_dir():
            sweep(folder / match["name"])
        else:
            path.unlink(missing_ok=True)


def _new_folder(target: Path) -> tuple[Path, int | None]:
    """A new folder and its lock; ``None`` where folders can't be locked, and nobody sweeps."""
    for _ in range(_LOCK_TRIES):
        aside = _named_aside(target)
        aside.mkdir()
        lock = own_folder(aside)
        if lock is not None:
            return aside, lock
        shutil.rmtree(aside, ignore_errors=True)  # another process may be about to sweep it
    aside = _named_aside(target)
    aside.mkdir()
    return aside, None


def _named_aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")


def _put_in_place(aside: Path, target: Path) -> None:
    if not target.exists():
        aside.rename(target)
    elif not exchange(aside, target):
        old = target.with_name(f".{target.name}.{uuid.uuid4().hex}.old")
        target.rename(old)
        try:
            aside.rename(target)
        except BaseException:
            old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)


def exchange(one: Path, other: Path) -> bool:
    """Atomically exchange two names (``renameat2``, Linux 3.15); ``False``: not possible here.

    Raises:
        OSError: it is possible, but failed.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    if call(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
