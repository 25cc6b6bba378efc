"""Match a sheet's rows to files when the path in the row is not exactly a file's path.

Sheets name images by an id without folder or extension, by paths on another machine, with Windows
backslashes, or in different case. Such a row matches a file only if the match is unique:

- The names are the same, ignoring case and an image extension.
- If row and file both have folders, these agree from the name upwards: ``x/a.png`` never matches
  ``y/a.png``, but ``/home/me/set/x/a.png`` may match ``x/a.png``.
- A file whose exact path is in one row belongs to no other row.
- Of several candidates, the one with more common folders wins, then the exact name, then the name
  ignoring case. On a tie the row has no file; nor have two rows that claim the same file.
"""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pulmospark.core.errors import InputError
from pulmospark.core.locations import is_uri, local_paths
from pulmospark.layouts.notes import ListingNotes, NoteKind
from pulmospark.layouts.walk import is_hidden, is_image_name, may_hold_image

_FILES_SHOWN = 3


class _Fit(NamedTuple):
    """How well a file matches a row; larger is better."""

    folders: int
    """that agree"""
    name: int
    """2: exactly; 1: ignoring case; 0: ignoring the extension, too"""


@dataclass
class Matching:
    """Matching rows and files."""

    files: dict[str, str] = field(default_factory=dict)
    """file, as written by :func:`canonical` -> key of its row"""
    reasons: dict[str, str] = field(default_factory=dict)
    """key of a row without a file -> reason, if it is not just missing"""
    spelled: dict[str, str] = field(default_factory=dict)
    """file whose name has backslashes, as written by :func:`canonical` -> its path"""


def canonical(parts: Iterable[str]) -> str:
    """A file's path below the root as in the keys: with ``/`` between all folders.

    Archives packed on Windows may unpack elsewhere to files called ``images\\a.png``.
    """
    return "/".join(parts).replace("\\", "/")


def cell_paths(cell: str) -> tuple[str, ...]:
    """Possible paths in a sheet's cell, the likeliest first: both for a ``file:`` URI that may or
    may not be escaped; none if the cell is empty.

    Raises:
        InputError: it is a remote address, ``s3://...``.
    """
    text = cell.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    if not text or "\0" in text:
        return ()
    if not is_uri(text):
        return (text,)
    return tuple(str(path) for path in local_paths(text, error=InputError))


def match_rows(
    keys: Collection[str], root: Path, notes: ListingNotes, taken: Container[str] = ()
) -> Matching:
    """Find the file of each row below a folder; reads only the names of its files.

    Memory holds the paths of the files whose names are in the rows.

    Args:
        keys: paths of the rows below the root, with ``/`` between; or absolute ones of another
            machine, ``/home/me/a.png`` or ``C:/a.png``.
        root: the folder.
        notes: collects how rows were matched, and which match several files.
        taken: paths of files below the root that other rows name exactly.
    """
    matching = Matching()
    files = FilesBelow(keys, root, matching.spelled)
    exact = files.exact
    matching.files.update({path: path for path in exact})
    claims: defaultdict[str, list[tuple[_Fit, str]]] = defaultdict(list)
    for key in keys:
        if key in exact:
            continue
        fits = [
            (_fit(key, path), path)
            for path in files.ending_like(key)
            if path not in exact and path not in taken
        ]
        if not fits:
            continue
        best = max(fit for fit, _ in fits)
        first, *others = sorted(path for fit, path in fits if fit == best)
        if others:
            names = ", ".join([first, *others][:_FILES_SHOWN])
            matching.reasons[key] = f"{1 + len(others)} files match: {names}"
            notes.add(NoteKind.ROWS_OF_SEVERAL_FILES, f"{key}: {names}")
        else:
            claims[first].append((best, key))
    for path, claimed in claims.items():
        best = max(fit for fit, _ in claimed)
        winners = [key for fit, key in claimed if fit == best]
        if len(winners) == 1:
            matching.files[path] = winners[0]
            notes.add(_kind(best, winners[0], path), f"{winners[0]} -> {path}")
        for _, key in claimed:
            if winners != [key]:
                matching.reasons[key] = f"{path} matches other rows, too"
                if len(winners) > 1:
                    notes.add(
                        NoteKind.ROWS_OF_SEVERAL_FILES, f"{key}: {path} matches other rows, too"
                    )
    return matching


class FilesBelow:
    """The files below a folder whose names are in the rows, by the ends of their paths.

    Rows and files are compared by hash: even if every folder has a ``frontal.jpg``, each row is
    compared only with possible matches.
    """

    def __init__(self, keys: Collection[str], root: Path, spelled: dict[str, str]) -> None:
        self.exact: set[str] = set()
        """paths that rows name exactly"""
        self._whole: defaultdict[str, list[str]] = defaultdict(list)
        self._ends: defaultdict[str, list[str]] = defaultdict(list)
        wanted = {_form(key) for key in keys}
        names = {form.rpartition("/")[2] for form in wanted}
        for parts in _files(str(root).rstrip("/")):
            path = canonical(parts)
            named = path in keys
            if not (named or is_image_name(parts[-1]) or may_hold_image(parts[-1])):
                continue
            form = _form(path)
            if form.rpartition("/")[2] not in names:
                continue
            if named:
                self.exact.add(path)
            self._whole[form].append(path)
            for end in _ends(form):
                if end in wanted:
                    self._ends[end].append(path)
            if (real := "/".join(parts)) != path:
                spelled[path] = real

    def ending_like(self, key: str) -> set[str]:
        """Files whose path ends with the row's, or the reverse, ignoring the spelling."""
        form = _form(key)
        whole = (path for end in _ends(form) for path in self._whole.get(end, ()))
        return {*self._ends.get(form, ()), *whole}


def _files(root: str) -> Iterator[tuple[str, ...]]:
    """Files as ``walk`` lists them, without opening each."""
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir("/".join((root, *place)) or "/") as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        continue
                    parts = (*place, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(parts)
                    else:
                        yield parts
        except OSError:
            continue  # the listing that follows notes or raises it


def _form(path: str) -> str:
    """A path for comparison: without case, image extension and empty folders."""
    *folders, name = [part for part in _plain(path).split("/") if part] or [""]
    return "/".join((*folders, _stem(name)))


def _ends(form: str) -> Iterator[str]:
    """The path itself, and without its first folders one by one, down to the name."""
    while True:
        yield form
        _, slash, form = form.partition("/")
        if not slash:
            return


def _stem(name: str) -> str:
    return name.rpartition(".")[0] if is_image_name(name) else name


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _fit(key: str, path: str) -> _Fit:
    """How well a file matches a row, given that one path ends with the other."""
    *folders, name = [part for part in key.split("/") if part]
    *file_folders, file = path.split("/")
    level = 2 if name == file else 1 if _plain(name) == _plain(file) else 0
    return _Fit(min(len(folders), len(file_folders)), level)


def _kind(fit: _Fit, key: str, path: str) -> NoteKind:
    if fit.name == 0:
        return NoteKind.ROWS_MATCHED_BY_STEM
    both = fit.folders + 1
    same = key.split("/")[-both:] == path.split("/")[-both:]
    return NoteKind.ROWS_MATCHED_BY_NAME if same else NoteKind.ROWS_MATCHED_WITHOUT_CASE
