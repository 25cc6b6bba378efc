"""``spark.read.format("pulmospark")`` on a disk and in a store."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from pulmospark.core import lake_limits, schemas
from pulmospark.core.delta_log import write_log
from pulmospark.lake.append import append_version
from pulmospark.lake.table import files_of, open_table
from pulmospark.spark.data_source import _Files, _Reader
from pulmospark.store.uri import StoreUri
from spark.own_session import in_own_session
from store.conftest import bucket, s3_endpoint

__all__ = ["bucket", "s3_endpoint"]

SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("probability", pa.list_(pa.float64())),
        pa.field("predicted_at", pa.timestamp("us", tz="UTC")),
        pa.field("date", pa.date32()),
    ]
)


@pytest.fixture(params=["disk", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A table of two versions, partitioned by date."""
    out = tmp_path / "a b" if request.param == "disk" else request.getfixturevalue("bucket") / "t"
    for number, day in enumerate(["2026-11-29", "2026-11-30"]):
        rows = {"uri": [f"{number}-{n}" for n in range(3)], "probability": [[0.5, number]] * 3}
        rows["predicted_at"] = [1_700_000_000_000_000 + number] * 3
        part = tmp_path / f"part ü {number}.parquet"
        pq.write_table(pa.table(rows, schema=SCHEMA.remove(3)), part)
        app: Any = {"app_id": "a", "app_version": number, "partition": {"date": day}}
        append_version(out, [part], SCHEMA, **app)
    return out


def answers(spark: SparkSession, place: str) -> list[Any]:
    """What Spark reads of the table of `place`."""
    read = spark.read.format("pulmospark")
    frame = read.load(place)
    (row,) = frame.where("uri = '1-2'").collect()
    (first,) = frame.selectExpr("min(unix_micros(predicted_at))").collect()
    few = spark.read.format("pulmospark").option("columns", "date, uri").load(place)
    return [
        [row.uri for row in frame.orderBy("uri").collect()],
        [*row.probability, str(row.date), first[0]],
        read.option("version", 0).load(place).count(),
        [few.columns, few.where("date = '2026-11-29'").count()],
    ]


@pytest.mark.spark
def test_spark_reads_versions_and_columns(place: Path | StoreUri, spark: SparkSession) -> None:
    if isinstance(place, Path):
        rows_read = answers(spark, str(place))
    else:
        rows_read = in_own_session("test_data_source", "answers", place)
    assert rows_read == [
        [f"{number}-{n}" for number in range(2) for n in range(3)],
        [0.5, 1.0, "2026-11-30", 1_700_000_000_000_000],
        3,
        [["date", "uri"], 3],
    ]


@pytest.mark.spark
def test_spark_reads_every_published_type(spark: SparkSession, tmp_path: Path) -> None:
    for name, schema in {"images": schemas.IMAGES, "predictions": schemas.PREDICTIONS}.items():
        folder = tmp_path / name
        folder.mkdir()
        pq.write_table(schema.empty_table(), folder / "empty.parquet")
        write_log(folder, schema)
        frame = spark.read.format("pulmospark").load(str(folder))
        assert frame.columns == schema.names
        assert frame.count() == 0
    with pytest.raises(PySparkException, match="no Delta table"):
        spark.read.format("pulmospark").load(str(tmp_path)).count()
    with pytest.raises(PySparkException, match="unknown option versoin"):
        spark.read.format("pulmospark").option("versoin", 1).load(str(folder)).count()


def test_tasks_read_files_of_a_size(
    place: Path | StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema, files = files_of(open_table(place), place)
    reader = _Reader(files, schema)
    assert [len(task.files) for task in reader.partitions()] == [2]  # type: ignore[attr-defined]
    monkeypatch.setattr(lake_limits, "SOURCE_TASK_BYTES", files[0].size_bytes)
    assert len(reader.partitions()) == 2
    rows = pa.Table.from_batches(list(reader.read(_Files(tuple(files)))))
    assert rows["uri"].to_pylist() == [f"{number}-{n}" for number in range(2) for n in range(3)]
    assert rows["date"].to_pylist() == [date(2026, 11, 29)] * 3 + [date(2026, 11, 30)] * 3
