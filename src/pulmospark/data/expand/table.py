"""Read the expanded table: the rows that a model may train on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ConfigDict

from pulmospark.core import files, schemas
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.records import Record
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import Part, in_part, read_cohort

TABLE = "table"
RECORD = "expand.json"

_LIGHT = [name for name in schemas.EXPANDED.names if name != "pixels"]


class ExpandedClass(Record):
    """Rows of one class after an expansion."""

    model_config = ConfigDict(frozen=True)

    label: str
    images: int
    """of the training split; each is a row itself"""
    copies: int
    copies_per_image: int
    """at most; every other image of the class has as many, or one fewer"""


class ExpandResult(Record):
    """The result of an expansion; counts are of the current table."""

    model_config = ConfigDict(frozen=True)

    expanded: Path
    cohort_id: str
    """of the cohort whose training split it is"""
    per_class: int
    rows: int
    """images + copies"""
    images: int
    copies: int
    classes: tuple[ExpandedClass, ...]
    warnings: tuple[str, ...]
    already: bool = False
    """nothing was done: an earlier run had written the same"""


def read_expanded(expanded: Path) -> ExpandResult:
    """The result of the last expansion into a folder.

    Raises:
        InputError: there is none.
    """
    if not (expanded / RECORD).is_file():
        raise InputError(f"{expanded}: not expanded yet: run `pulmospark expand` first")
    return ExpandResult.model_validate(files.read_json(expanded / RECORD)["result"])


def expanded_for(expanded: Path, part: Part, columns: Iterable[str] | None = None) -> pa.Table:
    """The rows that a model trains on, ordered by ``uri``.

    An augmented copy is trained on exactly where its image is: with folds, by every model except
    the one that is tested on the image's fold.

    Args:
        expanded: folder of the expansion.
        part: training, of the one split or of a fold.
        columns: which; all but ``pixels`` by default.

    Raises:
        UsageError: ``part`` is not the training split.
    """
    if part.name is not Split.TRAIN:
        raise UsageError(
            f"the {part.name.value} split has no augmented images: an expanded table is only for "
            "training"
        )
    wanted = list(_LIGHT if columns is None else columns)
    read = sorted({*wanted, "uri", "split", "fold"})
    rows = pq.read_table(expanded / TABLE, columns=read)
    return rows.filter(pa.array(in_part(rows, part))).sort_by("uri").select(wanted)


def check_expanded(expanded: Path, cohort: Path) -> None:
    """Refuse a table whose rows do not match their images in the cohort.

    A cohort that was rebuilt after the expansion may test on these images.

    Args:
        expanded: folder of the expansion.
        cohort: folder of the cohort to train with.

    Raises:
        InputError: an image is not in the training split, or its class or fold differs.
    """
    rows = pq.read_table(expanded / TABLE, columns=_LIGHT)
    images = read_cohort(cohort)
    parents = pc.coalesce(rows["parent_uri"], rows["uri"])
    place = pc.index_in(parents, value_set=images["uri"])
    wrong = pc.is_null(place)
    for name in ("split", "fold", "label", "image_id"):
        own = (
            pc.coalesce(rows["parent_id"], rows["image_id"]) if name == "image_id" else rows[name]
        )
        there = images[name].take(place)
        if name == "fold":
            own, there = pc.fill_null(own, -1), pc.fill_null(there, -1)
        wrong = pc.or_(wrong, pc.fill_null(pc.not_equal(own, there), True))
    bad = parents.filter(wrong)
    if len(bad):
        uri = min(bad.to_pylist())
        current = images.filter(pc.equal(images["uri"], uri)).to_pylist()
        now = f"in the {current[0]['split']} split" if current else "not in the cohort"
        fold = f", fold {current[0]['fold']}, class {current[0]['label']!r}" if current else ""
        raise InputError(
            f"{expanded}: {len(bad):,} rows do not match their images in the cohort; "
            f"{uri} is now {now}{fold}: run `pulmospark expand` again"
        )
