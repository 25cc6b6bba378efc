"""COVID-QU-Ex: ``<part> Segmentation Data/{Train,Val,Test}/<class>/{images,... masks}``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pulmospark.core.schemas import Modality, View
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind, row_of
from pulmospark.layouts.parsing import values
from pulmospark.layouts.walk import FoundFile, folders_like, glance, walk

_CLASSES = frozenset({"COVID-19", "Non-COVID", "Normal"})
_PARTS = {"lung": "Lung Segmentation Data", "infection": "Infection Segmentation Data"}
_IMAGES, _LUNGS, _INFECTION = "images", "lung masks", "infection masks"


class CovidQuEx(Layout):
    """The finding is the class's folder. An image's lung mask is stored with it; infection masks
    are counted.
    """

    name = "covid_qu_ex"
    title = "COVID-QU-Ex"
    home = "https://www.kaggle.com/datasets/anasmohammedtahir/covidqu"
    licence = "CC BY-SA 4.0, according to its publishers; the images are from many sources"
    holds = "33,920 images of COVID-19, other infections and normals, all with lung masks"
    looked_for = "'Lung Segmentation Data' or 'Infection Segmentation Data' with Train/<class>"
    faults = (
        "no patient is known, and the published split was made image by image",
        "the images of the infection part are also in the lung part, in another split",
        "compiled from many collections, such as the Radiography Database and ieee8023",
        "lung masks were segmented by a network and reviewed",
    )
    options: ClassVar[Mapping[str, str]] = {
        "part": "'lung' (default), 'infection' or 'both'; the two overlap",
    }

    def recognises(self, folder: Path) -> float:
        """0.95 if a part has Train, Val or Test with classes that contain images."""
        has_images = (_IMAGES in glance(at).folders for at in _class_folders(folder))
        return 0.95 if any(has_images) else 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per image of the selected part."""
        self.check_options(options)
        part = self.choice(options, "part", ("lung", "infection", "both"))
        there = set(folders_like(folder, frozenset(_PARTS.values()).__contains__))
        selected = {_PARTS[part]} if part in _PARTS and _PARTS[part] in there else there
        for file in walk(folder, notes):
            if there and file.parts[0] in there - selected:
                notes.add(NoteKind.NESTED_COPIES, file.uri)
            elif (kind := _kind(file)) is None:
                notes.add(NoteKind.FILES_OUTSIDE_CLASS, file.uri)
                yield row_of(file, source_name)
            elif kind == _INFECTION:
                notes.add(NoteKind.INFECTION_MASKS, file.uri)
            elif kind == _LUNGS:
                notes.add(NoteKind.MASKS, file.uri)
                if not _sibling(folder, file, _IMAGES).is_file():
                    notes.add(NoteKind.MASKS_WITHOUT_IMAGE, file.uri)
            else:
                mask = _sibling(folder, file, _LUNGS)
                if not (has_mask := mask.is_file()):
                    notes.add(NoteKind.IMAGES_WITHOUT_MASK, file.uri)
                yield row_of(
                    file,
                    source_name,
                    finding=file.parts[-3],
                    view=View.FRONTAL,
                    modality=Modality.XRAY,
                    mask_uri=str(mask) if has_mask else None,
                    published_split=values.split(file.parts[-4]) if len(file.parts) > 3 else None,
                )


def _kind(file: FoundFile) -> str | None:
    """``images``, ``lung masks`` or ``infection masks``; ``None`` elsewhere."""
    if len(file.parts) < 3 or file.parts[-3] not in _CLASSES:
        return None
    return file.parts[-2] if file.parts[-2] in (_IMAGES, _LUNGS, _INFECTION) else None


def _sibling(folder: Path, file: FoundFile, kind: str) -> Path:
    return folder.joinpath(*file.parts[:-2], kind, file.parts[-1])


def _class_folders(folder: Path) -> Iterator[Path]:
    for part in _PARTS.values():
        if part not in glance(folder).folders:
            continue
        inside = glance(folder / part).folders
        base = folder / part / part if part in inside else folder / part
        for split in glance(base).folders:
            if values.split(split):
                yield from (
                    base / split / n for n in glance(base / split).folders if n in _CLASSES
                )
