"""What ``ccccii`` watches: manifest, split and audits of one tree, in a process of its own.

Says ``stage NAME`` as each begins, and ends with a line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import MASTER, say
from pulmospark.audit.run import run_audits
from pulmospark.audit.subject import subject_of
from pulmospark.config.audit import AuditSettings
from pulmospark.config.source import SourceSettings
from pulmospark.config.split import SplitSettings
from pulmospark.core import schemas
from pulmospark.core.hashing import bytes_id
from pulmospark.data.cohort.split import split
from pulmospark.data.cohort.split_summary import read_split
from pulmospark.data.ingest.ingest import IngestResult
from pulmospark.layouts.manifest import write_manifest
from pulmospark.spark.session import spark_session

SIDE = 32
"""of the pictures, pixels"""
_GROUP = 512
"""rows of a row group"""


def main(tree: Path, target: Path) -> None:
    """List ``tree`` into a manifest, split the slices that it names, and audit them."""
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
        done = split(ingested, {}, settings, target / "cohort", seed=1)
        seconds["split"] = round(time.perf_counter() - started, 3)
        say("stage audits")
        started = time.perf_counter()
        subject = subject_of(
            target / "tables" / "images",
            target / "cohort",
            AuditSettings(),
            seed=1,
            classes=read_split(target / "cohort").classes,
        )
        audits = run_audits(subject, target / "work", spark, quiet=True).audits
        seconds["audits"] = round(time.perf_counter() - started, 3)
        say("stage end")
    told = {
        "slices": count,
        "images": done.images,
        "notes": listings[0].notes.counts,
        "seconds": seconds,
        "audits": {one.name: (one.verdict, one.seconds) for one in audits},
    }
    say(json.dumps(told))


def write_images(manifest: Path, folder: Path) -> int:
    """An images table of a manifest's rows, each with a drawn picture; the number of rows."""
    folder.mkdir(parents=True)
    count = 0
    random = np.random.default_rng(5)
    with (
        pq.ParquetFile(manifest) as file,
        pq.ParquetWriter(folder / "0.parquet", schemas.IMAGES) as writer,
    ):
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group)
            for start in range(0, rows.num_rows, _GROUP):
                some = rows.slice(start, _GROUP)
                writer.write_table(_images(some, random), row_group_size=_GROUP)
            count += rows.num_rows
    return count


def _images(rows: pa.Table, random: np.random.Generator) -> pa.Table:
    number = rows.num_rows
    made: dict[str, Any] = {
        "image_id": [bytes_id(uri.encode()) for uri in rows["uri"].to_pylist()],
        "view_measured": [False] * number,
        "format": ["png"] * number,
        "height": [SIDE] * number,
        "width": [SIDE] * number,
        "pixels": [_picture(random) for _ in range(number)],
        "phash": [0] * number,
    }
    there = {**{name: rows[name] for name in rows.column_names}, **made}
    # What a header would say, and what comes from augmentation: not there.
    columns = [there.get(one.name, pa.nulls(number, one.type)) for one in schemas.IMAGES]
    return pa.table(columns, schema=schemas.IMAGES)


def _picture(random: np.random.Generator) -> bytes:
    """Coarse clouds: like a slice's greys, and like no other picture."""
    coarse = random.integers(0, 256, (8, 8), dtype=np.uint8)
    return bytes(cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
