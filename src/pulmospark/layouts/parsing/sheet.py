"""Metadata sheets: CSV and TSV of any common encoding, read row by row.

:mod:`pulmospark.layouts.parsing.sheet_encoding` handles the encoding and the lines before the
header.
"""

from __future__ import annotations

import csv
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pulmospark.core import limits
from pulmospark.core.errors import InputError, LayoutError
from pulmospark.core.schemas import Modality, View
from pulmospark.layouts.base import ManifestRow, row_of
from pulmospark.layouts.notes import ListingNotes, NoteKind
from pulmospark.layouts.parsing.sheet_encoding import (
    before_header,
    encoding_of,
    encoding_of_head,
    lines_of,
)
from pulmospark.layouts.walk import FoundFile

_DELIMITERS = (",", "\t", ";", "|")

_AROUND = " \t\r\n\f\v\xa0\u2007\u202f\ufeff\u200b\u200e\u200f"
_DRIVE = re.compile(r"[A-Za-z]:/")
_EXCEL_TEXT = re.compile(r'="([^"]*)"')

Cells = Callable[[str], str]
"""column -> the row's cell, empty if the row is too short"""


def stem_of(file: FoundFile) -> str:
    """A file's name without its extension."""
    return Path(file.parts[-1]).stem


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet with a parsed header; the rows are read on demand."""

    path: Path
    columns: tuple[str, ...]
    delimiter: str
    encoding: str | None
    """as given by the user; ``None``: detected from the bytes"""
    lines_before: int
    """before the header: blank lines, and one that declares the delimiter"""

    def column(self, *names: str) -> str | None:
        """The first column with one of these names, ignoring case, blanks and dashes."""
        known = {plain_name(column): column for column in reversed(self.columns)}
        return next((known[name] for name in map(plain_name, names) if name in known), None)

    def need(self, *names: str) -> str:
        """As ``column``, but required.

        Raises:
            LayoutError: it is missing.
        """
        column = self.column(*names)
        if column is None:
            raise LayoutError(
                f"{self.path}: has no column {names[0]!r}, only {', '.join(self.columns)[:200]}: "
                "use the data set's own sheet, or --layout csv with path_column and label_column"
            )
        return column

    def rows(self) -> Iterator[tuple[int, Cells]]:
        """Line number and cells of each row that is not blank.

        Raises:
            InputError: the sheet cannot be read, or is over ``limits.METADATA_FILE_BYTES_MAX``.
        """
        try:
            # Detected from the whole file: an accent may be its last character.
            encoding = self.encoding or encoding_of(self.path)
            with self.path.open(encoding=encoding, newline="") as file:
                for _ in range(self.lines_before):
                    next(file, None)
                reader = csv.reader(file, delimiter=self.delimiter)
                next(reader, None)
                places = {column: i for i, column in reversed(list(enumerate(self.columns)))}
                for cells in reader:
                    if any(cells):
                        yield self.lines_before + reader.line_num, _cells(cells, places)
        except (OSError, UnicodeError, csv.Error) as error:
            raise InputError(f"{self.path}: cannot be read as a table: {error}") from error

    def named_rows(
        self, column: str, notes: ListingNotes, *, folders: bool = False
    ) -> Iterator[tuple[str, Cells]]:
        """Name of the file and cells of each row; a row that names none is noted.

        Args:
            column: that names the file.
            notes: takes rows without a name.
            folders: whether a name may have folders; else such a row is noted, too.

        Raises:
            InputError: see :meth:`rows`.
        """
        for line, cell in self.rows():
            name = cell(column).strip()
            if name and (folders or "/" not in name):
                yield name, cell
                continue
            kind = NoteKind.ROWS_OUTSIDE_ROOT if name else NoteKind.ROWS_WITHOUT_PATH
            notes.add(kind, f"{self.path.name}, line {line}" + f": {name}" * bool(name))


def open_sheet(path: Path, encoding: str | None = None) -> Sheet:
    """Read a sheet's header: columns, delimiter and encoding.

    Args:
        path: of the sheet.
        encoding: detected from its bytes by default.

    Raises:
        InputError: it is missing, empty, over ``limits.METADATA_FILE_BYTES_MAX`` or no table.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(limits.SHEET_HEAD_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if size > limits.METADATA_FILE_BYTES_MAX:
        raise InputError(
            f"{path}: {size} bytes, over the limit of {limits.METADATA_FILE_BYTES_MAX} for a "
            "metadata sheet: split it, with each part as a source"
        )
    lines = lines_of(head, encoding or encoding_of_head(head))
    before, declared = before_header(lines)
    if before == len(lines):
        raise InputError(f"{path}: has no first line with column names")
    if before == len(lines) - 1 and len(head) < size:
        raise InputError(
            f"{path}: its first line is over the limit of {limits.SHEET_HEAD_BYTES} bytes: give a "
            "table with a line of column names"
        )
    try:
        delimiters = (declared,) if declared else _DELIMITERS
        header = [f"{line}\n" for line in lines[before:]]
        parsed = [(next(csv.reader(header, delimiter=d)), d) for d in delimiters]
    except (csv.Error, StopIteration, TypeError) as error:
        raise InputError(f"{path}: cannot be read as a table: {error}") from error
    columns, delimiter = max(parsed, key=lambda candidate: len(candidate[0]))
    return Sheet(path, tuple(map(_plain_cell, columns)), delimiter, encoding, before)


def has_columns(path: Path, *names: str) -> bool:
    """Whether there is a sheet with columns of all these names."""
    try:
        sheet = open_sheet(path)
    except InputError:
        return False
    return all(sheet.column(name) for name in names)


def plain_name(column: str) -> str:
    """A column's name for comparison: lower case, letters and digits only."""
    return re.sub(r"[\W_]+", "", column.casefold())


def is_drive(path: str) -> bool:
    """Whether a path begins with a Windows drive, ``C:/``."""
    return _DRIVE.match(path) is not None


def key_of(path: str, roots: tuple[str, ...] = ()) -> str | None:
    """A sheet's path as ``folder/file`` below the root.

    Opens no file: the key is only compared with files from a listing of the root.

    Args:
        path: from the sheet; Windows backslashes are accepted, even mixed with slashes.
        roots: spellings of the root's absolute path, under which absolute paths may lie.

    Returns:
        ``None`` if it leaves the root, by ``..``, as an absolute path or on a Windows drive,
        ``C:/a.png``; ``""`` if it names no file.
    """
    path = path.strip().replace("\\", "/")
    if not path:
        return ""
    if is_drive(path):
        return None
    plain = posixpath.normpath(path)
    if plain.startswith("/"):
        plain = "/" + plain.lstrip("/")
        for root in roots:
            base = root.rstrip("/") + "/"
            if plain.startswith(base):
                return plain.removeprefix(base)
        return None
    if plain == ".." or plain.startswith("../"):
        return None
    return "" if plain == "." else plain


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts in a metadata row about its file."""

    patient_id: str | None = None
    study_id: str | None = None
    finding: str | None = None
    view: View = View.UNKNOWN
    modality: Modality = Modality.UNKNOWN
    age: float | None = None
    sex: str | None = None
    published_split: str | None = None
    scan_id: str | None = None
    slice_index: int | None = None


class MetadataIndex:
    """Rows of a sheet by the key of their file; the only object that grows with a sheet.

    Of several rows for a file the first is used. If they name different patients, these are merged
    from then on: otherwise a split could put one patient's images on both sides.
    """

    def __init__(self, notes: ListingNotes) -> None:
        self._notes = notes
        self._facts: dict[str, Facts] = {}
        self._taken: set[str] = set()
        self._same_patient: dict[str, str] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._facts

    def __len__(self) -> int:
        return len(self._facts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def add(self, key: str, facts: Facts) -> None:
        """Add a row; note it if the file already had one."""
        first = self._facts.setdefault(key, facts)
        if first is facts:
            return
        self._notes.add(NoteKind.REPEATED_ROWS, key)
        if first.finding != facts.finding:
            self._notes.add(
                NoteKind.CONFLICTING_FINDINGS, f"{key}: {first.finding} | {facts.finding}"
            )
        one, other = first.patient_id, facts.patient_id
        if one != other:
            self._notes.add(NoteKind.CONFLICTING_PATIENTS, f"{key}: {one} | {other}")
            if one is not None and other is not None:
                self._join(one, other)

    def set_split(self, key: str, published_split: str) -> bool:
        """Set a file's published split; whether there is a row for it."""
        if key not in self._facts:
            return False
        self._facts[key] = replace(self._facts[key], published_split=published_split)
        return True

    def row(self, file: FoundFile, key: str, source: str) -> ManifestRow:
        """The manifest row of a file; noted if the sheet has none for it."""
        facts = self._facts.get(key)
        if facts is None:
            self._notes.add(NoteKind.FILES_WITHOUT_ROW, file.uri)
            return row_of(file, source)
        if key in self._taken:
            self._notes.add(NoteKind.FILES_OF_SAME_NAME, file.uri)
        self._taken.add(key)
        patient = facts.patient_id
        return row_of(
            file,
            source,
            patient_id=None if patient is None else self._patient(patient),
            study_id=facts.study_id,
            scan_id=facts.scan_id,
            slice_index=facts.slice_index,
            finding=facts.finding,
            view=facts.view,
            modality=facts.modality,
            age=facts.age,
            sex=facts.sex,
            published_split=facts.published_split,
        )

    def rows(
        self,
        files: Iterable[FoundFile],
        source: str,
        key: Callable[[FoundFile], str] = lambda file: file.parts[-1],
    ) -> Iterator[ManifestRow]:
        """The manifest rows of all files; then rows whose file was not found are noted.

        Args:
            files: that were found.
            source: their source.
            key: of a file; its name by default.
        """
        for file in files:
            yield self.row(file, key(file), source)
        self.close()

    def keys(self) -> Collection[str]:
        """The keys of all rows."""
        return self._facts.keys()

    def close(self, reasons: Mapping[str, str] | None = None) -> None:
        """Note the rows without a file.

        Args:
            reasons: key -> reason, if it is not just that no such file exists.
        """
        for key in self._facts:
            if key not in self._taken:
                reason = (reasons or {}).get(key)
                self._notes.add(NoteKind.ROWS_WITHOUT_FILE, f"{key}: {reason}" if reason else key)

    def _patient(self, patient: str) -> str:
        while patient in self._same_patient:
            patient = self._same_patient[patient]
        return patient

    def _join(self, one: str, other: str) -> None:
        one, other = self._patient(one), self._patient(other)
        if one != other:
            self._same_patient[other] = one


def _cells(cells: list[str], places: dict[str, int]) -> Cells:
    def cell(column: str) -> str:
        place = places[column]
        return _plain_cell(cells[place]) if place < len(cells) else ""

    return cell


def _plain_cell(text: str) -> str:
    """The text of a cell.

    Strips blanks, zero-width marks, and the ``="0017"`` by which Excel keeps leading zeros.
    """
    text = text.strip(_AROUND)
    match = _EXCEL_TEXT.fullmatch(text)
    return match[1].strip(_AROUND) if match else text
