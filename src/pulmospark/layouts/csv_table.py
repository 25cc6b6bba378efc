"""Any CSV or TSV with a column of paths and one of labels."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pulmospark.core.errors import InputError, LayoutError, UsageError
from pulmospark.core.tables import Modality, View
from pulmospark.layouts import values
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind
from pulmospark.layouts.sheet import Facts, MetadataIndex, Sheet, key_of, open_sheet
from pulmospark.layouts.walk import absolute, files_like, find_file, is_image_name, walk

_SHEET_ENDS = (".csv", ".tsv")
_SHEETS_LOOKED_AT = 20

# Names that such columns usually have, the surest first.
_GUESSES: dict[str, tuple[str, ...]] = {
    "path": ("path", "file_path", "image_path", "img_path", "filename", "file_name", "file",
             "image_file", "image_name", "image_index", "image", "img", "uri"),
    "label": ("label", "finding", "findings", "finding_labels", "labels", "class", "diagnosis",
              "target", "category"),
    "patient": ("patient_id", "patient", "subject_id", "subject"),
    "view": ("view", "view_position", "projection"),
    "age": ("age", "patient_age", "age_years"),
    "sex": ("sex", "gender", "patient_sex", "patient_gender"),
    "study": ("study_id", "study", "study_instance_uid"),
    "modality": ("modality",),
    "split": ("split",),
}  # fmt: skip


class CsvTable(Layout):
    """Rows of a sheet, in any order of columns; the paths are its folder's, or ``root``'s."""

    name = "csv"
    title = "table of paths and labels"
    home = "any CSV or TSV"
    licence = "that of the images"
    holds = "images whose finding stands in a sheet"
    looked_for = "one CSV or TSV with a column of paths and one of labels"
    generic = True
    options: ClassVar[Mapping[str, str]] = {
        **{
            f"{what}_column": f"column of the {what}; guessed where not given" for what in _GUESSES
        },
        "root": "folder that the paths start from, by itself or from the sheet's folder",
        "outside": "'refuse' (default) absolute paths outside the root, or 'follow' them",
        "files_without_row": "'list' (default) images below the root that no row names, or only "
        "'count' them",
    }

    def recognises(self, folder: Path) -> float:
        """0.6 for a sheet with both columns, or a folder with one such sheet."""
        if folder.is_file():
            return 0.6 if _fits(folder) else 0.0
        fitting = _fitting(folder)
        # With several, a tree of classes is the surer guess.
        return 0.0 if not fitting else 0.6 if len(fitting) == 1 else 0.3

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row a file that the sheet names, and (``files_without_row``) one a further image."""
        self.check_options(options)
        _, lists = self.territory(folder, options)
        follow = self.choice(options, "outside", ("refuse", "follow")) == "follow"
        sheet = open_sheet(folder if folder.is_file() else _only_sheet(folder))
        root = _root(sheet.path.parent, options)
        if not root.is_dir():
            raise UsageError(f"options: root is {options.get('root')!r}, and {root} is no folder")
        columns = _columns(sheet, options)
        index = _read(sheet, columns, _Place(root, follow, source_name), notes)

        def wanted(parts: tuple[str, ...]) -> bool:
            return is_image_name(parts[-1]) or "/".join(parts) in index

        for file in walk(root, notes, wanted):
            key = "/".join(file.parts)
            if key in index or lists:
                yield index.row(file, key, source_name)
            else:
                notes.add(NoteKind.FILES_WITHOUT_ROW, file.uri)
        if follow:
            for key in index:
                if key.startswith("/") and os.path.exists(key):  # noqa: PTH110 - never raises
                    found = find_file(Path(key), (key,), notes)
                    if found is not None:
                        yield index.row(found, key, source_name)
        index.close()

    def territory(self, folder: Path, options: Mapping[str, str]) -> tuple[Path, bool]:
        """The root; its images become rows unless ``files_without_row`` says otherwise."""
        lists = self.choice(options, "files_without_row", ("list", "count")) == "list"
        return _root(folder.parent if folder.is_file() else folder, options), lists


def _root(home: Path, options: Mapping[str, str]) -> Path:
    return absolute(home / Path(options.get("root", ".")).expanduser())


@dataclass(frozen=True, slots=True)
class _Place:
    root: Path
    follow_outside: bool
    source: str

    def key(self, path: str) -> str | None:
        """As ``sheet.key_of``; an absolute path outside stays one where it is followed."""
        key = key_of(path, (str(self.root), str(self.root.resolve())))
        if key is None and self.follow_outside and path.startswith("/") and "\0" not in path:
            return str(absolute(Path(path)))
        return key


def _fits(path: Path) -> bool:
    try:
        sheet = open_sheet(path)
    except InputError:
        return False
    return all(sheet.column(*_GUESSES[what]) for what in ("path", "label"))


def _fitting(folder: Path) -> list[Path]:
    names = _sheets(folder)[:_SHEETS_LOOKED_AT]
    return [path for name in names if _fits(path := folder / name)]


def _sheets(folder: Path) -> tuple[str, ...]:
    return files_like(folder, lambda name: name.lower().endswith(_SHEET_ENDS))


def _only_sheet(folder: Path) -> Path:
    fitting = _fitting(folder)
    if not fitting:
        sheets = _sheets(folder)
        if len(sheets) == 1:
            return folder / sheets[0]
        raise LayoutError(
            f"{folder}: has no CSV or TSV with a column of paths and one of labels: give the "
            "sheet's own path, and path_column and label_column as options"
        )
    if len(fitting) > 1:
        raise LayoutError(
            f"{folder}: has {len(fitting)} sheets of paths and labels, "
            f"{', '.join(path.name for path in fitting[:5])}: give the path of the one that is "
            "meant"
        )
    return fitting[0]


def _columns(sheet: Sheet, options: Mapping[str, str]) -> dict[str, str | None]:
    """What is looked for -> the sheet's column for it."""
    columns: dict[str, str | None] = {}
    for what, guesses in _GUESSES.items():
        named = options.get(f"{what}_column")
        found = sheet.column(*guesses) if named is None else sheet.column(named)
        has = ", ".join(sheet.columns)[:200]
        if named is not None and found is None:
            raise UsageError(
                f"options: {what}_column is {named!r}, and {sheet.path} has only the columns {has}"
            )
        if found is None and what in ("path", "label"):
            raise LayoutError(
                f"{sheet.path}: none of its columns {has} is known to hold the {what}: name it "
                f"with the option {what}_column"
            )
        columns[what] = found
    return columns


def _read(
    sheet: Sheet, columns: dict[str, str | None], place: _Place, notes: ListingNotes
) -> MetadataIndex:
    index = MetadataIndex(notes)
    for line, cell in sheet.rows():
        row = {what: cell(column) if column else "" for what, column in columns.items()}
        key = place.key(row["path"])
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
