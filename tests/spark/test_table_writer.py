"""``df.write.format("pulmospark")`` on a disk and in a store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import array, col, lit

from pulmospark.chunks.parquet_files import place_of
from pulmospark.core import lake_limits, schemas
from pulmospark.core.delta_log import write_log
from pulmospark.core.errors import InputError, SourceUnavailableError
from pulmospark.lake import append
from pulmospark.lake.append import append_version, commit_files
from pulmospark.lake.table import open_table
from pulmospark.spark.table_writer import TableWriter, _Written
from pulmospark.store.append_log import NewFile
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri
from spark.own_session import in_own_session
from store.conftest import bucket, s3_endpoint

__all__ = ["bucket", "s3_endpoint"]

SCHEMA = pa.schema([pa.field("n", pa.int64(), nullable=False)])


@pytest.fixture(params=["disk", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Where a table is to be."""
    return tmp_path / "a b" if request.param == "disk" else request.getfixturevalue("bucket") / "t"


def _names(place: Path | StoreUri) -> list[str]:
    """Files below a table's folder, its log excluded."""
    if isinstance(place, StoreUri):
        names = [entry.uri.key for entry in open_store(place).list(place.prefix)]
    else:
        names = (
            [str(path) for path in place.rglob("*") if path.is_file()] if place.is_dir() else []
        )
    return [name for name in names if "_delta_log" not in name]


def _numbers(place: Path | StoreUri, version: int | None = None) -> list[int]:
    return sorted(open_table(place, version).to_pyarrow_table()["n"].to_pylist())


def _killed_in_one_task(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        if 3 in batch["n"].to_list():
            os._exit(1)
        yield batch


def written(spark: SparkSession, text: str) -> list[Any]:
    """Write versions of a table, and what became of each."""
    place = place_of(text)
    frame = spark.range(0, 6, numPartitions=3).withColumnRenamed("id", "n")

    def save(what: DataFrame, mode: str) -> str:
        try:
            what.write.format("pulmospark").mode(mode).save(text)
        except (PySparkException, Py4JJavaError) as error:  # the latter of a crashed worker
            return str(error)
        return "saved"

    seen: list[Any] = [save(frame, "append"), save(frame.where("n < 2"), "append")]
    seen.append([_numbers(place, 0), _numbers(place, 1)])
    killed = frame.mapInPandas(_killed_in_one_task, "n long")
    seen.append(save(killed, "append") != "saved")
    seen.append(save(killed, "overwrite") != "saved")
    seen.append([open_table(place).version(), _numbers(place), len(_names(place))])
    for wrong in (
        frame.withColumn("more", lit(1)),
        frame.select(col("n").cast("string").alias("n")),
        frame.select(lit(None).cast("long").alias("n")),
    ):
        seen.append(save(wrong, "append"))
    other = frame.select(lit("x").alias("name"), array(lit(0.5)).alias("probability"))
    seen.append(save(other.limit(1), "overwrite"))
    now = spark.read.format("pulmospark").load(text)
    seen.append([[*row] for row in now.collect()] + [now.columns])
    seen.append([open_table(place).version(), _numbers(place, 1)])
    return seen


@pytest.mark.spark
def test_a_frame_is_a_version_or_nothing(place: Path | StoreUri, spark: SparkSession) -> None:
    if isinstance(place, Path):
        seen = written(spark, str(place))
    else:
        seen = in_own_session("test_table_writer", "written", place)
    assert seen[:2] == ["saved"] * 2
    assert seen[2] == [[*range(6)], [0, 0, 1, 1, *range(2, 6)]]
    assert seen[3:5] == [True, True], "a task was killed"
    assert seen[5] == [1, [0, 0, 1, 1, *range(2, 6)], 4], "no half version, and no file is left"
    assert "has no column 'more'" in seen[6]
    assert "column 'n' has type int64, not string" in seen[7]
    assert "column 'n' must not be null, but is in" in seen[8]
    assert seen[9] == "saved"
    assert seen[10] == [["x", [0.5]], ["name", "probability"]]
    assert seen[11] == [2, [0, 0, 1, 1, *range(2, 6)]], "the older version is still there"


@pytest.mark.spark
def test_published_tables_come_back_as_they_were(spark: SparkSession, tmp_path: Path) -> None:
    for name, schema in {"images": schemas.IMAGES, "predictions": schemas.PREDICTIONS}.items():
        folder = tmp_path / name
        folder.mkdir()
        row = {field.name: _example(field.type) for field in schema}
        pq.write_table(pa.Table.from_pylist([row], schema), folder / "part.parquet")
        write_log(folder, schema)
        frame = spark.read.format("pulmospark").load(str(folder))
        frame.write.format("pulmospark").mode("append").save(str(folder))
        table = deltalake.DeltaTable(folder)
        assert table.version() == 1, "no column was added or changed"
        rows = pa.table(table.to_pyarrow_table())
        assert rows.num_rows == 2
        assert rows.slice(0, 1).equals(rows.slice(1, 1))
        assert {path: pq.read_schema(path) for path in folder.glob("spark-*")}.popitem()[1].equals(
            schema
        )


def _example(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return [_example(kind.value_type)] * 2
    if pa.types.is_timestamp(kind):
        return 1_700_000_000_123_456
    values = {pa.string(): "ü", pa.binary(): b"\0\xff", pa.bool_(): True}
    return values.get(kind, 7)


@pytest.mark.spark
def test_what_is_no_table_stays_as_it_is(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.range(2).withColumnRenamed("id", "n")
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(PySparkException, match=r"is not empty \('thesis.txt'\), and no Delta"):
        frame.write.format("pulmospark").mode("overwrite").save(str(tmp_path))
    part = tmp_path / "part.parquet"
    pq.write_table(pa.table({"n": [1]}, schema=SCHEMA), part)
    dated = SCHEMA.append(pa.field("date", pa.date32()))
    app: Any = {"app_id": "a", "app_version": 0, "partition": {"date": "2026-11-30"}}
    append_version(tmp_path / "dated", [part], dated, **app)
    with pytest.raises(PySparkException, match="is partitioned by date"):
        frame.write.format("pulmospark").mode("append").save(str(tmp_path / "dated"))
    with pytest.raises(PySparkException, match="does not write: cast it"):
        frame.selectExpr("map(n, n) AS m").write.format("pulmospark").mode("append").save(
            str(tmp_path / "new")
        )
    with pytest.raises(PySparkException, match="unknown option version: its options are path"):
        frame.write.format("pulmospark").option("version", 1).mode("append").save(
            str(tmp_path / "new")
        )
    frame.where("n > 9").write.format("pulmospark").mode("append").save(str(tmp_path / "new"))
    assert spark.read.format("pulmospark").load(str(tmp_path / "new")).columns == ["n"]


def test_a_task_holds_one_file(place: Path | StoreUri, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_limits, "SINK_PART_BYTES", 1)
    monkeypatch.setattr(lake_limits, "COMPACT_GROUP_ROWS", 3)
    writer = TableWriter(place, SCHEMA, replace=False)
    batches = pa.table({"n": range(7)}, schema=SCHEMA).to_batches(max_chunksize=2)
    message = writer.write(iter(batches))
    assert isinstance(message, _Written)
    assert [file.rows for file in message.files] == [3, 3, 1]
    failed = writer.write(iter(batches))  # of an attempt that failed later
    assert len(_names(place)) == 6
    writer.commit([message, None])
    writer.commit([message, None])  # as after a lost answer
    assert (open_table(place).version(), _numbers(place)) == (0, [*range(7)])
    assert len(_names(place)) == 3
    writer.abort([message, failed])  # a commit that is known to be there is not taken back
    assert _numbers(place) == [*range(7)]


def test_files_stay_where_nobody_knows_whether_they_are_the_tables(
    place: Path | StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = TableWriter(place, SCHEMA, replace=False)
    message = writer.write(iter(pa.table({"n": [1]}, schema=SCHEMA).to_batches()))

    def fail(_: object) -> None:
        raise SourceUnavailableError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(append, "find_table", fail)
        with pytest.raises(SourceUnavailableError):
            writer.abort([message])
    assert len(_names(place)) == 1
    writer.abort([message])
    assert _names(place) == []


def test_two_writers_at_once_lose_nothing(place: Path | StoreUri) -> None:
    first, second = (TableWriter(place, SCHEMA, replace=False) for _ in range(2))
    messages = [
        writer.write(iter(pa.table({"n": [number]}, schema=SCHEMA).to_batches()))
        for number, writer in enumerate((first, second))
    ]
    first.commit(messages[:1])
    second.commit(messages[1:])
    assert _numbers(place) == [0, 1]
    third = TableWriter(place, SCHEMA, replace=True)
    third.commit([third.write(iter(()))])
    assert _numbers(place) == []
    with pytest.raises(InputError, match="column 'n' has type"):
        commit_files(place, [NewFile("x", 1, 1)], pa.schema([("n", pa.string())]), app_id="x")
