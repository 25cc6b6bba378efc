"""Any CSV or TSV with a column of paths and one of labels."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pulmospark.core.errors import InputError, LayoutError, UsageError
from pulmospark.core.schemas import Modality, View
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind
from pulmospark.layouts.parsing import values
from pulmospark.layouts.parsing.columns import GUESSES, NEEDED, Column, columns_of, guess
from pulmospark.layouts.parsing.path_matching import Matching, canonical, cell_paths, match_rows
from pulmospark.layouts.parsing.sheet import (
    Facts,
    MetadataIndex,
    Sheet,
    has_columns,
    is_drive,
    key_of,
    open_sheet,
)
from pulmospark.layouts.parsing.sheet_encoding import known_encoding
from pulmospark.layouts.stored import objects_named
from pulmospark.layouts.walk import absolute, files_like, find_file, is_image, walk
from pulmospark.store.uri import StoreUri, is_store_uri, parse_uri

SHEET_ENDS = (".csv", ".tsv")
_SHEETS_LOOKED_AT = 20


class CsvTable(Layout):
    """Rows of a sheet, columns in any order; paths are relative to its folder or ``root``."""

    name = "csv"
    title = "table of paths and labels"
    home = "any CSV or TSV"
    licence = "that of the images"
    holds = "images whose finding is in a sheet"
    looked_for = "one CSV or TSV with a column of paths and one of labels"
    generic = True
    options: ClassVar[Mapping[str, str]] = {
        **{
            f"{what}_column": f"column of the {what}; guessed by default, none if empty"
            for what in GUESSES
        },
        "encoding": "of the sheet, such as cp1251; UTF-8, UTF-16 and Windows-1252 are detected",
        "root": "folder that paths are relative to, absolute or relative to the sheet's, or an "
        "address in a store",
        "outside": "'refuse' (default) absolute paths outside the root, or 'follow' them",
        "files_without_row": "'list' (default) images below the root without a row, or only "
        "'count' them",
    }

    def recognises(self, folder: Path) -> float:
        """0.6 for a sheet with both columns, or a folder with one such sheet."""
        if folder.is_file():
            return 0.6 if _fits(folder) else 0.0
        fitting = _fitting(folder)
        # With several, folders of classes are the likelier layout.
        return 0.0 if not fitting else 0.6 if len(fitting) == 1 else 0.3

    @staticmethod
    def has_sheet(folder: Path) -> bool:
        """Whether a CSV or TSV lies in a folder."""
        return bool(_sheets(folder))

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per file in the sheet, and per further image (``files_without_row``)."""
        self.check_options(options)
        _, lists = self.territory(folder, options)
        follow = self.choice(options, "outside", ("refuse", "follow")) == "follow"
        named = options.get("encoding")
        encoding = known_encoding(named) if named else None
        path = folder if folder.is_file() else _only_sheet(folder, options)
        sheet = open_sheet(path, encoding)
        root = _root(sheet.path.parent, options)
        if not root.is_dir():
            raise UsageError(f"options: root is {options.get('root')!r}: {root} is not a folder")
        columns = columns_of(sheet, options)
        notes.columns.update(
            {what: (column.name, column.is_guessed) for what, column in columns.items()}
        )
        place = _Place(root, follow, source_name, _stored_root(options))
        index = _read(sheet, columns, place, notes)
        stored = [key for key in index if is_store_uri(key)]
        matching = match_rows([key for key in index if not is_store_uri(key)], root, notes)

        def wanted(parts: tuple[str, ...]) -> bool:
            if canonical(parts) in matching.files:
                return True
            return is_image("/".join((str(root), *parts)), parts[-1])

        for file in walk(root, notes, wanted) if place.stored is None else ():
            key = matching.files.get(canonical(file.parts))
            if key is not None or lists:
                yield index.row(file, canonical(file.parts) if key is None else key, source_name)
            else:
                notes.add(NoteKind.FILES_WITHOUT_ROW, file.uri)
        if follow:
            for key in index:
                if key.startswith("/") and os.path.exists(key):  # noqa: PTH110 - never raises
                    outside = find_file(Path(key), (key,), notes)
                    if outside is not None:
                        yield index.row(outside, key, source_name)
        for file in objects_named(map(parse_uri, stored)):
            yield index.row(file, file.uri, source_name)
        index.close({**_folders_among(index, matching, root), **matching.reasons})

    def territory(self, folder: Path, options: Mapping[str, str]) -> tuple[Path, bool]:
        """The root; its images become rows unless ``files_without_row`` says otherwise."""
        lists = self.choice(options, "files_without_row", ("list", "count")) == "list"
        lists = lists and _stored_root(options) is None
        return _root(folder.parent if folder.is_file() else folder, options), lists


def _root(home: Path, options: Mapping[str, str]) -> Path:
    named = "." if _stored_root(options) else options.get("root", ".")
    return absolute(home / Path(named).expanduser())


def _stored_root(options: Mapping[str, str]) -> StoreUri | None:
    """The address that cells are relative to; ``None``: they are paths of this machine."""
    named = options.get("root", "")
    return parse_uri(named) if is_store_uri(named) else None


@dataclass(frozen=True, slots=True)
class _Place:
    root: Path
    follow_outside: bool
    source: str
    stored: StoreUri | None = None
    """address that cells are relative to, in the place of ``root``"""

    def key(self, cell: str) -> str | None:
        """Path of a cell below the root; an absolute path that does not exist stays absolute, and
        an address in a store as it is.

        It is from another machine, and may end like a path below the root. ``None``: outside the
        root, and not followed; ``""``: no path.

        Raises:
            InputError: it is an address that cannot be opened.
        """
        if is_store_uri(cell):
            return str(parse_uri(cell.strip(), error=InputError))
        if self.stored is not None:
            path = next(iter(cell_paths(cell)), "").replace("\\", "/")
            return str(self.stored / path) if path else ""
        keys = [self._below(path) for path in cell_paths(cell)]
        if len(keys) < 2:
            return keys[0] if keys else ""
        there = (key for key in keys if key and os.path.lexists(self.root / key))
        return next(there, keys[0])

    def _below(self, path: str) -> str | None:
        key = key_of(path, (str(self.root), str(self.root.resolve())))
        if key is not None:
            return key
        plain = path.replace("\\", "/")
        is_absolute = plain.startswith("/")
        if is_absolute and os.path.lexists(plain):
            return str(absolute(Path(plain))) if self.follow_outside else None
        return plain if is_absolute or is_drive(plain) else None


def _fits(path: Path) -> bool:
    try:
        sheet = open_sheet(path)
    except InputError:
        return False
    return all(guess(sheet, what) for what in NEEDED)


def _fitting(folder: Path) -> list[Path]:
    names = _sheets(folder)[:_SHEETS_LOOKED_AT]
    return [path for name in names if _fits(path := folder / name)]


def _sheets(folder: Path) -> tuple[str, ...]:
    return files_like(folder, lambda name: name.lower().endswith(SHEET_ENDS))


def _folders_among(index: MetadataIndex, matching: Matching, root: Path) -> dict[str, str]:
    """Rows that name a folder, such as a CT series, and why they have no file."""
    with_file = set(matching.files.values())
    return {
        key: "is a folder, but a row must name one image"
        for key in index
        if key not in with_file and not key.startswith("/") and (root / key).is_dir()
    }


def _only_sheet(folder: Path, options: Mapping[str, str]) -> Path:
    """The sheet of a folder: the one with the named columns, or that fits."""
    named = [name for what in GUESSES if (name := options.get(f"{what}_column"))]
    fitting = _fitting(folder)
    if named:
        paths = [folder / name for name in _sheets(folder)]
        fitting = [path for path in paths if has_columns(path, *named)] or fitting
    if not fitting:
        sheets = _sheets(folder)
        if len(sheets) == 1:
            return folder / sheets[0]
        raise LayoutError(
            f"{folder}: contains no CSV or TSV with a column of paths and one of labels: give the "
            "sheet's path, with the options path_column and label_column"
        )
    if len(fitting) > 1:
        raise LayoutError(
            f"{folder}: contains {len(fitting)} sheets of paths and labels, "
            f"{', '.join(path.name for path in fitting[:5])}: give the path of one"
        )
    return fitting[0]


def _read(
    sheet: Sheet, columns: Mapping[str, Column], place: _Place, notes: ListingNotes
) -> MetadataIndex:
    index = MetadataIndex(notes)
    for line, cell in sheet.rows():
        row = dict.fromkeys(GUESSES, "")
        row.update({what: cell(column.name) for what, column in columns.items()})
        try:
            key = place.key(row["path"])
        except InputError as error:
            raise InputError(f"{sheet.path}, line {line}: {error.message}") from error
        if not key:
            kind = NoteKind.ROWS_OUTSIDE_ROOT if key is None else NoteKind.ROWS_WITHOUT_PATH
            notes.add(kind, f"{sheet.path.name}, line {line}: {row['path']}")
            continue
        finding = values.text(row["label"])
        modality = values.modality(row["modality"])
        view = values.view(row["view"], notes)
        if modality is Modality.CT and view is View.UNKNOWN:
            view = View.AXIAL
        index.add(
            key,
            Facts(
                patient_id=values.patient_id(place.source, row["patient"]),
                study_id=values.text(row["study"]),
                finding=None if finding is None else sys.intern(finding),
                view=view,
                modality=modality,
                age=values.age_years(row["age"], notes),
                sex=values.sex(row["sex"]),
                published_split=values.split(row["split"]),
            ),
        )
    return index
