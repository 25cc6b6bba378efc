"""VinBigData Chest X-ray Abnormalities Detection: ``train.csv``, ``train/`` and ``test/``."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from pulmospark.core.schemas import Modality, Split, View
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind
from pulmospark.layouts.parsing.sheet import Facts, MetadataIndex, has_columns, open_sheet
from pulmospark.layouts.walk import FoundFile, is_image_name, walk

_SHEET = "train.csv"
# Kaggle, vinbigdata-chest-xray-abnormalities-detection:
# image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max
_COLUMNS = ("image_id", "class_name", "rad_id")


class VinBigData(Layout):
    """Findings are the classes that more than half of an image's readers marked, with ``|``
    between; ``No finding`` is one of them. Where the readers agree on none the finding is empty.
    """

    name = "vinbigdata"
    title = "VinBigData Chest X-ray Abnormalities Detection"
    home = "https://www.kaggle.com/c/vinbigdata-chest-xray-abnormalities-detection"
    licence = "as the challenge's rules say; not for commercial use"
    holds = "15,000 postero-anterior chest X-rays of VinDr-CXR as DICOM, three readers each"
    looked_for = "train.csv with the columns image_id, class_name and rad_id"
    faults = (
        "no patient is known",
        "a row is one reader's box: three readers an image, who often differ",
        "the images are those of VinDr-CXR; images of the test part have no label",
    )

    def recognises(self, folder: Path) -> float:
        """0.95 by the sheet's columns."""
        return 0.95 if has_columns(folder / _SHEET, *_COLUMNS) else 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per image, DICOM or converted, wherever it is: ids are unique."""
        self.check_options(options)
        index = MetadataIndex(notes)
        for image, finding in _majority(folder / _SHEET, notes).items():
            index.add(
                image,
                Facts(
                    finding=finding,
                    view=View.FRONTAL,
                    modality=Modality.XRAY,
                    published_split=Split.TRAIN.value,
                ),
            )
        yield from index.rows(walk(folder, notes), source_name, _key_of)


def _key_of(file: FoundFile) -> str:
    name = file.parts[-1]
    return Path(name).stem if is_image_name(name) else name


def _majority(path: Path, notes: ListingNotes) -> dict[str, str | None]:
    """Image -> the classes that more than half of its readers marked, in the sheet's order."""
    sheet = open_sheet(path)
    image, label, reader = (sheet.need(name) for name in _COLUMNS)
    marked: defaultdict[str, dict[str, set[str]]] = defaultdict(dict)
    for key, cell in sheet.named_rows(image, notes, folders=True):
        marked[key].setdefault(cell(reader), set()).add(sys.intern(cell(label)))
    findings: dict[str, str | None] = {}
    for key, by_reader in marked.items():
        votes = Counter(name for names in by_reader.values() for name in sorted(names))
        agreed = "|".join(name for name in votes if 2 * votes[name] > len(by_reader))
        if not agreed:
            notes.add(NoteKind.CONFLICTING_FINDINGS, f"{key}: {' | '.join(votes)}")
        findings[key] = sys.intern(agreed) if agreed else None
    return findings
