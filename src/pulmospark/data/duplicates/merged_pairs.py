"""The pairs that all tasks found, each once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pulmospark import chunks
from pulmospark.data.duplicates.hash_pairs import PAIRS

_PAIRS_A_CHUNK = (250, 4_000)
"""pairs that a task compares, at least and at most: one to some ten seconds"""
_CHUNKS = 64
"""of a range of first images, where the limits allow: enough for all cores to end together"""
_PAIRS_AT_ONCE = 8_000_000
"""pairs from all bands that are merged in memory: 160 MB"""


def write_pairs(parts: Sequence[chunks.Part], target: Path) -> None:
    """Write each pair once, with its smallest distance, in order; tasks may have found it twice.

    Holds in memory the pairs of a range of first images, some ``_PAIRS_AT_ONCE``.
    """
    paths = list(dict.fromkeys(part.path for part in parts))
    target.mkdir()
    for number, (low, high) in enumerate(_ranges(paths)):
        within = (pc.field("first") >= low) & (pc.field("first") < high)
        pairs = pa.concat_tables([pq.read_table(path, filters=within) for path in paths])
        nearest = pairs.group_by(["first", "second"]).aggregate([("distance", "min")])
        nearest = nearest.rename_columns({"distance_min": "distance"}).select(PAIRS.names)
        nearest = nearest.sort_by([("first", "ascending"), ("second", "ascending")])
        least, most = _PAIRS_A_CHUNK
        size = min(max(nearest.num_rows // _CHUNKS, least), most)
        pq.write_table(nearest, target / f"{number:05d}.parquet", row_group_size=size)


def _ranges(paths: Sequence[Path]) -> Iterator[tuple[int, int]]:
    """Ranges of first images, with some ``_PAIRS_AT_ONCE`` pairs each."""
    counts = np.zeros(0, np.int64)
    for path in paths:
        more = np.bincount(pq.read_table(path, columns=["first"])["first"].to_numpy())
        counts = np.pad(counts, (0, max(more.size - counts.size, 0)))
        counts[: more.size] += more
    ranges = np.cumsum(counts) // _PAIRS_AT_ONCE
    starts = [0, *(np.flatnonzero(np.diff(ranges)) + 1).tolist(), counts.size]
    return (pair for pair in itertools.pairwise(starts) if pair[1] > pair[0])
