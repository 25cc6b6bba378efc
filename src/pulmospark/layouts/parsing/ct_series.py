"""Slices of a CT series as files: their order, and irregularities."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from pathlib import Path

from pulmospark.core.hashing import file_id, value_id
from pulmospark.layouts.notes import ListingNotes, NoteKind
from pulmospark.layouts.walk import FoundFile

_DIGITS = re.compile(r"([0-9]+)")
_NUMBER_DIGITS_MAX = 9  # of a slice's number: what an int32 column holds

Place = tuple[str, ...]
"""folders below the source's folder"""


def by_folder(files: Iterable[FoundFile]) -> Iterator[tuple[Place, list[FoundFile]]]:
    """Files folder by folder; memory holds the files of one folder."""
    for place, inside in groupby(files, key=lambda file: file.parts[:-1]):
        yield place, list(inside)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts ``2.png`` before ``10.png``: digits count as numbers, everything else as text."""
    parts = _DIGITS.split(name)
    return [(1, int(part), "") if at % 2 else (0, 0, part) for at, part in enumerate(parts)]


def slice_number(name: str) -> int | None:
    """The last number in a slice's file name, without its extension; ``None`` if there is none."""
    numbers = _DIGITS.findall(name.rpartition(".")[0] or name)
    return int(numbers[-1]) if numbers and len(numbers[-1]) <= _NUMBER_DIGITS_MAX else None


def in_order(
    files: list[FoundFile], scan: str, notes: ListingNotes
) -> list[tuple[int, FoundFile]]:
    """The slices of one scan in order, with their place in it.

    The place is the number in the name; if a name has none, or two have the same, it is the place
    in the order of the names.

    Args:
        files: of the scan, in any order.
        scan: its name in the notes.
        notes: collects gaps, repetitions and names whose order is not that of their numbers.
    """
    names = sorted(files, key=lambda file: natural_key(file.parts[-1]))
    numbers = [slice_number(file.parts[-1]) for file in names]
    known = [number for number in numbers if number is not None]
    if len(known) < len(names):
        notes.add(NoteKind.SLICES_WITHOUT_NUMBER, scan)
        return list(enumerate(names))
    if len(set(known)) < len(known):
        notes.add(NoteKind.REPEATED_SLICES, scan)
        return list(enumerate(names))
    ordered = sorted(zip(known, names, strict=True), key=lambda pair: pair[0])
    as_text = sorted(ordered, key=lambda pair: pair[1].parts[-1])
    if as_text != ordered:
        notes.add(NoteKind.SLICES_OUT_OF_ORDER, scan)
    if any(after - before > 1 for (before, _), (after, _) in pairwise(ordered)):
        notes.add(NoteKind.SLICE_GAPS, scan)
    return ordered


class Twins:
    """Finds scans with the same slices; holds some hundred bytes per scan.

    Files are read only if another scan has as many slices of the same sizes, and then once.
    """

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, list[Path]]] = {}
        self._content: dict[str, str] = {}

    def earlier(self, scan: str, slices: list[FoundFile]) -> str | None:
        """The scan seen before with the same slices, if there is one.

        Args:
            scan: its name.
            slices: in their order.
        """
        if any(file.problem for file in slices):
            return None
        sizes = value_id([file.size_bytes for file in slices])
        paths = [Path(file.uri) for file in slices]
        try:
            return self._earlier(scan, sizes, paths)
        except OSError:  # a file that cannot be read is rejected by the ingest
            return None

    def _earlier(self, scan: str, sizes: str, paths: list[Path]) -> str | None:
        if sizes not in self._first:
            self._first[sizes] = (scan, paths)
            return None
        first, first_paths = self._first[sizes]
        if first_paths:
            self._content.setdefault(_content(first_paths), first)
            self._first[sizes] = (first, [])
        mine = _content(paths)
        return None if self._content.setdefault(mine, scan) == scan else self._content[mine]


def _content(paths: list[Path]) -> str:
    return value_id([file_id(path) for path in paths])
