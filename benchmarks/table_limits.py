"""What the limits of published tables rest on: tries of a commit, and files of a table."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import Options, Report, goal, say, scratch
from benchmarks.store import BUCKET, DELAY_MS, slow_server
from pulmospark.core import lake_limits
from pulmospark.lake import append
from pulmospark.lake.append import append_version
from pulmospark.lake.table import open_table
from pulmospark.store.uri import StoreUri

WRITERS = (4, 16)
COMMITS = 5
FILES = (1, 8, 16, 64, 256, 1_024)
PART_ROWS = 256
_SCHEMA = pa.schema([pa.field("n", pa.int64()), pa.field("probability", pa.list_(pa.float64()))])


def measure(options: Options) -> Report:
    """Tries of writers at once, and seconds to read tables of more and more files."""
    writers = WRITERS[:1] if options.small else WRITERS
    files = FILES[:2] if options.small else FILES
    repeats = options.repeats or (1 if options.small else 3)
    with scratch(options) as folder:
        parts = _parts(folder / "parts", files[-1])
        tries = {f"{n} writers, disk": _tries(folder / f"disk-{n}", parts, n) for n in writers}
        with slow_server(0):
            for n in writers:
                place = StoreUri("s3", BUCKET, f"written-{n}")
                tries[f"{n} writers, store"] = _tries(place, parts, n)
        reads = {"disk": _reads(folder / "read", parts, files, repeats)}
        with slow_server(DELAY_MS):
            place = StoreUri("s3", BUCKET, "read")
            reads[f"store, {DELAY_MS} ms"] = _reads(place, parts, files, repeats)
    return _report(tries, reads)


def _parts(folder: Path, count: int) -> list[Path]:
    """Files of as many rows as a chunk has, with probabilities of three classes."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    paths = [folder / f"{number:05}.parquet" for number in range(count)]
    for number, path in enumerate(paths):
        values = random.dirichlet([1, 1, 1], PART_ROWS).tolist()
        numbers = range(number * PART_ROWS, (number + 1) * PART_ROWS)
        pq.write_table(pa.table({"n": numbers, "probability": values}, schema=_SCHEMA), path)
    return paths


def _tries(table: Path | StoreUri, parts: list[Path], writers: int) -> dict[str, Any]:
    """How often the slowest commit of so many writers at once was tried, and the seconds."""
    lost: Counter[tuple[int, int]] = Counter()
    commit = append._Commit

    class Counted(commit):  # type: ignore[misc, valid-type]
        """A commit whose tries are counted."""

        def append(self, delta: Any, placed: Any) -> int:
            lost[threading.get_ident(), self.app_version] += 1
            return int(super().append(delta, placed))

    def write(writer: int) -> None:
        for number in range(COMMITS):
            app: Any = {"app_id": f"writer-{writer}", "app_version": number}
            append_version(table, [parts[number % len(parts)]], _SCHEMA, **app)

    append._Commit = Counted  # type: ignore[misc]
    try:
        started = time.perf_counter()
        with ThreadPoolExecutor(writers) as pool:
            list(pool.map(write, range(writers)))
        seconds = time.perf_counter() - started
    finally:
        append._Commit = commit  # type: ignore[misc]
    counts = sorted(lost.values())
    version = open_table(table).version()
    say(
        f"  {writers} writers, {type(table).__name__}: at most {counts[-1]} tries, {seconds:.1f} s"
    )
    return {
        "most": counts[-1],
        "median": statistics.median(counts),
        "there": version + 1,
        "commits": writers * COMMITS,
        "seconds": seconds,
    }


def _reads(
    table: Path | StoreUri, parts: list[Path], files: tuple[int, ...], repeats: int
) -> dict[int, float]:
    """Number of files -> median seconds in which all rows of all parts are read from them."""
    rows = pa.concat_tables([pq.read_table(part) for part in parts])
    seconds = {}
    for count in files:
        place = table / str(count)
        merged = []
        share = rows.num_rows // count
        for number in range(count):
            path = parts[0].with_name(f"merged-{number:05}.parquet")
            pq.write_table(rows.slice(number * share, share), path, compression="ZSTD")
            merged.append(path)
        append_version(place, merged, _SCHEMA, app_id="a", app_version=0)
        seconds[count] = statistics.median(_read(place, rows.num_rows) for _ in range(repeats))
        say(f"  {count:,} files, {type(table).__name__}: {seconds[count]:.2f} s")
        for path in merged:
            path.unlink()
    return seconds


def _read(place: Path | StoreUri, rows: int) -> float:
    started = time.perf_counter()
    table = pa.table(open_table(place).to_pyarrow_table())
    assert table.num_rows == rows
    return time.perf_counter() - started


def _report(tries: dict[str, dict[str, Any]], reads: dict[str, dict[int, float]]) -> Report:
    whole = all(of["there"] == of["commits"] for of in tries.values())
    most = max(of["most"] for of in tries.values())
    return Report(
        name="table_limits",
        title="Limits of tables: tries of a commit, and files of a table",
        head=["what", "measured", "note"],
        rows=[
            *(
                (
                    f"{who}, {of['commits']} commits",
                    f"{of['most']} tries",
                    f"{of['seconds']:.1f} s",
                )
                for who, of in tries.items()
            ),
            *(
                (f"reading {count:,} files, {where}", f"{seconds:.2f} s", "")
                for where, of in reads.items()
                for count, seconds in of.items()
            ),
        ],
        notes=[
            goal("no commit is lost", whole),
            goal(f"tries < {lake_limits.APPEND_TRIES}", most < lake_limits.APPEND_TRIES),
        ],
        figures={
            "tries": tries,
            "reads": {w: {str(n): s for n, s in of.items()} for w, of in reads.items()},
        },
    )
