"""Files of a folder, listed once, in an order that stays the same, with bounded memory."""

from __future__ import annotations

import errno
import os
import platform
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from pulmospark.core import limits
from pulmospark.core.errors import InputError, SourceUnavailableError
from pulmospark.core.tables import RejectReason
from pulmospark.imaging.sniff import sniff
from pulmospark.layouts.notes import ListingNotes, NoteKind, printable

IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".png", ".apng", ".bmp", ".dib",
     ".tif", ".tiff", ".btf", ".webp", ".gif", ".dcm", ".dicom", ".ima"}
)  # fmt: skip
"""A file of one of these, in any case, is seen, whatever its content."""

CONTENT_EXTENSIONS = frozenset({"", ".dic", ".dcm30", ".img"})
"""A file of one of these, or of a number for one, is seen where its content is an image's:
scanners, archives and ``storescp`` leave DICOM files under such names."""

ARCHIVE_LITTER = "__MACOSX"

_UNNAMED_LOOKED_AT = 5

Wanted = Callable[[tuple[str, ...]], bool]
T = TypeVar("T")

_TELLABLE = frozenset(
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
"""errors that say something of a file or folder; all others are the machine's"""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that was found and is to be read."""

    uri: str
    """absolute path; bytes that are no UTF-8 written out as ``\\xNN``"""
    parts: tuple[str, ...]
    """folders and file name below the source's folder, as the system gives them"""
    size_bytes: int
    modified_ns: int
    """since 1970, nanoseconds"""
    problem: str | None = None
    """a ``RejectReason``"""


def absolute(path: Path) -> Path:
    """``path`` made absolute; links stay as they are, for that is how the cluster knows them."""
    path = path.expanduser().absolute()
    return path.resolve() if ".." in path.parts else path


def is_image_name(name: str) -> bool:
    """Whether a file's name ends as an image's does."""
    dot = name.rfind(".")
    return dot >= 0 and name[dot:].lower() in IMAGE_EXTENSIONS


def may_hold_image(name: str) -> bool:
    """Whether a file's name says nothing of its content, which therefore tells what it is."""
    dot = name.rfind(".")
    end = name[dot:].lower() if dot > 0 else ""
    return end in CONTENT_EXTENSIONS or (end[1:].isascii() and end[1:].isdigit())


def content_is_image(path: str) -> bool:
    """Whether a file begins as an image does, or cannot be read, which is not passed over."""
    try:
        # A pipe would be waited for; what it is, the listing notes.
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


def is_image(path: str, name: str) -> bool:
    """Whether a file is an image by its name, or by its content where the name says nothing."""
    return is_image_name(name) or (may_hold_image(name) and content_is_image(path))


def is_hidden(name: str) -> bool:
    """Whether an entry is left out for its name."""
    return name.startswith(".") or name == ARCHIVE_LITTER


def walk(root: Path, notes: ListingNotes, wanted: Wanted | None = None) -> Iterator[FoundFile]:
    """Files below ``root``, each folder's in the order of their names, then its folders'.

    Each folder is listed once. Memory holds the names of one folder and of the folders that
    wait. A link to a regular file is followed, a link to a folder is not.

    Args:
        root: an absolute folder.
        notes: takes what is left out, and why.
        wanted: whether a file is seen, by its parts below ``root``; by default by
            :func:`is_image`.

    Raises:
        InputError: ``root`` cannot be listed, or a folder lies deeper than
            ``limits.FOLDER_DEPTH_MAX``.
    """
    waiting: list[tuple[str, ...]] = [()]
    base = str(root).rstrip("/")
    while waiting:
        place = waiting.pop()
        if len(place) > limits.FOLDER_DEPTH_MAX:
            raise InputError(
                f"{printable('/'.join((base, *place)))}: {len(place)} levels below the source's "
                f"folder, and at most {limits.FOLDER_DEPTH_MAX} are listed: name the folder "
                "itself as a source"
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


def find_file(path: Path, parts: tuple[str, ...], notes: ListingNotes) -> FoundFile | None:
    """One file by its path, under the same rules as ``walk``; ``None`` where it is left out."""
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
                f"{printable(where)}: cannot be listed: {error.strerror}: name a folder that "
                "may be read"
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


@dataclass(frozen=True, slots=True)
class Glance:
    """Names of some of a folder's entries, sorted; hidden ones left out."""

    folders: tuple[str, ...]
    files: tuple[str, ...]


def glance(folder: Path) -> Glance:
    """The first ``limits.LAYOUT_ENTRIES_MAX`` entries of a folder; none where it has none.

    For recognising alone: which are the first is the file system's choice. What a listing looks
    for it finds by :func:`files_like` or by its path.
    """
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
    """What ``action`` gives; where the machine fails at it, it is tried again.

    Raises:
        OSError: it failed ``limits.READ_TRIES`` times, or says something of the file itself.
    """
    for number in range(limits.READ_TRIES - 1):
        try:
            return action()
        except OSError as error:
            if error.errno in _TELLABLE:
                raise
        time.sleep(limits.READ_PAUSE_S * 4**number)
    return action()


def check_fault(path: str, error: OSError) -> None:
    """Tell the machine's faults from what can be told of a folder or file while listing.

    A folder that is closed to this user is noted and excluded: on many disks there is one, as
    ``lost+found`` at the root of an ext4 mount. A store that fails hides images that are there.

    Raises:
        SourceUnavailableError: the machine, its mount or its store failed.
    """
    if error.errno not in _TELLABLE:
        raise SourceUnavailableError(
            f"{platform.node()}: {printable(path)}: cannot be listed: {error.strerror}; check "
            "that machine's mount of the images and its system log, and run the same command "
            "again"
        ) from error


def files_like(folder: Path, wanted: Callable[[str], object]) -> tuple[str, ...]:
    """Names of the files of a folder that are wanted, sorted; none where it has none.

    All of its entries are looked at, for a data set's sheet may lie beside 100,000 films, and
    only what is wanted is kept: some 0.1 s for so many.
    """
    return tuple(sorted(_names_like(folder, wanted, folders=False)))


def folders_like(folder: Path, wanted: Callable[[str], object]) -> tuple[str, ...]:
    """As :func:`files_like`, of the folders of a folder."""
    return tuple(sorted(_names_like(folder, wanted, folders=True)))


def _names_like(folder: Path, wanted: Callable[[str], object], *, folders: bool) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                is_wanted = not is_hidden(entry.name) and wanted(entry.name)
                if is_wanted and entry.is_dir(follow_symlinks=False) == folders:
                    yield entry.name
    except OSError:
        return


def _unnamed(names: tuple[str, ...]) -> list[str]:
    """The first few names that say nothing of the content."""
    return list(islice(filter(may_hold_image, names), _UNNAMED_LOOKED_AT))


def holds_image(folder: Path, depth: int = 3) -> bool:
    """Whether an image is among a folder's first entries, or in its first folders."""
    seen = glance(folder)
    if any(is_image_name(name) for name in seen.files):
        return True
    if any(content_is_image(str(folder / name)) for name in _unnamed(seen.files)):
        return True
    return depth > 0 and any(holds_image(folder / name, depth - 1) for name in seen.folders[:3])
