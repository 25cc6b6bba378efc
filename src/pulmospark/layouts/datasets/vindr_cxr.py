"""VinDr-CXR: ``train/`` and ``test/`` of DICOM files, ``annotations/image_labels_*.csv``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from pulmospark.core.schemas import Modality, Split, View
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow
from pulmospark.layouts.parsing.sheet import Facts, MetadataIndex, has_columns, open_sheet, stem_of
from pulmospark.layouts.walk import walk

_SHEETS = {
    "annotations/image_labels_train.csv": Split.TRAIN,
    "annotations/image_labels_test.csv": Split.TEST,
    "image_labels_train.csv": Split.TRAIN,
    "image_labels_test.csv": Split.TEST,
}
_NO_LABELS = ("image_id", "rad_id")
# One label has two names: that of the training part, and that of the test part.
_SAME_LABEL = {"Other disease": "Other diseases"}


class VindrCxr(Layout):
    """Findings are the labels that more than half of an image's readers gave, with ``|`` between:
    two of three in the training part, the consensus in the test part.
    """

    name = "vindr_cxr"
    title = "VinDr-CXR (and VinDr-PCXR, of children)"
    home = "https://physionet.org/content/vindr-cxr/"
    licence = "PhysioNet's credentialed data use agreement"
    holds = "18,000 postero-anterior images of two hospitals as DICOM, read by radiologists"
    looked_for = "annotations/image_labels_train.csv with the column image_id"
    faults = (
        "no patient is known",
        "three readers an image in the training part, who often differ; in the test part five",
        "VinDr-PCXR is paediatric: combined with VinDr-CXR, the age reveals the data set",
    )

    def recognises(self, folder: Path) -> float:
        """0.95 by a sheet's name and column."""
        return 0.95 if any(has_columns(folder / name, "image_id") for name in _SHEETS) else 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per image."""
        self.check_options(options)
        index = MetadataIndex(notes)
        for name, split in _SHEETS.items():
            if has_columns(folder / name, "image_id"):
                for image, said in _majority(folder / name, notes).items():
                    index.add(
                        image,
                        Facts(
                            finding=said,
                            view=View.FRONTAL,
                            modality=Modality.XRAY,
                            published_split=split.value,
                        ),
                    )
        yield from index.rows(walk(folder, notes), source_name, stem_of)


def _majority(path: Path, notes: ListingNotes) -> dict[str, str | None]:
    """Image -> what more than half of its readers say."""
    sheet = open_sheet(path)
    image = sheet.need("image_id")
    skipped = {sheet.column(name) for name in _NO_LABELS}
    columns = [column for column in sheet.columns if column and column not in skipped]
    labels = [_SAME_LABEL.get(column, column) for column in columns]
    readers: Counter[str] = Counter()
    votes: dict[str, Counter[str]] = {}
    for key, cell in sheet.named_rows(image, notes, folders=True):
        readers[key] += 1
        marked = votes.setdefault(key, Counter())
        marked.update(
            _SAME_LABEL.get(column, column)
            for column in columns
            if cell(column).strip() in ("1", "1.0")
        )
    return {
        key: sys.intern(text) if text else None
        for key, marked in votes.items()
        for text in ["|".join(label for label in labels if 2 * marked[label] > readers[key])]
    }
