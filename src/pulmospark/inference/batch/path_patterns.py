"""Expands the paths and patterns of a prediction, and says which a folder's listing reaches."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from pulmospark.core.errors import InputError
from pulmospark.core.locations import local_text
from pulmospark.layouts.base import ListingNotes, NoteKind
from pulmospark.layouts.notes import printable
from pulmospark.layouts.walk import absolute, check_fault, is_hidden
from pulmospark.store.archives import outermost

_ANY_FOLDERS = "**"


def expanded(paths: Sequence[str], notes: ListingNotes) -> Iterator[Path]:
    """Absolute paths of what is named, and of what patterns match.

    An existing path is never read as a pattern. In a pattern ``*``, ``?`` and ``[]`` match names
    that are not hidden, and ``**`` matches any number of folders. A pattern with ``**`` follows
    only links to folders that it names explicitly: others may lead back, or to files that are
    found anyway.

    Args:
        paths: as given by the user.
        notes: receives what patterns skip: links to folders, and folders that cannot be listed.

    Raises:
        UsageError: a path is a remote address such as ``s3://...``.
        InputError: a path does not exist, or a pattern matches nothing.
    """
    for text in map(local_text, paths):
        path = absolute(Path(text))
        if os.path.lexists(path) or Path(outermost(str(path))).is_file():
            yield path
        elif glob.has_magic(text):
            matches = sorted(set(_Pattern(text, notes).matches()))
            if not matches:
                raise InputError(f"{text}: matches no file or folder; check the pattern")
            yield from (absolute(Path(match)) for match in matches)
        else:
            raise InputError(f"{printable(str(path))}: no such file or folder; check the path")


class _Pattern:
    """A pattern, part by part."""

    def __init__(self, text: str, notes: ListingNotes) -> None:
        path = Path(text).expanduser()
        self._anchor = path.anchor or "."
        self._parts = path.parts[1:] if path.anchor else path.parts
        self._only_folders = text.endswith(os.sep)
        self._links = _ANY_FOLDERS not in self._parts
        self._notes = notes

    def matches(self) -> Iterator[str]:
        """Existing matches; with more than one ``**`` some appear more than once."""
        for match in self._in(self._anchor, self._parts):
            if not self._only_folders or os.path.isdir(match):  # noqa: PTH112 - no Path for each
                yield match

    def _in(self, folder: str, parts: tuple[str, ...]) -> Iterator[str]:
        if not parts:
            yield folder
            return
        first, rest = parts[0], parts[1:]
        if first == _ANY_FOLDERS:
            while rest[:1] == (_ANY_FOLDERS,):  # same as one
                rest = rest[1:]
            if not rest:
                yield folder
            for below in self._below(folder):
                yield from self._in(below, rest or ("*",))
        elif glob.has_magic(first):
            yield from self._matching(folder, first, rest)
        else:
            path = os.path.join(folder, first)  # noqa: PTH118 - no Path for each
            if os.path.isdir(path) if rest else os.path.lexists(path):  # noqa: PTH112
                yield from self._in(path, rest)

    def _below(self, folder: str) -> Iterator[str]:
        """A folder and its subfolders, without hidden ones and targets of links."""
        for where, folders, _ in os.walk(folder, onerror=self._not_listed, followlinks=False):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield where

    def _matching(self, folder: str, part: str, rest: tuple[str, ...]) -> Iterator[str]:
        is_match = re.compile(fnmatch.translate(part)).match
        try:
            with os.scandir(folder) as entries:
                matches = [
                    (entry.path, entry.is_symlink(), _is_folder(entry))
                    for entry in entries
                    if is_match(entry.name)
                    and (part.startswith(".") or not entry.name.startswith("."))
                ]
        except OSError as error:
            self._not_listed(error)
            return
        for path, is_link, is_folder in matches:
            if is_link and is_folder and not self._links:
                self._notes.add(NoteKind.SYMLINKS_LEFT_OUT, path)
            elif is_folder or not rest:
                yield from self._in(path, rest)

    def _not_listed(self, error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            check_fault(str(error.filename), error)
            self._notes.add(NoteKind.UNREADABLE_FOLDERS, str(error.filename))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say
        return False


def within(path: Path, folders: Iterable[Path]) -> bool:
    """Whether the listing of one of these folders includes ``path``."""
    return any(
        folder != path and folder in path.parents and _reached(path.parent, folder, path.name)
        for folder in folders
    )


def _reached(parent: Path, folder: Path, name: str) -> bool:
    return not is_hidden(name) and _open_way(parent, folder)


@lru_cache(maxsize=4096)
def _open_way(parent: Path, folder: Path) -> bool:
    """No link and no hidden folder from ``folder`` down to ``parent``."""
    if parent == folder:
        return True
    return (
        not is_hidden(parent.name) and not parent.is_symlink() and _open_way(parent.parent, folder)
    )
