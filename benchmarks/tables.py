"""Tables: commits of many parts, four writers at once, and readers while one is replaced."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import Options, Report, goal, say, scratch
from benchmarks.store import BUCKET, slow_server
from pulmospark.chunks.parts import publish_table
from pulmospark.core import files, lake_limits
from pulmospark.core.delta_log import write_log
from pulmospark.lake.append import append_version
from pulmospark.lake.table import open_table
from pulmospark.store.uri import StoreUri

PARTS = ((10, 0.2), (1_000, 0.3), (100_000, 10.0))
"""numbers of parts of a table, and the seconds in which it is to be committed"""
REPLACED = 1_000
WRITERS, COMMITS = 4, 10
_SCHEMA = pa.schema([pa.field("n", pa.int64())])
_GONE = ("not found", "no such file", "no files found", "expanded paths were empty")
"""in a reader's error: a file was listed before the replacement, and opened after it"""


def measure(options: Options) -> Report:
    """All parts in turn."""
    small = options.small
    with scratch(options) as folder:
        counts = PARTS[:2] if small else PARTS
        commits = {count: _commit(folder / f"table-{count}", count) for count, _ in counts}
        compacted = _compacted(folder / "compacted", 300 if small else 10_000)
        kept = {"disk": _writers(folder / "written", folder)}
        with slow_server(0):
            kept["store"] = _writers(StoreUri("s3", BUCKET, "written"), folder)
        readers = _readers(folder / "replaced", 20 if small else REPLACED)
    return _report(commits, compacted, kept, readers)


def _parts(folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.parquet" for number in range(count)]
    pq.write_table(pa.table({"n": [1] * 256}, schema=_SCHEMA), paths[0])
    content = paths[0].read_bytes()
    for path in paths[1:]:
        path.write_bytes(content)
    return paths


def _commit(folder: Path, count: int) -> float:
    """Seconds in which a table of so many files, linked from parts, gets its log."""
    paths = _parts(folder / "parts", count)
    least, lake_limits.COMPACT_PARTS_MIN = lake_limits.COMPACT_PARTS_MIN, count + 1
    try:
        return _published(paths, folder, f"commit of {count:,} parts")
    finally:
        lake_limits.COMPACT_PARTS_MIN = least


def _compacted(folder: Path, count: int) -> dict[str, float]:
    """Seconds in which a table of so many parts of 256 rows is merged, and the files it has."""
    paths = _parts(folder / "parts", count)
    seconds = _published(paths, folder, f"merging of {count:,} parts", kept=True)
    number = len(list((folder / "table/rows").glob("*.parquet")))
    shutil.rmtree(folder)
    return {"parts": count, "seconds": seconds, "files": number}


def _published(paths: list[Path], folder: Path, what: str, *, kept: bool = False) -> float:
    started = time.perf_counter()
    with files.whole_folder(folder / "table") as aside:
        publish_table(paths, aside / "rows", _SCHEMA)
    seconds = time.perf_counter() - started
    say(f"  {what}: {seconds:.2f} s")
    if not kept:
        shutil.rmtree(folder)
    return seconds


def _writers(table: Path | StoreUri, folder: Path) -> dict[str, float]:
    """Rows that are there after four writers of ten commits each, and the seconds."""
    parts = folder / f"parts-{type(table).__name__}"
    parts.mkdir()
    for number in range(WRITERS * COMMITS):
        pq.write_table(pa.table({"n": [number]}, schema=_SCHEMA), parts / f"{number}.parquet")

    def write(writer: int) -> None:
        for number in range(COMMITS):
            part = parts / f"{writer * COMMITS + number}.parquet"
            app: Any = {"app_id": f"writer-{writer}", "app_version": number}
            append_version(table, [part], _SCHEMA, **app)

    started = time.perf_counter()
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    seconds = time.perf_counter() - started
    rows = open_table(table).to_pyarrow_table()["n"].to_pylist()
    say(f"  four writers, {WRITERS * COMMITS} commits: {len(set(rows))} there, {seconds:.1f} s")
    return {"there": len(set(rows)), "rows": len(rows), "seconds": seconds}


def _reader_programs() -> Iterator[tuple[str, Callable[[str], list[int]]]]:
    import deltalake
    import duckdb
    import pandas
    import polars

    def of_duckdb(path: str) -> list[int]:
        with duckdb.connect() as connection:
            rows = connection.sql(f"SELECT n FROM read_parquet('{path}/*.parquet')").fetchall()
        return [row[0] for row in rows]

    yield "pyarrow", lambda path: pq.read_table(path)["n"].to_pylist()
    yield "pandas", lambda path: pandas.read_parquet(path)["n"].tolist()
    yield "DuckDB", of_duckdb
    yield "Polars", lambda path: polars.read_parquet(f"{path}/*.parquet")["n"].to_list()
    yield (
        "deltalake",
        lambda path: pa.table(deltalake.DeltaTable(path).to_pyarrow_table())["n"].to_pylist(),
    )


def _readers(folder: Path, times: int) -> dict[str, Any]:
    """Readers of a table that is replaced: how many saw half of it, or both."""
    folder.mkdir(parents=True)
    stop = threading.Event()
    programs = dict(_reader_programs())
    seen: dict[str, Counter[str]] = {name: Counter() for name in programs}

    def write(number: int) -> None:
        with files.whole_folder(folder / "table") as aside:
            for part in range(4):
                table = pa.table({"n": [number] * 25}, schema=_SCHEMA)
                # Named by their content, as all parts of ours are.
                pq.write_table(table, aside / f"{part}-{number}.parquet")
            write_log(aside, _SCHEMA)

    def follow(name: str) -> None:
        while not stop.is_set():
            seen[name][_outcome(programs[name], str(folder / "table"))] += 1

    write(0)
    threads = [threading.Thread(target=follow, args=(name,)) for name in programs]
    for thread in threads:
        thread.start()
    for number in range(1, times + 1):
        write(number)
    stop.set()
    for thread in threads:
        thread.join()
    for name, outcomes in seen.items():
        say(f"  {times:,} replacements, {name}: {dict(outcomes)}")
    return {"times": times, "seen": {name: dict(outcomes) for name, outcomes in seen.items()}}


def _outcome(read: Callable[[str], list[int]], path: str) -> str:
    """What a reader saw: ``whole``, ``half or both``, or the kind of its error."""
    try:
        numbers = read(path)
    except Exception as error:  # noqa: BLE001 - what a reader raises is what is counted
        text = str(error).lower()
        if isinstance(error, FileNotFoundError) or any(words in text for words in _GONE):
            return "a file was gone"
        # Listed when all files of the older table were deleted already.
        return "no files" if isinstance(error, KeyError) else f"error: {type(error).__name__}"
    return "whole" if len(numbers) == 100 and len(set(numbers)) == 1 else "half or both"


def _report(
    commits: dict[int, float],
    compacted: dict[str, float],
    kept: dict[str, dict[str, float]],
    readers: dict[str, Any],
) -> Report:
    written = WRITERS * COMMITS
    whole = all(
        "whole" in seen and "half or both" not in seen for seen in readers["seen"].values()
    )
    return Report(
        name="tables",
        title=f"Tables: commits, {WRITERS} writers, and readers of {readers['times']:,} versions",
        head=["what", "measured", "note"],
        rows=[
            *(
                (f"commit of {n:,} parts", f"{seconds:.2f} s", "")
                for n, seconds in commits.items()
            ),
            (
                f"merging {compacted['parts']:,.0f} parts",
                f"{compacted['seconds']:.2f} s",
                f"{compacted['files']:.0f} files",
            ),
            *(
                (
                    f"{WRITERS} writers, {written} commits, {place}",
                    f"{told['there']:.0f} there",
                    f"{told['seconds']:.1f} s",
                )
                for place, told in kept.items()
            ),
            *(
                (
                    f"{name} while replaced {readers['times']:,} times",
                    f"{outcomes.get('whole', 0):,} whole",
                    ", ".join(f"{n:,} {what}" for what, n in outcomes.items() if what != "whole"),
                )
                for name, outcomes in readers["seen"].items()
            ),
        ],
        notes=[
            *(
                goal(f"commit of {n:,} parts <= {most} s", commits[n] <= most)
                for n, most in PARTS
                if n in commits
            ),
            goal(
                f"{written} of {written} commits are there, once",
                all(told["there"] == told["rows"] == written for told in kept.values()),
            ),
            goal("readers see the table, and never half of one or both", whole),
        ],
        figures={
            "commits": {str(n): seconds for n, seconds in commits.items()},
            "compacted": compacted,
            "writers": kept,
            "readers": readers,
        },
    )
