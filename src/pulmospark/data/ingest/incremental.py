"""Incremental ingest: which files must be read again, and which existing rows stay.

Files are compared by a 64-bit hash of their manifest row, so the driver holds 8 bytes per file.
A file whose size, time or metadata changed is read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pulmospark import chunks
from pulmospark.chunks.compaction import rows_of_file
from pulmospark.chunks.parquet_files import Place, open_parquet, open_whole
from pulmospark.core import schemas
from pulmospark.core.arrays import Hashes, Mask
from pulmospark.core.schemas import RejectReason

PASSING = (RejectReason.VANISHED.value, RejectReason.UNREADABLE.value)
"""rejects that another attempt may read"""

LISTED = [
    *(name for name in schemas.MANIFEST.names if name in schemas.IMAGES.names),
    "header_patient",
]
"""columns of the manifest that identify a row; ``listed`` is their hash. The row itself may hold
more, from the pixels or a DICOM header."""

FILE_KEY = ["uri", "source", "size_bytes", "modified_ns"]
"""columns that identify a file as it was when it was read"""


@dataclass(frozen=True)
class Already:
    """Existing rows to keep, and files still to read.

    Attributes:
        pending: manifests of the files to read; their row groups are chunks.
        images: parts of the images table that stay.
        rejects: parts of the rejects table that stay.
    """

    pending: Sequence[Place]
    images: list[Path]
    rejects: list[Path]


def compare(manifest: Path, target: Path, work: Path) -> Already:
    """Compare a fresh manifest with the tables in ``target``.

    Args:
        manifest: of the files as they are now.
        target: folder of the tables.
        work: folder for rewritten manifests and parts.
    """
    images, rejects = chunks.parts_of(target / "images"), chunks.parts_of(target / "rejects")
    listed_images, listed_rejects = _listed(manifest)
    done_images = _joined(_image_hashes(part) for part in images)
    done_rejects = _joined(_reject_hashes(part) for part in rejects)
    fresh = ~(np.isin(listed_images, done_images) | np.isin(listed_rejects, done_rejects))
    work.mkdir(parents=True, exist_ok=True)
    return Already(
        pending=pending_rows(manifest, fresh, work / "pending.parquet"),
        images=[
            kept
            for part in images
            for kept in _kept(part, np.isin(_image_hashes(part), listed_images), work)
        ],
        rejects=[
            kept
            for part in rejects
            for kept in _kept(part, np.isin(_reject_hashes(part), listed_rejects), work)
        ],
    )


def _listed(manifest: Path) -> tuple[Hashes, Hashes]:
    images, rejects = [], []
    with pq.ParquetFile(manifest) as file:
        for index in range(file.num_row_groups):
            rows = file.read_row_group(index)
            images.append(hashes(rows, LISTED))
            rejects.append(hashes(rows, FILE_KEY))
    return _joined(iter(images)), _joined(iter(rejects))


def _image_hashes(part: Path) -> Hashes:
    listed = chunks.read_part(part, columns=["listed"]).column(0)
    return np.asarray(pc.fill_null(listed, 0).to_numpy()).view(np.uint64)


def _reject_hashes(part: Path) -> Hashes:
    rows = chunks.read_part(part, columns=[*FILE_KEY, "reason"])
    keys = hashes(rows, FILE_KEY)
    passing = np.asarray([reason in PASSING for reason in rows["reason"].to_pylist()], dtype=bool)
    return np.where(passing, np.uint64(0), keys)


def hashes(rows: pa.Table, columns: Sequence[str] = LISTED) -> Hashes:
    """A hash of each row's values, never 0; (n,)."""
    values = zip(*(rows[name].to_pylist() for name in columns), strict=True)
    digests = (blake2b(repr(row).encode(), digest_size=8).digest() for row in values)
    hashed = np.frombuffer(b"".join(digests), np.uint64)
    return np.maximum(hashed, np.uint64(1))  # 0 stands for "to be read again"


def _joined(several: Iterator[Hashes]) -> Hashes:
    return np.concatenate([np.zeros(0, dtype=np.uint64), *several])


def pending_rows(manifest: Place, fresh: Mask, target: Path) -> list[Place]:
    """The rows still to be read as a manifest of their own, chunk by chunk.

    Args:
        manifest: of n files.
        fresh: whether each is still to be read; bool (n,).
        target: file for the new manifest, written if only some are.
    """
    if fresh.all():
        return [manifest]
    if not fresh.any():
        return []
    start = 0
    with open_parquet(manifest) as file, pq.ParquetWriter(target, schemas.MANIFEST) as writer:
        for index in range(file.num_row_groups):
            rows = file.read_row_group(index)
            chosen = rows.filter(pa.array(fresh[start : start + rows.num_rows]))
            start += rows.num_rows
            if chosen.num_rows:
                writer.write_table(chosen, row_group_size=chosen.num_rows)
    return [target]


def _kept(part: Path, stays: Mask, work: Path) -> list[Path]:
    """A part as it is where all its rows stay, written anew where some do."""
    if stays.all():
        return [part] if len(stays) else []
    if not stays.any():
        return []
    target = work / f"{part.stem}-{int(stays.sum())}.parquet"
    with open_whole(part) as file:  # of a light part the pixels are read from the store
        chunks.write_rows(rows_of_file(file, stays), target)
    return [target]
