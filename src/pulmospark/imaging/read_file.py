"""A listed file's bytes: what is the file's own fault, and what is the machine's.

A file is rejected for what it is: gone from a folder that is there, no regular file, too large,
or closed to this user in a folder that is open. All else that an operating system reports
(a folder that is missing or empty, EIO, ESTALE, ENOTCONN, ETIMEDOUT, EMFILE, ENOMEM, ...) is the
machine's, its mount's or its store's: it is tried again a few times, and then raised. An object
of a store is rejected if the store says that it is gone, or if it is too large.
"""

from __future__ import annotations

import errno
import os
import platform
import stat
import time
from collections.abc import Iterable, Iterator

from pulmospark.core import limits
from pulmospark.core.errors import InputError, SourceUnavailableError
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.rejection import Rejected, rejected
from pulmospark.store.archives import EntryError, outermost, parts_of_address, read_entry
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.prefetch import prefetched
from pulmospark.store.store import open_store
from pulmospark.store.uri import is_store_uri, parse_uri

_OWN_FAULT = frozenset({errno.ELOOP, errno.ENAMETOOLONG})
"""what only the file's own name or link can cause"""
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})


def read_bytes(path: str, inbox: str | None = None) -> bytes | Rejected:
    """Read a regular file, or an object, of at most ``limits.FILE_BYTES_MAX`` bytes.

    Args:
        path: absolute, or an address such as ``s3://bucket/key`` or ``/data/set.zip!/a.png``.
        inbox: folder whose files may be taken away at any time, with the folders they lie in:
            as long as it is there itself, a file that is gone was taken away. ``None``: an
            archive, whose folders stay.

    Returns:
        The bytes, or why the file is rejected.

    Raises:
        SourceUnavailableError: the machine failed, ``limits.READ_TRIES`` times.
    """
    if is_store_uri(path):
        return next(read_objects([(path, 0)]))
    for tries_left in reversed(range(limits.READ_TRIES)):
        try:
            return _read(path)
        except ValueError as error:  # a NUL in its name
            return rejected(RejectReason.UNREADABLE, str(error))
        except (OSError, MemoryError) as error:
            reject = _own_fault(outermost(path), error, inbox)
            if reject is not None:
                return reject
            if not tries_left:
                raise _unavailable(outermost(path), error) from error
        time.sleep(limits.READ_PAUSE_S * 4 ** (limits.READ_TRIES - 1 - tries_left))
    raise AssertionError("unreachable: the last try returns or raises")


def _read(path: str) -> bytes | Rejected:
    if (parts := parts_of_address(path)) is not None:
        return _entry(*parts)
    # Without O_NONBLOCK the opening of a named pipe would wait for a writer for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            return rejected(RejectReason.UNREADABLE, "not a regular file")
        if facts.st_size > limits.FILE_BYTES_MAX:
            return too_many(facts.st_size)
        # A byte more than there is to be: to ask for as much as is allowed would set that
        # much memory aside for each file, at a twentieth of the time of a whole image.
        data = file.read(facts.st_size + 1)
        if len(data) > facts.st_size:  # it grew
            data += file.read(limits.FILE_BYTES_MAX + 1 - len(data))
    return data if len(data) <= limits.FILE_BYTES_MAX else too_many(len(data))


def read_objects(listed: Iterable[tuple[str, int]]) -> Iterator[bytes | Rejected]:
    """Read objects of stores, in order, several at once.

    Args:
        listed: addresses, with the bytes that each has according to its listing.

    Raises:
        SourceUnavailableError: a store failed, ``limits.STORE_RETRIES`` times.
    """
    for data in prefetched(_object, listed):
        if isinstance(data, ObjectMissingError):
            yield rejected(RejectReason.VANISHED, "listed, and gone when it was read")
        elif isinstance(data, Rejected):
            yield data
        elif len(data) > limits.FILE_BYTES_MAX:
            yield too_many(len(data))
        else:
            yield data


def _object(address: str) -> bytes | Rejected:
    if (parts := parts_of_address(address)) is not None:
        return _entry(*parts)
    uri = parse_uri(address, error=InputError)
    return open_store(uri).get(uri.key, limits.FILE_BYTES_MAX + 1)


def _entry(archive: str, name: str) -> bytes | Rejected:
    try:
        return read_entry(archive, name)
    except EntryError as error:
        return rejected(error.reason, error.detail)


def too_many(size: int) -> Rejected:
    """The reason why a file of more than ``limits.FILE_BYTES_MAX`` bytes is none."""
    return rejected(RejectReason.TOO_MANY_BYTES, f"{size} bytes, over {limits.FILE_BYTES_MAX}")


def _own_fault(path: str, error: Exception, inbox: str | None) -> Rejected | None:
    """Why the file itself is to be rejected; ``None``: the machine is to blame."""
    number = (error.errno or errno.EIO) if isinstance(error, OSError) else errno.ENOMEM
    if number in _GONE:
        return _if_gone(path, inbox)
    if number in _OWN_FAULT:
        return rejected(RejectReason.UNREADABLE, os.strerror(number))
    try:
        facts = os.stat(path)  # noqa: PTH116
    except OSError:
        return None  # EACCES here: the folder is closed, not the file
    if not stat.S_ISREG(facts.st_mode):
        return rejected(RejectReason.UNREADABLE, "not a regular file")
    # A link to one of /proc's files, which have no size, may give any error; no image is lost.
    if number in {errno.EACCES, errno.EPERM} or not facts.st_size:
        return rejected(RejectReason.UNREADABLE, os.strerror(number))
    return None


def _if_gone(path: str, inbox: str | None) -> Rejected | None:
    if os.path.lexists(path):  # a link, then, or it has come back
        return rejected(RejectReason.UNREADABLE, "a dangling link") if _is_dangling(path) else None
    folder = os.path.dirname(path)  # noqa: PTH120 - a listed path is text
    if inbox is None:
        is_there = _holds_files(folder) or os.path.isfile(folder)  # noqa: PTH113
    else:
        is_there = os.path.isdir(inbox)  # noqa: PTH112
    if is_there:
        return rejected(RejectReason.VANISHED, "listed, and gone when it was read")
    return None


def _is_dangling(path: str) -> bool:
    """Whether a link is there and what it names is not; a target may lie on a lost mount."""
    target = os.path.realpath(path)
    return os.path.islink(path) and _holds_files(os.path.dirname(target))  # noqa: PTH114, PTH120


def _holds_files(folder: str) -> bool:
    """Whether a folder is there and not empty, as the folder below a lost mount is."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def _unavailable(path: str, error: Exception) -> SourceUnavailableError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    number = getattr(error, "errno", None)
    if number in _GONE:
        folder = os.path.dirname(path)  # noqa: PTH120
        state = "is empty" if os.path.isdir(folder) else "is not there"  # noqa: PTH112
        reason = f"its folder {state}"
    name = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return SourceUnavailableError(
        f"{platform.node()}: cannot read {name}: {reason}; check that machine's mount of the "
        "images and its system log, and rerun the command"
    )
