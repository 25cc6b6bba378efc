"""What is audited: images with their metadata, a split, and optionally a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pulmospark.audit.results import ShownImage
from pulmospark.chunks.parts import parts_of
from pulmospark.config.audit import AuditSettings
from pulmospark.core import files
from pulmospark.core.arrays import Floats, Ints, Mask
from pulmospark.core.errors import InputError
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import read_cohort

FACTS = (
    "image_id", "uri", "source", "patient_id", "scan_id", "slice_index", "finding", "view",
    "modality", "age", "sex", "mask_uri", "format", "size_bytes", "height", "width", "phash",
)  # fmt: skip
"""Columns of the images table that audits use; about 300 bytes per image."""

Column = npt.NDArray[Any]

PATIENTS_MIN = 10
"""minimum number of patients of a class or source for a metric"""


@dataclass(frozen=True)
class ModelLeftOut:
    """Why a run's existing model or predictions are not audited.

    Attributes:
        why: for a sentence.
        remedy: what to run.
    """

    why: str
    remedy: str


@dataclass(frozen=True)
class Subject:
    """The audited images.

    Attributes:
        images: folder of the images table.
        rows: one per included image, in the order of ``uri``: :data:`FACTS`, ``label``,
            ``group_id``, ``split`` and ``fold``; the last two null outside an experiment.
        settings: of the audits.
        seed: of folds and bootstrap.
        classes: names of the classes.
        confidence: level of all CIs.
        left_out: reason -> excluded images.
        predictions: predictions for the test images, if a model was evaluated.
        expanded: folder of the expanded table's files, where images were augmented.
        model_left_out: why the predictions of an evaluated model are not used; ``None``: they
            are, or there are none.
        layouts: source -> name of its layout, as far as recorded by ingest.
    """

    images: Path
    rows: pa.Table
    settings: AuditSettings
    seed: int
    classes: tuple[str, ...]
    confidence: float = 0.95
    left_out: dict[str, int] | None = None
    predictions: pa.Table | None = None
    expanded: Path | None = None
    model_left_out: ModelLeftOut | None = None
    layouts: Mapping[str, str] = field(default_factory=dict)

    def column(self, name: str) -> Column:
        """A column as an object array, ``None`` where it is null."""
        return np.asarray(self.rows[name].to_pylist(), dtype=object)

    def numbers(self, name: str) -> Floats:
        """A column of numbers, (n,); nan where it is null."""
        values = self.rows[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
        return np.asarray(values, dtype=np.float64)

    @property
    def labels(self) -> Ints:
        """Index of each image's class, (n,); -1 where it has none."""
        index = pc.index_in(self.rows["label"], value_set=pa.array(self.classes, pa.string()))
        return np.asarray(pc.fill_null(index, -1).to_numpy(zero_copy_only=False), np.int64)

    def common(self, patients: int = PATIENTS_MIN) -> Ints:
        """Indices (m,) of the classes with at least that many patients, copies counted once."""
        labels, groups = self.labels, self.groups
        return np.asarray(
            [
                index
                for index in range(len(self.classes))
                if np.unique(groups[labels == index]).size >= patients
            ],
            np.int64,
        )

    @property
    def groups(self) -> Ints:
        """Each image's group from 0, (n,): the patient, or patients joined by near copies.

        The grouping unit of the split and of the bootstrap.
        """
        return _codes(self.rows["group_id"])

    @property
    def patients(self) -> Ints:
        """Number of each image's patient from 0, (n,); unknown patients are all distinct."""
        return _codes(pc.coalesce(self.rows["patient_id"], self.rows["image_id"]))

    @property
    def parts(self) -> Column:
        """Split or fold of each image as text: "fold 1", "train"; ``None`` without a split."""
        folds, splits = self.column("fold"), self.column("split")
        return np.asarray(
            [f"fold {f + 1}" if f is not None else s for f, s in zip(folds, splits, strict=True)],
            dtype=object,
        )

    def leaks(self, first: Ints, second: Ints) -> Mask:
        """Which pairs, (m,), have one image tested by a model that was trained on the other."""
        if self.has_folds:
            folds = self.numbers("fold")
            return np.asarray(folds[first] != folds[second], dtype=np.bool_)
        tested = self.column("split") == Split.TEST.value
        return np.asarray(tested[first] != tested[second], dtype=np.bool_)

    @property
    def tested(self) -> Mask:
        """Images in a test set, (n,): all of them with folds; none outside an experiment."""
        folds = ~np.isnan(self.numbers("fold"))
        return np.asarray(folds | (self.column("split") == Split.TEST.value), dtype=np.bool_)

    @property
    def has_folds(self) -> bool:
        """Whether each image is tested in one of several folds."""
        return bool(self.rows["fold"].null_count < self.rows.num_rows)

    @property
    def has_split(self) -> bool:
        """Whether the images have been split into training and test sets."""
        return bool(self.rows["split"].null_count < self.rows.num_rows)

    def image(self, row: int) -> ShownImage:
        """An image as the report shows it."""
        columns = ("uri", "image_id", "source", "label", "split", "fold")
        row_values = {name: self.rows[name][row].as_py() for name in columns}
        fold, split = row_values.pop("fold"), row_values.pop("split")
        return ShownImage(part=split if fold is None else f"fold {fold + 1}", **row_values)


def _codes(names: pa.ChunkedArray) -> Ints:
    _, codes = np.unique(np.asarray(names.to_pylist()), return_inverse=True)
    return codes.astype(np.int64)


def subject_of(
    images: Path,
    cohort: Path | None,
    settings: AuditSettings,
    *,
    seed: int,
    classes: tuple[str, ...] = (),
    confidence: float = 0.95,
    predictions: pa.Table | None = None,
    expanded: Path | None = None,
    model_left_out: ModelLeftOut | None = None,
) -> Subject:
    """Images of a table, with their class and split from a cohort.

    Without a cohort every image is included, each finding is a class, and a patient is a group.

    Args:
        images: folder of the images table.
        cohort: folder of the cohort.
        settings: of the audits.
        seed: of folds and bootstrap.
        classes: names of the classes; empty: those that occur.
        confidence: level of all CIs.
        predictions: predictions for the test images.
        expanded: folder of the expanded table's files.
        model_left_out: why the predictions of an evaluated model are not used.

    Raises:
        InputError: the table is missing, empty, or not an images table.
    """
    facts = _facts(images)
    excluded: dict[str, int] = {}
    if cohort is None:
        groups = pc.coalesce(facts["patient_id"], facts["image_id"])
        nothing = pa.nulls(facts.num_rows)
        rows = facts.append_column("label", facts["finding"]).append_column("group_id", groups)
        rows = rows.append_column("split", nothing.cast(pa.string()))
        rows = rows.append_column("fold", nothing.cast(pa.int32()))
    else:
        assigned = read_cohort(cohort, ["uri", "label", "group_id", "split", "fold"])
        rows = facts.join(assigned, "uri", join_type="inner")
        reasons = pq.read_table(cohort / "table", columns=["reason"])["reason"].drop_null()
        counts = reasons.value_counts().to_pylist()
        excluded = {count["values"]: count["counts"] for count in counts}
    rows = rows.sort_by("uri").combine_chunks()
    names = classes or tuple(sorted({x for x in rows["label"].to_pylist() if x is not None}))
    return Subject(
        images=images,
        rows=rows,
        settings=settings,
        seed=seed,
        classes=names,
        confidence=confidence,
        left_out=excluded,
        predictions=predictions,
        expanded=expanded,
        model_left_out=model_left_out,
        layouts=_layouts(images),
    )


def _layouts(images: Path) -> dict[str, str]:
    """Layout of each source, from the record that ingest writes next to its tables."""
    record = images.parent / "ingest.json"
    result = files.read_json(record).get("result", {}) if record.is_file() else {}
    return {source["name"]: source["layout"] for source in result.get("sources", ())}


def _facts(images: Path) -> pa.Table:
    parts = parts_of(images)
    if not parts:
        raise InputError(
            f"{images}: no images table: specify a run, or the tables folder of an ingest"
        )
    try:
        facts = pa.concat_tables([pq.read_table(part, columns=list(FACTS)) for part in parts])
    except (KeyError, pa.ArrowInvalid) as error:
        raise InputError(f"{images}: not an images table: {error!s:.120}") from error
    if not facts.num_rows or set(FACTS) - set(facts.column_names):
        raise InputError(f"{images}: empty, or not an images table: run ingest first")
    return facts
