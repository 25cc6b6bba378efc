"""What ``ccccii`` watches: manifest and split of one tree, in a process of its own.

Says ``stage NAME`` as each begins, and ends with a line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import MASTER, say
from pulmospark.core import tables
from pulmospark.core.content import bytes_id
from pulmospark.core.settings import SourceSettings, SplitSettings
from pulmospark.data.ingest import IngestResult
from pulmospark.data.split import split
from pulmospark.layouts.manifest import write_manifest
from pulmospark.spark.session import spark_session


def main(tree: Path, target: Path) -> None:
    """List ``tree`` into a manifest, and split the slices that it names."""
    seconds: dict[str, float] = {}
    say("stage manifest")
    started = time.perf_counter()
    listings = write_manifest([SourceSettings(path=tree)], target / "manifest.parquet")
    seconds["manifest"] = round(time.perf_counter() - started, 3)
    say("stage between")
    count = write_images(target / "manifest.parquet", target / "tables" / "images")
    ingested = IngestResult(
        tables=target / "tables",
        images=count,
        rejects=0,
        files=count,
        already=0,
        formats={},
        rejects_by_reason={},
        sources=listings,
    )
    settings = SplitSettings(views=("axial",))
    with spark_session(MASTER) as spark:
        say("stage split")
        started = time.perf_counter()
        done = split(ingested, {}, settings, target / "cohort", spark, seed=1)
        seconds["split"] = round(time.perf_counter() - started, 3)
        say("stage end")
    told = {
        "slices": count,
        "films": done.films,
        "notes": listings[0].notes.counts,
        "seconds": seconds,
    }
    say(json.dumps(told))


def write_images(manifest: Path, folder: Path) -> int:
    """An images table of a manifest's rows, without pixels; the number of rows."""
    folder.mkdir(parents=True)
    count = 0
    with (
        pq.ParquetFile(manifest) as file,
        pq.ParquetWriter(folder / "0.parquet", tables.IMAGES) as writer,
    ):
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group)
            writer.write_table(_images(rows), row_group_size=rows.num_rows)
            count += rows.num_rows
    return count


def _images(rows: pa.Table) -> pa.Table:
    number = rows.num_rows
    made: dict[str, Any] = {
        "image_id": [bytes_id(uri.encode()) for uri in rows["uri"].to_pylist()],
        "view_measured": [False] * number,
        "format": ["png"] * number,
        "height": [32] * number,
        "width": [32] * number,
        "pixels": [b""] * number,
        "phash": [0] * number,
    }
    there = {**{name: rows[name] for name in rows.column_names}, **made}
    # What a header would say, and what comes from augmentation: not there.
    columns = [there.get(one.name, pa.nulls(number, one.type)) for one in tables.IMAGES]
    return pa.table(columns, schema=tables.IMAGES)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
