"""Trees with one folder per class: ``<class>/**/file``, also in ``train``, ``val``, ``test``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pulmospark.core import limits
from pulmospark.core.errors import UsageError
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind, row_of
from pulmospark.layouts.parsing import values
from pulmospark.layouts.walk import folders_like, glance, holds_image, walk

# Folders that hold the images of a data set rather than those of one class.
_NO_CLASSES = frozenset({"images", "image", "masks", "mask", "annotations", "volumes", "docs"})
_CLASSES_LOOKED_AT = 20


class ClassFolders(Layout):
    """The finding is the name of the folder, as spelled."""

    name = "class_folders"
    title = "folders of classes"
    home = "any: one folder per class, as in most teaching sets"
    licence = "that of the images"
    holds = "images whose finding is the name of their folder"
    looked_for = "two or more folders with images, or train/ and test/ with such folders"
    generic = True
    options: ClassVar[Mapping[str, str]] = {
        "patient_level": "level of folders below the class that names the patient: 1, 2, ...",
        "view": "view position of all images, such as PA, AP or lateral",
        "modality": "X-ray or CT",
    }

    def recognises(self, folder: Path) -> float:
        """0.5 if two or more folders contain images: a guess that specific layouts beat."""
        for base in (folder, *(folder / name for name in _split_folders(folder))):
            names = [name for name in glance(base).folders if name.casefold() not in _NO_CLASSES]
            classes = [name for name in names if values.split(name) is None]
            full = (name for name in classes[:_CLASSES_LOOKED_AT] if holds_image(base / name))
            if next(full, None) is not None and next(full, None) is not None:
                return 0.5
        return 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per file with an image's name; see ``Layout.rows``."""
        self.check_options(options)
        level = _level(options.get("patient_level"))
        view = values.view(options.get("view"), notes)
        modality = values.modality(options.get("modality"))
        splits = set(_split_folders(folder))
        for file in walk(folder, notes):
            inner, split = file.parts, None
            if inner[0] in splits:
                inner, split = inner[1:], values.split(inner[0])
            finding = inner[0].strip() if len(inner) > 1 else None
            patient = None
            if finding is None:
                notes.add(NoteKind.FILES_OUTSIDE_CLASS, file.uri)
            elif level and len(inner) > level + 1:
                # The number 1 of one class need not be the number 1 of another.
                patient = values.patient_id(source_name, "/".join((finding, inner[level])))
            elif len(inner) > 2:
                notes.add(NoteKind.FILES_BELOW_CLASS, file.uri)
            yield row_of(
                file,
                source_name,
                patient_id=patient,
                finding=finding,
                view=view,
                modality=modality,
                published_split=split,
            )


def _split_folders(folder: Path) -> tuple[str, ...]:
    """Folders named like a split that contain folders themselves."""
    return tuple(
        name for name in folders_like(folder, values.split) if glance(folder / name).folders
    )


def _level(value: str | None) -> int:
    if value is None:
        return 0
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) < limits.FOLDER_DEPTH_MAX:
        raise UsageError(
            f"options: patient_level is {value!r}, must be 1 to {limits.FOLDER_DEPTH_MAX - 1}"
        )
    return int(value)
