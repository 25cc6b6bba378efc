"""Work on numbers that ends its worker at some, on a stand-in for Spark, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.chunks import Part, chunks_of, run_chunks
from pulmospark.core.progress import Progress
from pulmospark.spark.executor import SparkExecutor
from spark.local_spark import LocalSpark

COUNT, GROUP = 96, 24


@dataclass(frozen=True)
class Deadly:
    """Doubles numbers; at some it ends its worker, as too little memory does, or raises.

    Attributes:
        deadly: numbers.
        error: what is raised.
        tries: times that a number ends a worker; later calls succeed.
        calls: numbers of each call.
    """

    deadly: tuple[int, ...] = ()
    error: type[Exception] = MemoryError
    tries: int = 1000
    calls: list[list[int]] = field(default_factory=list)
    columns: Sequence[str] | None = None

    def key(self, chunk: pa.Table) -> str:
        return "-".join(map(str, chunk["number"].to_pylist()))

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        numbers = chunk["number"].to_pylist()
        ends = sum(bool(set(one) & set(self.deadly)) for one in self.calls)
        self.calls.append(numbers)
        if set(numbers) & set(self.deadly) and ends < self.tries:
            raise self.error(f"cannot double {numbers[0]}")
        return {"doubled": pa.table({"double": [2 * number for number in numbers]})}


@dataclass(frozen=True)
class RejectingDeadly(Deadly):
    def rejects(self, rows: pa.Table, detail: str) -> Mapping[str, pa.Table]:
        return {"rejects": rows.append_column("detail", [[detail] * rows.num_rows])}


def numbers_in(folder: Path) -> Path:
    """A folder with ``numbers.parquet``: 0 to 95 in four row groups."""
    numbers = range(COUNT)
    table = pa.table({"number": pa.array(numbers, pa.int64()), "uri": [f"/{n}" for n in numbers]})
    pq.write_table(table, folder / "numbers.parquet", row_group_size=GROUP)
    return folder


def run(place: Path, work: Deadly, spark: LocalSpark | None = None, **settings: Any) -> list[Part]:
    todo = chunks_of([place / "numbers.parquet"])
    progress = settings.pop("progress", None) or Progress("test", 0, quiet=True)
    session = cast("Any", spark or LocalSpark())
    folder = settings.pop("folder", place / "parts")
    executor = SparkExecutor(session, settings.pop("profile", None))
    return run_chunks(executor, work, todo, folder, progress, **settings)


def column(parts: list[Part], table: str, name: str) -> list[Any]:
    rows = [pq.read_table(part.path)[name].to_pylist() for part in parts if part.table == table]
    return [value for values in rows for value in values]
