"""Files inside archives, listed as those of folders are.

A folder in an archive has an address like its files, ``/data/set.zip!/train``; that of the archive
itself is ``/data/set.zip!``. Only image files are seen there: a sheet inside an archive is not
read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from pulmospark.core import limits
from pulmospark.core.errors import InputError
from pulmospark.core.schemas import RejectReason
from pulmospark.layouts.names import FoundFile, Glance, is_hidden, is_image_name, may_hold_image
from pulmospark.layouts.notes import ListingNotes, NoteKind, printable
from pulmospark.store.archives import (
    Directory,
    EntryError,
    begin_of_entry,
    directory_of,
    entries_of,
    leads_out,
    parts_of_address,
)
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.zip_directory import SPECIAL, Entry

_FOLDERS_MAX = 20_000
"""folders of an archive that are looked at to recognise a layout"""


def is_archived(address: str) -> bool:
    """Whether an address is that of a file or folder in an archive."""
    return parts_of_address(address) is not None


def walk_archive(
    root: str, notes: ListingNotes, wanted: Callable[[tuple[str, ...]], bool]
) -> Iterator[FoundFile]:
    """Image files below a folder of an archive, in the archive's order.

    Args:
        root: address of the folder.
        notes: collects what is skipped, and why.
        wanted: whether a file is listed, by its parts below ``root``.

    Raises:
        InputError: it is no archive, is damaged or too large.
        SourceUnavailableError: the store fails.
    """
    archive, inside = _split(root)
    modified_ns = directory_of(archive).source.modified_ns
    for entry in entries_of(archive):
        if not entry.name.startswith(inside):
            continue
        parts = _parts(entry.name[len(inside) :])
        if leads_out(entry.name) or len(parts) > limits.FOLDER_DEPTH_MAX:
            if parts and is_image_name(parts[-1]):
                notes.add(NoteKind.BAD_NAMES, _address(archive, entry))
                yield _found(archive, entry, parts, modified_ns, RejectReason.BAD_NAME)
        elif not parts:
            continue
        elif any(map(is_hidden, parts)):
            notes.add(NoteKind.HIDDEN_ENTRIES, _address(archive, entry))
        elif entry.method == SPECIAL:
            notes.add(NoteKind.SPECIAL_FILES, _address(archive, entry))
        elif wanted(parts):
            yield _found(archive, entry, parts, modified_ns)
        else:
            notes.ignore(parts[-1])
    if repeated := directory_of(archive).repeated:
        notes.add(NoteKind.REPEATED_ROWS, archive, repeated)


def archived_file(address: str, parts: tuple[str, ...]) -> FoundFile:
    """A file by its address; one that is not there has a problem, and becomes a reject.

    Raises:
        OSError: the machine fails.
        SourceUnavailableError: the store fails.
    """
    archive, _ = _split(address)
    name = address[len(archive) + 2 :]
    try:
        directory = directory_of(archive)
    except (InputError, FileNotFoundError, ObjectMissingError):
        return FoundFile(printable(address), parts, 0, 0, RejectReason.UNREADABLE)
    if (entry := directory.find(name)) is None:
        return FoundFile(printable(address), parts, 0, 0, RejectReason.VANISHED)
    return _found(archive, entry, parts, directory.source.modified_ns)


def archived_begin(address: str) -> bytes | None:
    """The first bytes of a file, ``None`` where it cannot be read."""
    archive, _ = _split(address)
    try:
        return begin_of_entry(archive, address[len(archive) + 2 :], limits.SNIFF_BYTES)
    except (EntryError, OSError):
        return None


def glance_archive(folder: str) -> Glance:
    """The first folders and image files of a folder, sorted; empty if there is none."""
    archive, inside = _split(folder)
    try:
        place = _tree(archive, directory_of(archive)).get(inside)
    except (InputError, OSError):
        return Glance((), ())
    if place is None:
        return Glance((), ())
    return Glance(tuple(sorted(place.folders)), tuple(sorted(place.files)))


@dataclass
class _Folder:
    folders: dict[str, None] = field(default_factory=dict)
    files: dict[str, None] = field(default_factory=dict)


@lru_cache(maxsize=1)
def _tree(archive: str, _directory: Directory) -> dict[str, _Folder]:
    """Folders of an archive by their names; memory holds the first of each folder's files."""
    tree: dict[str, _Folder] = {"": _Folder()}
    for entry in entries_of(archive):
        parts = _parts(entry.name)
        if not parts or leads_out(entry.name) or any(map(is_hidden, parts)):
            continue
        place = tree[""]
        for depth, name in enumerate(parts[:-1]):
            inside = "/".join(parts[: depth + 1]) + "/"
            if inside not in tree and len(tree) == _FOLDERS_MAX:
                break
            if len(place.folders) < limits.LAYOUT_ENTRIES_MAX:
                place.folders[name] = None
            place = tree.setdefault(inside, _Folder())
        else:
            is_image = is_image_name(parts[-1]) or may_hold_image(parts[-1])
            if is_image and len(place.files) < limits.LAYOUT_ENTRIES_MAX:
                place.files[parts[-1]] = None
    return tree


def _split(address: str) -> tuple[str, str]:
    """The archive, and the folder in it: empty, or ending with a slash."""
    parts = parts_of_address(address)
    if parts is None:
        raise ValueError(f"{address}: not in an archive")
    archive, inside = parts
    return archive, f"{inside.rstrip('/')}/" if inside else ""


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in name.split("/") if part not in {"", "."})


def _address(archive: str, entry: Entry) -> str:
    return f"{archive}!/{entry.name}"


def _found(
    archive: str,
    entry: Entry,
    parts: tuple[str, ...],
    modified_ns: int,
    problem: str | None = None,
) -> FoundFile:
    # What an archive says of its sizes is anything; a larger file is rejected.
    size = min(entry.size, limits.FILE_BYTES_MAX + 1)
    return FoundFile(printable(_address(archive, entry)), parts, size, modified_ns, problem)
