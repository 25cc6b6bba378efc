"""COVID-19 Radiography Database: ``images/`` and ``masks/`` in one folder per class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pulmospark.core.schemas import Modality, View
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind, row_of
from pulmospark.layouts.walk import FoundFile, glance, walk

_CLASSES = frozenset({"COVID", "Normal", "Lung_Opacity", "Viral Pneumonia"})
_IMAGES, _MASKS, _OTHER = "images", "masks", "other"


class RadiographyDatabase(Layout):
    """The finding is the folder's name; an image's mask has the image's name.

    No patient is known. The ``*.metadata.xlsx`` sheets give each image's origin but no patient,
    view, age or sex; they are not read, but counted as ignored.
    """

    name = "radiography_database"
    title = "COVID-19 Radiography Database"
    home = "https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database"
    licence = "according to its publishers and the sources of the images"
    holds = "images of COVID-19, lung opacity, viral pneumonia and normals, with lung masks"
    faults = (
        "viral pneumonia and some normals are Kermany's children, COVID-19 images are of adults",
        "no patient is known, and there are duplicate images",
        "an image is 299 x 299, its mask 256 x 256",
    )
    paediatric: ClassVar[Mapping[str, bool]] = {"Viral Pneumonia": True, "COVID": False}
    looked_for = "two of the folders COVID, Normal, Lung_Opacity, Viral Pneumonia, with images/"

    def recognises(self, folder: Path) -> float:
        """0.9 if two or more of the classes contain ``images``, more with ``masks``."""
        inside = [glance(folder / n).folders for n in glance(folder).folders if n in _CLASSES]
        with_images = [names for names in inside if _IMAGES in names]
        if len(with_images) < 2:
            return 0.0
        return 0.95 if any(_MASKS in names for names in with_images) else 0.9

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per image; masks are counted."""
        self.check_options(options)
        masked = {name for name in _CLASSES if (folder / name / _MASKS).is_dir()}
        split_up = {name for name in _CLASSES if (folder / name / _IMAGES).is_dir()}
        for file in walk(folder, notes):
            place = file.parts[0] if len(file.parts) > 1 and file.parts[0] in _CLASSES else None
            kind = _kind(file.parts, place in split_up)
            if kind == _OTHER:
                notes.add(NoteKind.FILES_IN_OTHER_FOLDERS, file.uri)
                continue
            if place is not None and kind == _MASKS:
                notes.add(NoteKind.MASKS, file.uri)
                if not folder.joinpath(place, _IMAGES, *file.parts[2:]).is_file():
                    notes.add(NoteKind.MASKS_WITHOUT_IMAGE, file.uri)
                continue
            mask = None
            if place is None:
                notes.add(NoteKind.FILES_OUTSIDE_CLASS, file.uri)
            elif place in masked:
                mask = _mask(folder, place, file, notes)
            yield row_of(
                file,
                source_name,
                finding=place,
                view=View.FRONTAL,
                modality=Modality.XRAY,
                mask_uri=mask,
            )


def _kind(parts: tuple[str, ...], is_split_up: bool) -> str:
    """``images``, ``masks``, or ``other``: any other place in a class that has ``images/``.

    In the first editions, classes had no ``images/`` and contained the images themselves.
    """
    if len(parts) > 2 and parts[1] in (_IMAGES, _MASKS):
        return parts[1]
    is_image = not is_split_up and len(parts) <= 2
    return _IMAGES if is_image or parts[0] not in _CLASSES else _OTHER


def _mask(folder: Path, place: str, file: FoundFile, notes: ListingNotes) -> str | None:
    inner = file.parts[2:] if file.parts[1] == _IMAGES else file.parts[1:]
    mask = folder.joinpath(place, _MASKS, *inner)
    if mask.is_file():
        return str(mask)
    notes.add(NoteKind.IMAGES_WITHOUT_MASK, file.uri)
    return None
