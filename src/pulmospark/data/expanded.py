"""The expanded table as it is read: which of its rows a model may train on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ConfigDict

from pulmospark.core import files, tables
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.records import Record
from pulmospark.core.tables import Split
from pulmospark.data.cohort import Part, in_part, read_cohort

TABLE = "table"
RECORD = "expand.json"

_LIGHT = [name for name in tables.EXPANDED.names if name != "pixels"]


class ExpandedClass(Record):
    """What an expansion made of one class."""

    model_config = ConfigDict(frozen=True)

    label: str
    films: int
    """of the training part; each is a row itself"""
    children: int
    children_of_a_film: int
    """at most; every other film of the class has as many, or one less"""


class ExpandResult(Record):
    """What an expansion did; counts are of the table as it now stands."""

    model_config = ConfigDict(frozen=True)

    expanded: Path
    cohort_id: str
    """of the cohort whose training part it is"""
    per_class: int
    rows: int
    """films + children"""
    films: int
    children: int
    classes: tuple[ExpandedClass, ...]
    warnings: tuple[str, ...]
    already: bool = False
    """nothing was done: an earlier run had made the same"""


def read_expanded(expanded: Path) -> ExpandResult:
    """The result that the last expansion into a folder left.

    Raises:
        InputError: there is none.
    """
    if not (expanded / RECORD).is_file():
        raise InputError(f"{expanded}: nothing there yet: run `pulmospark expand` first")
    return ExpandResult.model_validate(files.read_json(expanded / RECORD)["result"])


def expanded_for(expanded: Path, part: Part, columns: Iterable[str] | None = None) -> pa.Table:
    """The rows that a model trains on, ordered by ``uri``.

    A child is trained on exactly where its parent is: with folds, by every model but the one
    that is tested on the parent's fold.

    Args:
        expanded: folder of the expansion.
        part: training, of the one split or of a fold.
        columns: which; all but ``pixels`` by default.

    Raises:
        UsageError: another part is asked for; none of it is in an expanded table.
    """
    if part.name is not Split.TRAIN:
        raise UsageError(
            f"the {part.name.value} part has no augmented films: an expanded table is only "
            "trained on"
        )
    wanted = list(_LIGHT if columns is None else columns)
    read = sorted({*wanted, "uri", "split", "fold"})
    rows = pq.read_table(expanded / TABLE, columns=read)
    return rows.filter(pa.array(in_part(rows, part))).sort_by("uri").select(wanted)


def check_expanded(expanded: Path, cohort: Path) -> None:
    """Refuse a table of which a row stands elsewhere than its film does in the cohort.

    A cohort that was made anew after the expansion may test on what was then trained on.

    Args:
        expanded: folder of the expansion.
        cohort: folder of the cohort that is trained with.

    Raises:
        InputError: a parent is not in the training part, or its class or fold is another.
    """
    rows = pq.read_table(expanded / TABLE, columns=_LIGHT)
    films = read_cohort(cohort)
    parents = pc.coalesce(rows["parent_uri"], rows["uri"])
    place = pc.index_in(parents, value_set=films["uri"])
    wrong = pc.is_null(place)
    for name in ("split", "fold", "label", "image_id"):
        own = (
            pc.coalesce(rows["parent_id"], rows["image_id"]) if name == "image_id" else rows[name]
        )
        there = films[name].take(place)
        if name == "fold":
            own, there = pc.fill_null(own, -1), pc.fill_null(there, -1)
        wrong = pc.or_(wrong, pc.fill_null(pc.not_equal(own, there), True))
    bad = parents.filter(wrong)
    if len(bad):
        uri = min(bad.to_pylist())
        found = films.filter(pc.equal(films["uri"], uri)).to_pylist()
        now = f"in the {found[0]['split']} part" if found else "no film of the cohort"
        fold = f", fold {found[0]['fold']}, class {found[0]['label']!r}" if found else ""
        raise InputError(
            f"{expanded}: {len(bad):,} rows are of films that stand elsewhere in the cohort; "
            f"{uri} is now {now}{fold}: run `pulmospark expand` again"
        )
