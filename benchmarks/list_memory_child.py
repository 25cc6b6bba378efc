"""What ``list_memory`` runs: generated lists, and the real jobs over them."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import MASTER, finish, python, say
from pulmospark import chunks
from pulmospark.core import hashing, limits, schemas
from pulmospark.core.progress import Progress
from pulmospark.data.ingest.ingest import IngestWork
from pulmospark.inference.engine.tasks import FeatureWork, hashed_uris, open_scored
from pulmospark.spark.executor import SparkExecutor
from pulmospark.spark.session import spark_session
from pulmospark.training.data_loader import deal
from pulmospark.training.dataset import Listing, Piece
from pulmospark.training.mapped_listing import keep_listing, kept_listing

_BYTES = 80_000
"""of a listed file"""
_LOOKED_AT = 1_000
"""chunks at most, evenly spread over the list: what a worker holds of it does not wait for all"""
_SIDE = 8
"""of a listed image's pixels, in place of 224: they are not what is measured"""


@dataclass(frozen=True)
class Looking:
    """Reads the columns that the real work reads, and looks at its worker's memory.

    Attributes:
        columns: of the chunk.
        scored: file of the images that a fold scores; empty: none.
    """

    columns: Sequence[str] | None
    scored: str = ""

    def key(self, chunk: pa.Table) -> str:
        """The images."""
        return hashing.value_id(chunk["uri"].to_pylist())

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """A row of ``memory``."""
        if self.scored:
            np.searchsorted(open_scored(self.scored, ""), hashed_uris(chunk["uri"]))
        return {"memory": pa.table({"pid": [os.getpid()], "bytes": [own_bytes()]})}


def own_bytes() -> int:
    """Resident memory of this process that is no file's; bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


def write_list(path: Path, count: int) -> None:
    """A list of files as ``layouts.manifest`` writes it, of ``count`` files that are not there."""
    with pq.ParquetWriter(path, schemas.MANIFEST) as writer:
        for start in range(0, count, limits.LIST_GROUP_ROWS):
            rows = min(limits.LIST_GROUP_ROWS, count - start)
            uris = [
                f"/archive/hospital/{n // 100:08d}/{n:010d}.png"
                for n in range(start, start + rows)
            ]
            writer.write_table(_filled(schemas.MANIFEST, uris), row_group_size=rows)


def write_images(folder: Path, count: int) -> None:
    """An images table in parts of a chunk each, as ingest leaves it."""
    folder.mkdir()
    for start in range(0, count, limits.CHUNK_FILES_MAX):
        rows = min(limits.CHUNK_FILES_MAX, count - start)
        uris = [
            f"/archive/hospital/{n // 100:08d}/{n:010d}.png" for n in range(start, start + rows)
        ]
        chunks.write_part(_filled(schemas.IMAGES, uris), folder / f"images-{start:012d}.parquet")


def _filled(schema: pa.Schema, uris: list[str]) -> pa.Table:
    columns = dict(_same(schema, len(uris)))
    columns["uri"] = pa.array(uris, pa.string())
    return pa.table([columns[field.name] for field in schema], schema=schema)


@functools.lru_cache(maxsize=4)
def _same(schema: pa.Schema, rows: int) -> dict[str, pa.Array]:
    """Columns that are the same for all."""
    columns = {}
    for field in schema:
        values: list[object] = [None] * rows
        if field.name == "image_id":
            values = [hashing.value_id(number) for number in range(rows)]
        elif field.name == "size_bytes":
            values = [_BYTES] * rows
        elif field.name == "pixels":
            values = [bytes(_SIDE * _SIDE)] * rows
        elif not field.nullable:
            text = pa.types.is_string(field.type)
            values = ["text" if text else pa.scalar(0).cast(field.type).as_py()] * rows
        columns[field.name] = pa.array(values, field.type)
    return columns


def write_listing(folder: Path, count: int) -> None:
    """What a network is trained on, as the driver leaves it to the training processes."""
    keys = pa.chunked_array([[hashing.value_id(number) for number in range(count)]])
    pieces = tuple(
        Piece(
            folder / f"images-{start:012d}.parquet",
            0,
            np.arange(min(limits.CHUNK_FILES_MAX, count - start)),
            np.arange(start, min(start + limits.CHUNK_FILES_MAX, count)),
            min(limits.CHUNK_FILES_MAX, count - start),
        )
        for start in range(0, count, limits.CHUNK_FILES_MAX)
    )
    keep_listing(Listing(_SIDE, np.arange(count) % 3, keys, pieces), folder)


def opened(folder: Path) -> None:
    """What a training process does with the listing in an epoch, but for the pixels."""
    before = own_bytes()
    listing = kept_listing(folder)
    order = np.random.default_rng(1).permutation(len(listing.pieces))
    for piece in deal([listing.pieces[place] for place in order], 2)[0]:
        listing.batch(piece.images, np.zeros((len(piece.images), 1, 1), np.uint8))
    say(json.dumps({"worker_mib": round((own_bytes() - before) / 1024**2, 1)}))


def main(kind: str, count: int, folder: Path) -> None:
    """Write the list, run the job, end with a line of JSON."""
    if kind == "opened":
        opened(folder)
    elif kind == "training":
        write_listing(folder, count)
        _, output = finish(
            python("-m", "benchmarks.list_memory_child", "opened", "0", str(folder))
        )
        say(output.splitlines()[-1])
    else:
        say(json.dumps(_run(kind, count, folder)))


def _run(kind: str, count: int, folder: Path) -> dict[str, float]:
    if kind == "files":
        write_list(folder / "list.parquet", count)
        todo = chunks.listed_chunks([folder / "list.parquet"])
        work = Looking(IngestWork.columns)
    else:
        write_images(folder / "images", count)
        hashed = np.random.default_rng(1).integers(1, 2**63, count // 3, dtype=np.uint64)
        np.save(folder / "scored.npy", np.sort(hashed))
        todo = chunks.chunks_of(chunks.parts_of(folder / "images"))
        work = Looking(FeatureWork.columns, str(folder / "scored.npy"))
    listed = len(todo)
    todo = todo[:: max(listed // _LOOKED_AT, 1)]
    begun = time.perf_counter()
    with spark_session(MASTER) as spark:
        quiet = Progress("look", 0, quiet=True)
        parts = chunks.run_chunks(SparkExecutor(spark), work, todo, folder / "parts", quiet)
    most = max(max(pq.read_table(part.path)["bytes"].to_pylist()) for part in parts)
    return {
        "chunks": listed,
        "looked_at": len(todo),
        "worker_mib": round(most / 1024**2, 1),
        "seconds": round(time.perf_counter() - begun, 1),
    }


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
