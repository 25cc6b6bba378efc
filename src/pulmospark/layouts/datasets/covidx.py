"""COVIDx, chest X-rays: ``train*.txt`` and ``test*.txt`` next to ``train/`` and ``test/``.

A row is ``patient file class source``, parsed from the right, because patient ids contain blanks.
Rows of some editions have no source. One source is spelled ``rnsa`` in places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

from pulmospark.core.schemas import Modality
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow
from pulmospark.layouts.parsing import values
from pulmospark.layouts.parsing.sheet import Facts, MetadataIndex
from pulmospark.layouts.parsing.text_lists import begins_with_row, lists_of, rows_of
from pulmospark.layouts.walk import is_image_name, walk

# train_split.txt, train_split_v2.txt, train_COVIDx5.txt, train_COVIDx9B.txt and
# train_COVIDx_CXR-3A.txt in lindawangg/COVID-Net; train.txt of edition CXR-4 on Kaggle.
_LIST = re.compile(
    r"(train|val|test)(?:_split)?(?:_v\d+)?(?:[_-]?COVIDx[-\w]*)?\.txt", re.IGNORECASE
)
# The first edition, train_split.txt, has pneumonia in two: bacteria and viral.
_CLASSES = frozenset(
    {"covid-19", "normal", "pneumonia", "bacteria", "viral", "positive", "negative"}
)
_SOURCES = {"rnsa": "rsna"}
_ROWS_LOOKED_AT = 3


class Row(NamedTuple):
    """A row of a list."""

    patient: str | None
    file: str
    label: str
    origin: str | None
    """the source collection of the image, such as cohen, sirm or rsna"""


class Covidx(Layout):
    """Findings as in the list: ``COVID-19``, ``normal``, ``pneumonia`` (``bacteria`` and
    ``viral`` in the first edition), or in later editions ``positive`` and ``negative``. Patients
    from different origins are different patients.
    """

    name = "covidx"
    title = "COVIDx (chest X-rays; lindawangg/COVID-Net)"
    home = "https://github.com/lindawangg/COVID-Net/blob/master/docs/COVIDx.md"
    licence = "that of each of its sources, as listed by COVID-Net"
    holds = "up to 84,818 images compiled from ieee8023, Figure 1, Actualmed, SIRM, RSNA, ..."
    looked_for = "train*.txt and test*.txt with rows 'patient file class source'"
    faults = (
        "positive and negative images mostly differ in origin: the source predicts the class",
        "'negative' mixes normals with pneumonia, ARDS, and images of COVID-19 patients",
        "contains images of ieee8023, of the Radiography Database and of others",
        "each SIRM image has its own patient id, though some patients have several images",
    )
    options: ClassVar[Mapping[str, str]] = {
        "origins": "only images from these sources of the lists, as 'sirm,fig1'; all by default",
    }

    def recognises(self, folder: Path) -> float:
        """0.95 by the first rows of a list."""
        matches = (
            begins_with_row(path, read_row, _ROWS_LOOKED_AT) for path, _ in lists_of(folder, _LIST)
        )
        return 0.95 if any(matches) else 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per image, in ``train/`` and ``test/`` or wherever it lies."""
        self.check_options(options)
        origins = frozenset(options.get("origins", "").replace(",", " ").casefold().split())
        index, others = MetadataIndex(notes), set[str]()
        for path, split in lists_of(folder, _LIST):
            for _, row in rows_of(path, read_row, notes):
                if origins and (row.origin or "") not in origins:
                    others.add(row.file)
                    continue
                patient = row.patient and f"{row.origin or 'unknown'}/{row.patient}"
                index.add(
                    row.file,
                    Facts(
                        patient_id=values.patient_id(source_name, patient),
                        finding=row.label,
                        modality=Modality.XRAY,
                        published_split=split,
                    ),
                )
        for file in walk(folder, notes):
            name = file.parts[-1]
            if name not in others or name in index:
                yield index.row(file, name, source_name)
        index.close()

    def territory(self, folder: Path, options: Mapping[str, str]) -> tuple[Path, bool]:
        """The folder; with the option ``origins``, not every image becomes a row."""
        return folder, "origins" not in options


def read_row(line: str) -> Row | None:
    """A row of a list, parsed from the right; ``None`` if the line is not a row."""
    cells = line.split()
    for at in (-1, -2):
        place = len(cells) + at
        if place >= 1 and cells[place].casefold() in _CLASSES and is_image_name(cells[place - 1]):
            origin = cells[-1].casefold() if at == -2 else None
            return Row(
                patient=" ".join(cells[: place - 1]) or None,
                file=cells[place - 1].rpartition("/")[2],
                label=cells[place],
                origin=_SOURCES.get(origin or "", origin),
            )
    return None
