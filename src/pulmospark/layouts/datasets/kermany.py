"""Kermany's chest_xray: ``{train,test,val}/{NORMAL,PNEUMONIA}``.

The file name identifies the patient:

- ``person1_bacteria_2.jpeg``, ``person447_virus_921_1.jpeg``: the patient is ``person1``. The
  publishers seem to have numbered bacterial and viral patients separately: within either kind no
  number is in both train and test, across the kinds many are. But no publication says so, and
  merging two children with the same number separates no child's images, so by default ``person1``
  is one patient. The option ``person_numbers = "by_kind"`` separates them.
- ``IM-0115-0001.jpeg``, ``NORMAL2-IM-0381-0001.jpeg``: the first number counts children, or
  visits, in each of two series; it is never in both train and test of its series, and the number
  after it counts the images. So ``IM-0115`` and ``NORMAL2-IM-0115`` are two patients.
- ``BACTERIA-1008087-0001.jpeg``, ``NORMAL-1049278-0001.jpeg`` (the publishers' later edition):
  kind, patient, image.

All images are antero-posterior (Kermany et al. 2018, Cell 172, 1122-1131).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import ClassVar, NamedTuple

from pulmospark.core.schemas import Modality, View
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind, row_of
from pulmospark.layouts.parsing import values
from pulmospark.layouts.walk import FoundFile, find_file, glance, walk

_NORMAL, _PNEUMONIA = "NORMAL", "PNEUMONIA"
_COPY = "chest_xray"
_KINDS = {"bacteria": "bacterial", "virus": "viral"}
_PERSON = re.compile(r"(person\d+)_(bacteria|virus)_", re.IGNORECASE)
_SERIES = re.compile(r"((?:NORMAL2-)?IM-\d+)-", re.IGNORECASE)
_LATER = re.compile(r"(?:NORMAL|(BACTERIA|VIRUS))-(\d+)-\d+\.", re.IGNORECASE)
_NAMES_LOOKED_AT = 50


class _Name(NamedTuple):
    patient: str | None
    kind: str | None


class Kermany(Layout):
    """Findings ``NORMAL``, ``PNEUMONIA bacterial``, ``PNEUMONIA viral``; ``PNEUMONIA`` if the
    name has no kind.
    """

    name = "kermany"
    title = "Kermany chest_xray (Chest X-Ray Images, Pneumonia)"
    home = "https://data.mendeley.com/datasets/rscbjbr9sj"
    licence = "CC BY 4.0"
    holds = "images of children aged one to five, normal and with pneumonia"
    paediatric: ClassVar[Mapping[str, bool]] = {"*": True}
    looked_for = "folders NORMAL and PNEUMONIA, in train/ and test/, with names as person1_virus_6"
    faults = (
        "children only: combined with a set of adults, age predicts the class",
        "val has only 16 images; the archive contains the set twice",
    )
    options: ClassVar[Mapping[str, str]] = {
        "person_numbers": "'shared' (default): personN is one patient whatever the kind of "
        "pneumonia; 'by_kind': one for bacterial and one for viral",
    }

    def recognises(self, folder: Path) -> float:
        """0.95 if the file names also match."""
        for base in (folder, *(folder / name for name in _splits(folder))):
            if {_NORMAL, _PNEUMONIA} <= {name.upper() for name in glance(base).folders}:
                names = [
                    name
                    for part in glance(base).folders
                    for name in islice(glance(base / part).files, _NAMES_LOOKED_AT)
                ]
                if any(_read_name(name, by_kind=False).patient for name in names):
                    return 0.95
        return 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per image; of the copy inside the published archive only what differs."""
        self.check_options(options)
        by_kind = self.choice(options, "person_numbers", ("shared", "by_kind")) == "by_kind"
        for file in walk(folder, notes):
            inner = file.parts
            if inner[0] == _COPY and len(inner) > 1:
                inner = inner[1:]
                if _same_size(folder.joinpath(*inner), file):
                    notes.add(NoteKind.NESTED_COPIES, file.uri)
                    continue
            split = values.split(inner[0]) if len(inner) > 1 else None
            place = inner[1:] if split else inner
            finding = place[0].upper() if len(place) > 1 else None
            name = _Name(None, None)
            if finding not in (_NORMAL, _PNEUMONIA):
                finding = None
                notes.add(NoteKind.FILES_OUTSIDE_CLASS, file.uri)
            else:
                name = _read_name(inner[-1], by_kind=by_kind)
                if finding == _PNEUMONIA and name.kind:
                    finding = f"{_PNEUMONIA} {name.kind}"
            yield row_of(
                file,
                source_name,
                patient_id=values.patient_id(source_name, name.patient),
                finding=finding,
                view=View.AP,
                modality=Modality.XRAY,
                published_split=split,
            )


def _read_name(name: str, *, by_kind: bool) -> _Name:
    if match := _PERSON.match(name):
        kind = _KINDS[match[2].lower()]
        return _Name(f"{match[1]} {kind}" if by_kind else match[1], kind)
    if match := _LATER.match(name):
        return _Name(match[2], _KINDS.get((match[1] or "").lower()))
    if match := _SERIES.match(name):
        return _Name(match[1], None)
    return _Name(None, None)


def _splits(folder: Path) -> tuple[str, ...]:
    return tuple(name for name in glance(folder).folders if values.split(name) is not None)


def _same_size(twin: Path, file: FoundFile) -> bool:
    other = find_file(twin, file.parts, ListingNotes())
    return other is not None and other.problem is None and other.size_bytes == file.size_bytes
