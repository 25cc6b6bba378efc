"""The rows of an output that was prepared aside, and which of them its tables lack."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pulmospark import chunks
from pulmospark.core import files, lake_limits, schemas
from pulmospark.core.arrays import Hashes, Mask
from pulmospark.core.provenance import now_utc
from pulmospark.data.ingest.incremental import hashes
from pulmospark.inference.batch.scored_before import FILE, ScoredBefore, reject_hashes

_ATTEMPT = "append.json"


@dataclass(frozen=True)
class Attempt:
    """A prediction that is being added; a killed one continues under its name.

    Attributes:
        name: of its folder below ``runs``, and part of the ids of its transactions.
        begun: when, UTC.
    """

    name: str
    begun: datetime

    @classmethod
    def of(cls, work: Path) -> Attempt:
        """The attempt of a work folder, which a killed process may have begun."""
        path = work / _ATTEMPT
        if path.is_file():
            record = files.read_json(path)
            return cls(record["name"], datetime.fromisoformat(record["begun"]))
        begun = now_utc()
        attempt = cls(f"{begun:%Y-%m-%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}", begun)
        files.write_json(path, {"name": attempt.name, "begun": begun.isoformat()})
        return attempt


@dataclass(frozen=True)
class StagedRows:
    """The staged predictions as arrays over all their rows, in order."""

    parts: list[Path]
    keys: Hashes
    """of the files"""
    days: Any
    """dates of scoring, UTC, datetime64[D]"""
    new: Mask
    """rows that the table lacks"""
    repeated: Mask
    """rows of images that it has, from other files"""

    @classmethod
    def of(cls, staged: Path, before: ScoredBefore) -> StagedRows:
        """Read them.

        Args:
            staged: folder of the output as it was prepared.
            before: what the tables hold.
        """
        parts = chunks.parts_of(staged / "predictions")
        columns = [*FILE, "image_id", "predicted_at"]
        keys, ids, days = [], [], []
        for part in parts:
            rows = chunks.read_part(part, columns)
            keys.append(hashes(rows, FILE))
            ids.append(hashes(rows, ["image_id"]))
            days.append(rows["predicted_at"].to_numpy().astype("datetime64[D]"))
        all_keys, all_ids = np.concatenate(keys), np.concatenate(ids)
        first = np.zeros(len(all_ids), dtype=np.bool_)
        first[np.unique(all_ids, return_index=True)[1]] = True
        known_image = np.isin(all_ids, before.images)
        known_file = known_image & np.isin(all_keys, before.files)
        new = first & ~known_image
        return cls(parts, all_keys, np.concatenate(days), new, ~new & ~known_file)

    def chosen(self, mask: Mask) -> Iterator[pa.Table]:
        """The rows that a mask selects, bool (n,) over all parts, part by part."""
        start = 0
        for part in self.parts:
            table_rows = pq.read_metadata(part).num_rows
            yield from chunks.rows_where(part, mask[start : start + table_rows])
            start += table_rows

    def repeats(self, seen_at: datetime) -> Iterator[pa.Table]:
        """Rows of ``repeats``, of those whose file is known; others come from images tables."""
        for rows in self.chosen(self.repeated):
            known = rows.filter(pc.is_valid(rows["size_bytes"]))
            seen = pa.array([seen_at] * known.num_rows, pa.timestamp("us", tz="UTC"))
            names = [name for name in schemas.REPEATS.names if name != "seen_at"]
            yield known.select(names).append_column("seen_at", seen)


def new_rejects(staged: Path, before: ScoredBefore) -> Iterator[pa.Table]:
    """The rejects that the table lacks; one that was tried again is there already."""
    for part in chunks.parts_of(staged / "rejects"):
        for rows in chunks.rows_where(part):
            yield rows.filter(pa.array(~np.isin(reject_hashes(rows), before.rejects)))


def written(tables: Iterator[pa.Table], schema: pa.Schema, folder: Path) -> list[Path]:
    """Files of ``limits.COMPACT_ROWS`` rows and the rest; none without rows."""
    folder.mkdir()
    groups = chunks.regrouped(tables, schema, lake_limits.COMPACT_GROUP_ROWS)
    a_file = -(-lake_limits.COMPACT_ROWS // lake_limits.COMPACT_GROUP_ROWS)
    parts: list[Path] = []
    while (first := next(groups, None)) is not None:
        parts.append(folder / f"{len(parts):09d}.parquet")
        some = itertools.chain([first], itertools.islice(groups, a_file - 1))
        chunks.write_rows(some, parts[-1])
    return parts
