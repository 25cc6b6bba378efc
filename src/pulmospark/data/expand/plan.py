"""Plan of an expansion: copies per image, and where the images' pixels lie."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pulmospark.core import limits, schemas
from pulmospark.core.arrays import Ints
from pulmospark.core.errors import ClassError, InputError
from pulmospark.core.schemas import Split

_COPIED = [name for name in schemas.COHORT.names if name != "reason"]

PLAN = pa.schema(
    [
        *(schemas.COHORT.field(name) for name in _COPIED),
        pa.field("part", pa.string(), nullable=False),  # file of the images table
        pa.field("stamp", pa.string(), nullable=False),  # the file's size and time
        pa.field("row_group", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),  # within the row group
        pa.field("draw", pa.int32(), nullable=False),  # 0: the image itself
    ]
)
"""One row per row of the expanded table; a row group is a task's work."""


@dataclass(frozen=True)
class ClassPlan:
    """Planned rows of a class of the training split.

    Attributes:
        label: the class.
        images: of the training split.
        copies: their augmented copies.
        most: copies per image, at most; the other images of the class have as many or one fewer.
    """

    label: str
    images: int
    copies: int
    most: int


def choose_parents(cohort: pa.Table, only: Sequence[str] | None = None) -> pa.Table:
    """The images to expand: those of the training split.

    Only training images get augmented copies. With folds, an image's ``split`` says whether the
    models that are not tested on its fold train on it, and on its copies.

    Args:
        cohort: all rows of the cohort table.
        only: paths or ids of the images to expand; ``None``: all.

    Raises:
        InputError: an image is not in the training split, or not in the cohort.
    """
    train = pc.equal(cohort["split"], Split.TRAIN.value)
    if only is None:
        return cohort.filter(train)
    names = pa.array(list(only), pa.string())
    # Copies of the file have the same id, but the cohort excludes them.
    by_id = pc.and_(pc.is_in(cohort["image_id"], names), pc.is_null(cohort["reason"]))
    chosen = cohort.filter(pc.or_(pc.is_in(cohort["uri"], names), by_id))
    known = {*chosen["uri"].to_pylist(), *chosen["image_id"].to_pylist()}
    if unknown := [name for name in only if name not in known]:
        raise InputError(f"{unknown[0]}: not in the cohort; give images by path or image_id")
    refused = chosen.filter(pc.not_equal(chosen["split"], Split.TRAIN.value)).sort_by("uri")
    if refused.num_rows:
        first = refused.slice(0, 1).to_pylist()[0]
        raise InputError(
            f"{first['uri']}: is in the {first['split']} split ({refused.num_rows:,} of "
            f"{len(only):,} are not in the training split): only training images can be expanded; "
            "remove it"
        )
    return chosen


def copies_of(
    labels: Sequence[str], ids: Sequence[str], classes: Sequence[str], per_class: int, seed: int
) -> tuple[Ints, tuple[ClassPlan, ...]]:
    """How many copies each image gets, so that each class has ``per_class`` rows.

    The images count. Copies are spread evenly: images of a class differ by at most one, and seed
    and id decide which have one more. A class with more images than that keeps them all.

    Args:
        labels: class of each image.
        ids: ``image_id`` of each image.
        classes: all classes.
        per_class: rows per class, including the images.
        seed: of the expansion.

    Returns:
        int64 (n,), copies of each image; and the plan of each class.

    Raises:
        ClassError: a class has no image.
    """
    counts = np.zeros(len(labels), dtype=np.int64)
    names = np.asarray(labels, dtype=object)
    plans = []
    for label in classes:
        members = np.flatnonzero(names == label)
        if not len(members):
            raise ClassError(
                f"the training split has no image of {label!r} to expand: use other shares, or "
                "more patients of the class"
            )
        copies = max(0, per_class - len(members))
        each, more = divmod(copies, len(members))
        order = sorted(members, key=lambda image: _order(seed, ids[int(image)]))
        counts[members] = each
        counts[np.asarray(order[:more], dtype=np.int64)] += 1
        plans.append(ClassPlan(label, len(members), copies, each + bool(more)))
    return counts, tuple(plans)


def _order(seed: int, image_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{image_id}".encode()).digest()


def write_plan(
    parents: pa.Table, copies: Ints, images: Path, target: Path, *, image_bytes: int
) -> int:
    """Write the plan, in the order of the images in the images table.

    Memory: some 40 bytes per row of the plan, plus the source images' rows.

    Args:
        parents: rows of the cohort.
        copies: int64 (n,), of each.
        images: the images table.
        target: the file to write.
        image_bytes: of one image's pixels.

    Returns:
        The number of rows.

    Raises:
        InputError: the images table lacks an image.
    """
    places = _places(images, parents["uri"])
    order = np.lexsort((places["row"], places["row_group"], places["part"]))
    rows = np.repeat(order, copies[order] + 1)
    starts = np.cumsum(copies[order] + 1) - (copies[order] + 1)
    draws = np.arange(len(rows)) - np.repeat(starts, copies[order] + 1)
    parts = sorted(images.glob("*.parquet"))
    names = pa.array([part.name for part in parts], pa.string())
    stamps = pa.array([_stamp(part) for part in parts], pa.string())
    step = max(1, min(limits.EXPAND_CHUNK_ROWS, limits.CHUNK_BYTES_MAX // image_bytes))
    with pq.ParquetWriter(target, PLAN, compression="zstd") as writer:
        for start in range(0, len(rows), step):
            here = rows[start : start + step]
            part = pa.array(places["part"][here])
            columns = [parents[name].take(pa.array(here)) for name in _COPIED]
            columns += [names.take(part), stamps.take(part)]
            columns += [pa.array(places[name][here], pa.int32()) for name in ("row_group", "row")]
            columns.append(pa.array(draws[start : start + step], pa.int32()))
            table = pa.table(columns, schema=PLAN)
            writer.write_table(table, row_group_size=len(here))
    return len(rows)


def _stamp(part: Path) -> str:
    facts = part.stat()
    return f"{facts.st_size}:{facts.st_mtime_ns}"


def _places(images: Path, uris: pa.ChunkedArray) -> dict[str, Ints]:
    """Where each image lies: number of its file, row group, row; int64 (n,) each."""
    places = {
        name: np.full(len(uris), -1, dtype=np.int64) for name in ("part", "row_group", "row")
    }
    for part, row_group, names in _groups(images):
        index = pc.index_in(names, value_set=uris)
        rows = np.flatnonzero(pc.is_valid(index).to_numpy())
        members = pc.drop_null(index).to_numpy()
        places["part"][members], places["row_group"][members] = part, row_group
        places["row"][members] = rows
    lacking = np.flatnonzero(places["row"] < 0)
    if len(lacking):
        raise InputError(
            f"{images}: lacks {len(lacking):,} images of the cohort, such as "
            f"{uris[int(lacking[0])]}: run `pulmospark split` again"
        )
    return places


def _groups(images: Path) -> Iterator[tuple[int, int, pa.ChunkedArray]]:
    for number, path in enumerate(sorted(images.glob("*.parquet"))):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield number, group, file.read_row_group(group, columns=["uri"])["uri"]
