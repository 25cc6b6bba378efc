"""How far films lie from others in a network's features, and what executors do with a chunk."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.core import content, tables

Reals = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]
Groups = npt.NDArray[np.integer[Any]]

_NEIGHBOURS_SHARE, _NEIGHBOURS_MIN = 0.05, 5
"""of the films that others are measured by: strange films that are like each other, hands say,
are near their own kind, and stand out only from more neighbours than there are of them"""
_ROWS_AT_ONCE = 256
_FENCE_RANGES = 3.0

REFERENCE = pa.schema([("group", pa.int32()), ("features", pa.list_(pa.float32()))])
"""The films that others are measured by: number of the patient, features at length 1."""

MEASURED = pa.schema([("uri", pa.string()), ("group", pa.int32())])
"""The films that are measured, with the number of the patient as in :data:`REFERENCE`."""


def distances(
    films: Reals, reference: Reals, groups: Groups | None = None, others: Groups | None = None
) -> Floats:
    """Mean distance to the nearest of a reference, features at length 1.

    The nearest are a twentieth of the reference, five at least.

    Args:
        films: (n, width).
        reference: (m, width).
        groups: (n,) patients of the films: those of the same patient do not count.
        others: (m,) patients of the reference; ``None``: it is of the same films.

    Returns:
        (n,), 0 to 2; the nearest of nothing is 2 away.
    """
    one, other = unit(films), unit(reference)
    others = groups if others is None else others
    found = np.empty(len(one))
    count = min(max(_NEIGHBOURS_MIN, round(_NEIGHBOURS_SHARE * len(other))), len(other))
    for start in range(0, len(one), _ROWS_AT_ONCE):
        near = one[start : start + _ROWS_AT_ONCE] @ other.T
        if groups is not None and others is not None:
            near[groups[start : start + _ROWS_AT_ONCE, None] == others[None, :]] = -1.0
        best = np.partition(near, -count, axis=1)[:, -count:]
        apart = np.sqrt(np.maximum(2.0 - 2.0 * best, 0.0)).mean(axis=1)
        found[start : start + _ROWS_AT_ONCE] = apart
    return found


def fence(scores: Floats) -> float:
    """Outer fence of distances: third quartile and three ranges between quartiles (Tukey)."""
    low, high = np.quantile(scores, [0.25, 0.75])
    return float(high + _FENCE_RANGES * (high - low))


def unit(features: Reals) -> Reals:
    """Features (n, width) at length 1."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / (length + 1e-12), features.dtype)


@dataclass(frozen=True)
class DistanceWork:
    """Deep features to rows of ``distances``.

    Attributes:
        reference: Parquet file of :data:`REFERENCE`.
        films: Parquet file of :data:`MEASURED`; other films of a chunk are left out.
        told_id: of the content of both files.
        fence: distance beyond which a film is called unlike all others.
    """

    reference: str
    films: str
    told_id: str
    fence: float
    columns: Sequence[str] = ("image_id", "uri", "features")

    def key(self, chunk: pa.Table) -> str:
        """What films are measured by, and their features."""
        features = chunk["features"].combine_chunks().flatten().to_numpy()
        seen = hashlib.sha256(features.tobytes()).hexdigest()
        names = [chunk["image_id"].to_pylist(), chunk["uri"].to_pylist()]
        return content.value_id(["distances-1", self.told_id, seen, *names])

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``distances``."""
        numbers = _numbers(self.films, self.told_id)
        chunk = chunk.filter(pa.array([uri in numbers for uri in chunk["uri"].to_pylist()]))
        if not chunk.num_rows:
            return {}
        others, reference = _reference(self.reference, self.told_id)
        flat = chunk["features"].combine_chunks().flatten().to_numpy()
        groups = np.asarray([numbers[uri] for uri in chunk["uri"].to_pylist()], np.int32)
        # As they are stored: rounded later, a film could stand on the other side of the fence.
        found = distances(flat.reshape(chunk.num_rows, -1), reference, groups, others).astype(
            np.float32
        )
        columns = [chunk["image_id"], chunk["uri"], pa.array(found), pa.array(found > self.fence)]
        return {"distances": pa.table(columns, schema=tables.DISTANCES)}


@functools.lru_cache(maxsize=1)
def _numbers(path: str, _told_id: str) -> dict[str, int]:
    rows = pq.read_table(path)
    return dict(zip(rows["uri"].to_pylist(), rows["group"].to_pylist(), strict=True))


@functools.lru_cache(maxsize=1)
def _reference(path: str, _told_id: str) -> tuple[Groups, Reals]:
    rows = pq.read_table(path)
    flat = rows["features"].combine_chunks().flatten().to_numpy()
    return rows["group"].to_numpy(), flat.reshape(rows.num_rows, -1)
