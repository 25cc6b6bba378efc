"""Work handed to the executors chunk by chunk, without carrying pixels through the JVM.

A chunk is one row group of a Parquet file. A Spark task reads its row group itself, works on
it, and writes its output as a Parquet part named by the content of its input; only the part's
name and counts travel back. So a task that is retried, run twice by speculation, or run again
after a kill finds its part there or writes the same bytes again, and the driver alone decides
which parts make a table. Both sides must see the same file system.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import threading
import traceback
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.core import errors, limits
from pulmospark.core.errors import EnvironmentProblem, PulmosparkError
from pulmospark.core.files import disk_errors
from pulmospark.core.progress import Progress
from pulmospark.spark.failures import job_errors

if TYPE_CHECKING:  # half a second, which what only reads parts is spared
    from pyspark.resource import ResourceProfile
    from pyspark.sql import SparkSession

_POLL_S = 0.25
_SHARES_A_SLOT = 4
_NUMBERS_A_GROUP = 65_536
"""rows of a row group that holds numbers alone"""
_ROW_SCHEMA = "chunk bigint, parts string, error string"


class Work(Protocol):
    """What is done with a chunk; a frozen dataclass of plain values, sent to the executors."""

    @property
    def columns(self) -> Sequence[str] | None:
        """Columns to read; ``None``: all."""
        ...

    def key(self, chunk: pa.Table) -> str:
        """Name of the chunk's output: differs wherever the output would."""
        ...

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """The output: table name -> rows."""
        ...


@dataclass(frozen=True)
class Chunk:
    """One row group of one Parquet file."""

    path: str
    row_group: int
    rows: int


@dataclass(frozen=True)
class Part:
    """One Parquet file that a task wrote."""

    table: str
    path: Path
    rows: int


def chunks_of(files: Sequence[Path]) -> list[Chunk]:
    """The chunks of Parquet files, in their order."""
    found = []
    for file in files:
        metadata = pq.read_metadata(file)
        found += [
            Chunk(str(file), index, metadata.row_group(index).num_rows)
            for index in range(metadata.num_row_groups)
        ]
    return found


def run_chunks(
    spark: SparkSession,
    work: Work,
    chunks: Sequence[Chunk],
    folder: Path,
    progress: Progress,
    *,
    profile: ResourceProfile | None = None,
) -> list[Part]:
    """Do ``work`` on every chunk, on the executors; parts already in ``folder`` are kept.

    Args:
        spark: the session.
        work: what to do with a chunk.
        chunks: what to do it on.
        folder: where the parts are written; a killed run finds them there again.
        progress: told how many rows are done.
        profile: what a task asks Spark for, GPUs say; ``None``: as the session has it.

    Returns:
        The parts of all chunks, in the order of the chunks.

    Raises:
        PulmosparkError: what a task raised; the first in the order of the chunks.
        EnvironmentProblem: Spark gave the job up, or has ended itself.
    """
    if not chunks:
        return []
    # Inside: it needs pyspark, which a session brings along.
    from pulmospark.spark.session import slots  # noqa: PLC0415

    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    plan = [(chunk.path, chunk.row_group) for chunk in chunks]
    with job_errors():
        shares = shares_of(len(plan), slots(spark))
        task = _Task(work, tuple(plan), shares, str(folder))
        indices = spark.range(0, len(shares), 1, numPartitions=len(shares))
        frame = indices.mapInArrow(task, _ROW_SCHEMA, profile=profile)
    before = set(_parts_in(folder))
    rows_each = sum(chunk.rows for chunk in chunks) / len(chunks)
    with ThreadPoolExecutor(1, thread_name_prefix="spark-job") as pool:
        job = pool.submit(frame.collect)
        finished = threading.Event()
        job.add_done_callback(lambda _: finished.set())
        while not finished.wait(_POLL_S):
            progress.to(int(len(_parts_in(folder) - before) * rows_each))
        with job_errors():
            rows = sorted(job.result(), key=lambda row: row["chunk"])
    for row in rows:
        if row["error"]:
            raise error_from(row["error"])
    progress.to(sum(chunk.rows for chunk in chunks))
    return [
        Part(table, folder / name, count)
        for row in rows
        for table, name, count in json.loads(row["parts"])
    ]


def shares_of(count: int, at_once: int) -> tuple[tuple[int, int], ...]:
    """How many chunks each task takes: many at first, one at the end.

    A task costs 10 to 40 ms, whatever it does; but the last ones must be small, or one slot
    works on while the others wait. So each takes a share of what is left ("guided
    self-scheduling", Polychronopoulos and Kuck 1987), at most ``limits.TASK_CHUNKS_MAX``.

    Args:
        count: chunks.
        at_once: tasks that run at the same time.

    Returns:
        First chunk and number of chunks of each task.
    """
    shares = []
    start = 0
    while start < count:
        size = (count - start) // (_SHARES_A_SLOT * at_once)
        size = max(1, min(size, limits.TASK_CHUNKS_MAX))
        shares.append((start, size))
        start += size
    return tuple(shares)


@dataclass(frozen=True)
class _Task:
    """What Spark carries to the executors."""

    work: Work
    plan: tuple[tuple[str, int], ...]
    shares: tuple[tuple[int, int], ...]
    folder: str

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for index in self._chunks(batch.column(0).to_pylist()):
                parts, error = self._run(index)
                yield pa.RecordBatch.from_pydict(
                    {"chunk": [index], "parts": [parts], "error": [error]},
                    schema=pa.schema(
                        [("chunk", pa.int64()), ("parts", pa.string()), ("error", pa.string())]
                    ),
                )
        settle_worker()

    def _chunks(self, tasks: Sequence[int]) -> Iterator[int]:
        for start, size in (self.shares[task] for task in tasks):
            yield from range(start, start + size)

    def _run(self, index: int) -> tuple[str, str | None]:
        # An error travels back as a row: raised, Spark would try a lost cause four times and
        # bury its line in a Java stack.
        try:
            path, row_group = self.plan[index]
            return json.dumps(self._parts(path, row_group)), None
        except Exception as error:  # noqa: BLE001 - told to the driver, which raises it
            return "[]", error_row(error)

    def _parts(self, path: str, row_group: int) -> list[tuple[str, str, int]]:
        with pq.ParquetFile(path, metadata=_footer(path)) as file:
            columns = list(self.work.columns) if self.work.columns is not None else None
            chunk = file.read_row_group(row_group, columns=columns)
        key = self.work.key(chunk)
        record = Path(self.folder) / f"{key}.done"
        if record.is_file():
            told: list[tuple[str, str, int]] = json.loads(record.read_text(encoding="utf-8"))
            return told
        parts = []
        with disk_errors(Path(self.folder)):
            for table, rows in self.work(chunk).items():
                if rows.num_rows:
                    name = f"{table}-{key}.parquet"
                    write_part(rows, Path(self.folder) / name)
                    parts.append((table, name, rows.num_rows))
            _write_whole(record, json.dumps(parts).encode())
        return parts


def _footer(path: str) -> pq.FileMetaData:
    """A file's footer, read once a worker: with thousands of row groups that takes long."""
    facts = os.stat(path)  # noqa: PTH116 - a file that was written anew has another footer
    return _footer_of(path, facts.st_mtime_ns, facts.st_size)


@functools.lru_cache(maxsize=4)
def _footer_of(path: str, _modified_ns: int, _size: int) -> pq.FileMetaData:
    return pq.read_metadata(path)


@functools.cache  # once a worker
def settle_worker() -> None:
    """Take what was imported out of garbage collection.

    Spark's worker collects after every task, and would look through all that a few large
    libraries hold: that takes longer than many a task.
    """
    gc.freeze()


def write_part(rows: pa.Table, target: Path) -> None:
    """Write one Parquet file, whole or not at all.

    Pixels are stored as they are (compressing them costs more than reading them) and without
    statistics, which would repeat whole images in the footer.
    """
    light = [field.name for field in rows.schema if field.name not in {"pixels", "features"}]
    numbers = all(pa.types.is_integer(field.type) for field in rows.schema)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        pq.write_table(
            rows,
            aside,
            row_group_size=_NUMBERS_A_GROUP if numbers else limits.ROW_GROUP_ROWS,
            compression={
                field.name: "ZSTD" if field.name in light else "NONE" for field in rows.schema
            },
            use_dictionary=[
                name for name in light if pa.types.is_string(rows.schema.field(name).type)
            ],
            write_statistics=light,
        )
        os.replace(aside, target)  # noqa: PTH105 - the atomic one, also over a file
    finally:
        aside.unlink(missing_ok=True)


def _write_whole(target: Path, data: bytes) -> None:
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    aside.write_bytes(data)
    os.replace(aside, target)  # noqa: PTH105 - the atomic one, also over a file


def _parts_in(folder: Path) -> set[str]:
    return {name for name in os.listdir(folder) if name.endswith(".done")}  # noqa: PTH208 - fast


def error_row(error: Exception) -> str:
    """An error that is being handled, as the text that travels to the driver."""
    kind = error if isinstance(error, PulmosparkError) else None
    return json.dumps(
        {
            "kind": type(kind or EnvironmentProblem("")).__name__,
            "message": kind.message if kind else f"{type(error).__name__}: {error}",
            "detail": traceback.format_exc(),
        }
    )


def error_from(text: str) -> PulmosparkError:
    """The error that :func:`error_row` wrote down."""
    told: dict[str, Any] = json.loads(text)
    kind: type[PulmosparkError] = getattr(errors, told["kind"], EnvironmentProblem)
    return kind(told["message"], detail=told["detail"])


def link_parts(parts: Sequence[Path], folder: Path, *, numbered: bool = False) -> None:
    """Give a table's folder its parts by hard links, or copies where links can't be made.

    Args:
        parts: Parquet files, in the order of their rows.
        folder: of the table; made where it is not there.
        numbered: their names begin with their place, so that who reads the folder in the order
            of the names, as pandas and pyarrow do, has the rows in their order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for place, part in enumerate(parts):
        target = folder / (f"{place:06d}-{part.name}" if numbered else part.name)
        try:
            os.link(part, target)
        except OSError:
            target.write_bytes(part.read_bytes())


def parts_of(table: Path) -> list[Path]:
    """The Parquet files of a table, in the order of their names."""
    return sorted(table.glob("*.parquet"))


def write_empty(schema: pa.Schema, folder: Path) -> None:
    """Give a table without rows one part, so that its schema can be read."""
    write_part(schema.empty_table(), folder / "empty.parquet")
