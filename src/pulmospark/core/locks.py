"""File locks that end with their process, however it ends: one writer per folder at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pulmospark.core.errors import PlatformError, UsageError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL}
_OWNER_BYTES_MAX = 300


@contextlib.contextmanager
def hold_lock(
    path: Path, folder: object, *, writer: str, needed: bool = True, again: bool = False
) -> Iterator[None]:
    """Hold a file's lock (``flock``); the file names its owner: process, host and thread.

    Args:
        path: the lock file, created if missing; its folder exists.
        folder: what is locked, a path or an address, for the message.
        writer: what may be writing there, "run" or "stream".
        needed: refuse a file system without locks; else continue without.
        again: the same thread may hold it repeatedly, as a stage within a run does.

    Raises:
        UsageError: another process, or another thread of this one, holds it.
        PlatformError: the file system or operating system has no such locks, or the lock
            file is not writable.
    """
    try:
        import fcntl  # noqa: PLC0415 - POSIX only
    except ImportError as error:
        if needed:
            raise PlatformError(f"a {writer} needs POSIX file locks: run it on Linux") from error
        yield
        return
    try:
        file = path.open("a+", encoding="utf-8")
    except PermissionError as error:
        raise PlatformError(
            f"{folder}: no permission to write there: choose another folder with --out"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = _owner(path)
            if not (again and owner == _myself()):
                raise UsageError(
                    f"{folder}: another {writer} is writing there{_described(owner)}: wait for it "
                    "or stop it, or choose another --out"
                ) from error
        except OSError as error:
            if needed or error.errno not in _NO_LOCKS:
                raise PlatformError(
                    f"{folder}: its file system has no file locks ({error.strerror}): choose one "
                    "that does with --out"
                ) from error
        else:
            file.truncate(0)
            file.write(_myself())
            file.flush()
        yield


def wait_for_lock(file: IO[bytes]) -> None:
    """Wait for an open file's lock (``flock``); does nothing where there are no locks.

    Raises:
        OSError: the lock failed for another reason.
    """
    try:
        import fcntl  # noqa: PLC0415 - POSIX only

        fcntl.flock(file, fcntl.LOCK_EX)
    except ImportError:
        return
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def free_to_remove(folder: Path) -> bool:
    """Whether nobody holds a folder's own lock, so that its leftovers may be removed."""
    lock = own_folder(folder)
    if lock is None:
        return False
    os.close(lock)
    return True


def own_folder(folder: Path) -> int | None:
    """Lock a folder itself; returns the descriptor that holds the lock until it is closed.

    Returns:
        ``None``: another process holds it, the folder is gone, or folders can't be locked there
        (NFS).
    """
    try:
        import fcntl  # noqa: PLC0415 - POSIX only
    except ImportError:
        return None
    descriptor = -1
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Not one that was removed, or moved away, between the two.
        if os.fstat(descriptor).st_ino == folder.stat().st_ino:
            return descriptor
    except OSError:
        pass
    if descriptor >= 0:
        os.close(descriptor)
    return None


def _myself() -> str:
    return f"{os.getpid()} {socket.gethostname()} {threading.get_ident()}"


def _owner(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_OWNER_BYTES_MAX)
    except OSError:
        return ""


def _described(owner: str) -> str:
    process, _, rest = owner.partition(" ")
    host = rest.rpartition(" ")[0]
    return f" (process {process} on {host})" if process.isdecimal() and host else ""
