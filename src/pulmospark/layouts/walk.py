"""List the files of a folder once, in a stable order, with bounded memory."""

from __future__ import annotations

import errno
import os
import platform
import stat
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

from pulmospark.core import limits
from pulmospark.core.errors import InputError, SourceUnavailableError
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.sniff import sniff
from pulmospark.layouts.archived import (
    archived_begin,
    archived_file,
    glance_archive,
    is_archived,
    walk_archive,
)
from pulmospark.layouts.names import FoundFile, Glance, is_hidden, is_image_name, may_hold_image
from pulmospark.layouts.notes import ListingNotes, NoteKind, printable

__all__ = [
    "FoundFile",
    "Glance",
    "absolute",
    "check_fault",
    "content_is_image",
    "files_like",
    "find_file",
    "folders_like",
    "glance",
    "holds_image",
    "is_hidden",
    "is_image",
    "is_image_name",
    "may_hold_image",
    "name_of_folder",
    "retried",
    "walk",
]

_UNNAMED_LOOKED_AT = 5

Wanted = Callable[[tuple[str, ...]], bool]
T = TypeVar("T")

_OF_THE_FILE = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EACCES,
        errno.EPERM,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        None,
    }
)
"""errors of a file or folder itself; all others are the machine's"""


def absolute(path: Path) -> Path:
    """``path`` as an absolute path; links stay, because the cluster knows files by them."""
    path = path.expanduser().absolute()
    return path.resolve() if ".." in path.parts else path


def content_is_image(path: str) -> bool:
    """Whether a file begins like an image, or cannot be read, which must not be ignored."""
    if is_archived(path):
        begin = archived_begin(path)
        return begin is None or sniff(begin) is not None
    try:
        # Opening a pipe would block; the listing notes that it is one.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.path.islink(path)  # noqa: PTH114
    except OSError:
        return True
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return True
        return sniff(os.read(handle, limits.SNIFF_BYTES)) is not None
    except OSError:
        return True
    finally:
        os.close(handle)


def name_of_folder(folder: Path) -> str:
    """The name of a folder, or of a sheet or an archive without its ending."""
    archive = folder.name.removesuffix("!")
    return Path(archive).stem if archive != folder.name or folder.is_file() else archive


def is_image(path: str, name: str) -> bool:
    """Whether a file is an image by its name, or by its content if the name is uninformative."""
    return is_image_name(name) or (may_hold_image(name) and content_is_image(path))


def walk(root: Path, notes: ListingNotes, wanted: Wanted | None = None) -> Iterator[FoundFile]:
    """Files below ``root``: each folder's sorted by name, then those of its subfolders.

    Each folder is listed once. Memory holds the names of one folder and the pending folders. A
    link to a regular file is followed, a link to a folder is not. The files of an archive come in
    its own order.

    Args:
        root: an absolute folder, or one in an archive (``/data/set.zip!/train``).
        notes: collects what is skipped, and why.
        wanted: whether a file is listed, by its parts below ``root``; by default
            :func:`is_image`.

    Raises:
        InputError: ``root`` cannot be listed, or a folder lies deeper than
            ``limits.FOLDER_DEPTH_MAX``.
    """
    if is_archived(str(root)):
        yield from walk_archive(str(root), notes, wanted or _by_address(str(root)))
        return
    waiting: list[tuple[str, ...]] = [()]
    base = str(root).rstrip("/")
    while waiting:
        place = waiting.pop()
        if len(place) > limits.FOLDER_DEPTH_MAX:
            raise InputError(
                f"{printable('/'.join((base, *place)))}: {len(place)} levels below the source's "
                f"folder, the maximum is {limits.FOLDER_DEPTH_MAX}: give the folder itself as a "
                "source"
            )
        where = "/".join((base, *place)) or "/"
        names, folders = _entries(where, notes, is_root=not place)
        for name in names:
            parts = (*place, name)
            path = "/".join((base, *parts))
            if not (wanted(parts) if wanted is not None else is_image(path, name)):
                notes.ignore(name)
            elif (file := _found(path, parts, notes)) is not None:
                yield file
        waiting.extend((*place, name) for name in reversed(folders))


def _by_address(root: str) -> Wanted:
    return lambda parts: is_image("/".join((root, *parts)), parts[-1])


def find_file(path: Path, parts: tuple[str, ...], notes: ListingNotes) -> FoundFile | None:
    """One file by its path, under the same rules as ``walk``; ``None`` if it is skipped."""
    if is_archived(str(path)):
        return archived_file(str(path), parts)
    return _found(str(path), parts, notes)


def _entries(where: str, notes: ListingNotes, *, is_root: bool) -> tuple[list[str], list[str]]:
    """Names of a folder's files and links, and of its folders, sorted."""
    names: list[str] = []
    folders: list[str] = []
    try:
        with retried(lambda: os.scandir(where)) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    notes.add(NoteKind.HIDDEN_ENTRIES, entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                else:
                    names.append(entry.name)
    except OSError as error:
        if is_root:
            raise InputError(
                f"{printable(where)}: cannot be listed: {error.strerror}: give a readable folder"
            ) from error
        check_fault(where, error)
        notes.add(NoteKind.UNREADABLE_FOLDERS, where)
    names.sort()
    folders.sort()
    return names, folders


def _found(path: str, parts: tuple[str, ...], notes: ListingNotes) -> FoundFile | None:
    try:
        facts = retried(lambda: os.stat(path))  # noqa: PTH116 - often, without a Path each
    except OSError as error:
        if os.path.islink(path):  # noqa: PTH114
            notes.add(NoteKind.SYMLINKS_LEFT_OUT, path)
            return None
        check_fault(path, error)
        gone = isinstance(error, FileNotFoundError)
        reason = RejectReason.VANISHED if gone else RejectReason.UNREADABLE
        return FoundFile(printable(path), parts, 0, 0, _name_problem(path) or reason)
    if not stat.S_ISREG(facts.st_mode):
        is_link = os.path.islink(path)  # noqa: PTH114
        notes.add(NoteKind.SYMLINKS_LEFT_OUT if is_link else NoteKind.SPECIAL_FILES, path)
        return None
    problem = _name_problem(path)
    if problem is not None:
        notes.add(NoteKind.BAD_NAMES, path)
    return FoundFile(printable(path), parts, facts.st_size, facts.st_mtime_ns, problem)


def _name_problem(path: str) -> str | None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return RejectReason.BAD_NAME
    return None


def glance(folder: Path) -> Glance:
    """The first ``limits.LAYOUT_ENTRIES_MAX`` entries of a folder; empty if it has none.

    For recognition only: the file system decides which are first. A listing uses
    :func:`files_like` or a path.
    """
    if is_archived(str(folder)):
        return glance_archive(str(folder))
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, limits.LAYOUT_ENTRIES_MAX):
                if not is_hidden(entry.name):
                    is_folder = entry.is_dir(follow_symlinks=False)
                    (folders if is_folder else files).append(entry.name)
    except OSError:
        return Glance((), ())
    return Glance(tuple(sorted(folders)), tuple(sorted(files)))


def retried(action: Callable[[], T]) -> T:
    """The result of ``action``, retried if the machine fails.

    Raises:
        OSError: it failed ``limits.READ_TRIES`` times, or the error concerns the file itself.
    """
    for number in range(limits.READ_TRIES - 1):
        try:
            return action()
        except OSError as error:
            if error.errno in _OF_THE_FILE:
                raise
        time.sleep(limits.READ_PAUSE_S * 4**number)
    return action()


def check_fault(path: str, error: OSError) -> None:
    """Raise for machine faults while listing, as opposed to errors of a folder or file.

    A folder that this user may not read is noted and excluded: many disks have one, such as
    ``lost+found`` at the root of an ext4 mount. A failing store would hide images that exist.

    Raises:
        SourceUnavailableError: the machine, its mount or its store failed.
    """
    if error.errno not in _OF_THE_FILE:
        raise SourceUnavailableError(
            f"{platform.node()}: {printable(path)}: cannot be listed: {error.strerror}; check "
            "that machine's mount of the images and its system log, and rerun the command"
        ) from error


def files_like(folder: Path, wanted: Callable[[str], object]) -> tuple[str, ...]:
    """Sorted names of a folder's files that ``wanted`` accepts; empty if there are none.

    Checks all entries, because a data set's sheet may lie among 100,000 images, but keeps only the
    matches: some 0.1 s for as many.
    """
    return tuple(sorted(_names_like(folder, wanted, folders=False)))


def folders_like(folder: Path, wanted: Callable[[str], object]) -> tuple[str, ...]:
    """As :func:`files_like`, of the folders of a folder."""
    return tuple(sorted(_names_like(folder, wanted, folders=True)))


def _names_like(folder: Path, wanted: Callable[[str], object], *, folders: bool) -> Iterator[str]:
    if is_archived(str(folder)):
        seen = glance_archive(str(folder))
        yield from filter(wanted, seen.folders if folders else seen.files)
        return
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                is_wanted = not is_hidden(entry.name) and wanted(entry.name)
                if is_wanted and entry.is_dir(follow_symlinks=False) == folders:
                    yield entry.name
    except OSError:
        return


def _unnamed(names: tuple[str, ...]) -> list[str]:
    """The first few names that say nothing about the content."""
    return list(islice(filter(may_hold_image, names), _UNNAMED_LOOKED_AT))


def holds_image(folder: Path, depth: int = 3) -> bool:
    """Whether an image is among a folder's first entries, or in its first folders."""
    seen = glance(folder)
    if any(is_image_name(name) for name in seen.files):
        return True
    if any(content_is_image(str(folder / name)) for name in _unnamed(seen.files)):
        return True
    return depth > 0 and any(holds_image(folder / name, depth - 1) for name in seen.folders[:3])
