"""What ``list_memory`` runs: generated lists, and the real jobs over them."""

from __future__ import annotations

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

from benchmarks.common import MASTER, say
from pulmospark.core import content, limits, tables
from pulmospark.core.progress import Progress
from pulmospark.data.ingest import IngestWork
from pulmospark.scoring.predict_work import FilesWork
from pulmospark.scoring.works import FeatureWork, ScoreWork, _hashed, _scored
from pulmospark.spark import chunks
from pulmospark.spark.session import spark_session

_BYTES = 80_000
"""of a listed file"""
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
        return content.value_id(chunk["uri"].to_pylist())

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """A row of ``memory``."""
        if self.scored:
            np.searchsorted(_scored(self.scored, ""), _hashed(chunk["uri"]))
        return {"memory": pa.table({"pid": [os.getpid()], "bytes": [own_bytes()]})}


def own_bytes() -> int:
    """Resident memory of this process that is no file's; bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


def write_list(path: Path, count: int) -> None:
    """A list of files as ``layouts.manifest`` writes it, of ``count`` files that are not there."""
    with pq.ParquetWriter(path, tables.MANIFEST) as writer:
        for start in range(0, count, limits.LIST_GROUP_ROWS):
            rows = min(limits.LIST_GROUP_ROWS, count - start)
            uris = [
                f"/archive/hospital/{n // 100:08d}/{n:010d}.png"
                for n in range(start, start + rows)
            ]
            writer.write_table(_filled(tables.MANIFEST, uris), row_group_size=rows)


def write_images(folder: Path, count: int) -> None:
    """An images table in parts of a chunk each, as ingest leaves it."""
    folder.mkdir()
    for start in range(0, count, limits.CHUNK_FILES_MAX):
        rows = min(limits.CHUNK_FILES_MAX, count - start)
        uris = [
            f"/archive/hospital/{n // 100:08d}/{n:010d}.png" for n in range(start, start + rows)
        ]
        chunks.write_part(_filled(tables.IMAGES, uris), folder / f"images-{start:012d}.parquet")


def _filled(schema: pa.Schema, uris: list[str]) -> pa.Table:
    columns = []
    for field in schema:
        if field.name == "uri":
            values: list[object] = list(uris)
        elif field.name == "image_id":
            values = [content.value_id(uri) for uri in uris]
        elif field.name == "size_bytes":
            values = [_BYTES] * len(uris)
        elif field.name == "pixels":
            values = [bytes(_SIDE * _SIDE)] * len(uris)
        elif field.nullable:
            values = [None] * len(uris)
        else:
            text = pa.types.is_string(field.type)
            values = ["text" if text else pa.scalar(0).cast(field.type).as_py()] * len(uris)
        columns.append(pa.array(values, field.type))
    return pa.table(columns, schema=schema)


def main(kind: str, count: int, folder: Path) -> None:
    """Write the list, run the job, end with a line of JSON."""
    if kind == "files":
        write_list(folder / "list.parquet", count)
        todo = chunks.listed_chunks([folder / "list.parquet"])
        work = Looking(IngestWork.columns)
        assert IngestWork.columns == FilesWork.columns
    else:
        write_images(folder / "images", count)
        hashed = np.random.default_rng(1).integers(1, 2**63, count // 3, dtype=np.uint64)
        np.save(folder / "scored.npy", np.sort(hashed))
        todo = chunks.chunks_of(chunks.parts_of(folder / "images"))
        work = Looking(FeatureWork.columns, str(folder / "scored.npy"))
        assert FeatureWork.columns == ScoreWork.columns
    begun = time.perf_counter()
    with spark_session(MASTER) as spark:
        quiet = Progress("look", 0, quiet=True)
        parts = chunks.run_chunks(spark, work, todo, folder / "parts", quiet)
    most: dict[int, int] = {}
    for part in parts:
        for row in pq.read_table(part.path).to_pylist():
            most[row["pid"]] = max(most.get(row["pid"], 0), row["bytes"])
    told = {
        "chunks": len(todo),
        "worker_mib": round(max(most.values()) / 1024**2, 1),
        "workers": len(most),
        "seconds": round(time.perf_counter() - begun, 1),
    }
    say(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
