"""Tables with versions and partitions, as the readers of others see them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import duckdb_extensions
import pandas
import polars
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from pulmospark.lake.append import append_version
from pulmospark.store.uri import StoreUri

SCHEMA = pa.schema([pa.field("uri", pa.string()), pa.field("date", pa.date32())])
EXPECTED = [("a", "2026-11-29"), ("b", "2026-11-30")]

Rows = list[tuple[str, str]]


def _duckdb(place: Any, options: dict[str, str]) -> Rows:
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        duckdb_extensions.import_extension("delta", con=connection)
        query = f"SELECT uri, date::VARCHAR FROM delta_scan('{place}')"
        return connection.sql(query).fetchall()


def _polars(place: Any, options: dict[str, str]) -> Rows:
    frame = polars.read_delta(str(place), storage_options=options or None)
    return frame.select("uri", polars.col("date").cast(str)).rows()


def _delta(place: Any, options: dict[str, str]) -> deltalake.DeltaTable:
    return deltalake.DeltaTable(str(place), storage_options=options)


def _pandas(place: Any, options: dict[str, str]) -> Rows:
    frame = _delta(place, options).to_pandas()
    return list(zip(frame["uri"], frame["date"].astype(str), strict=True))


def _pyarrow(place: Any, options: dict[str, str]) -> Rows:
    rows = _delta(place, options).to_pyarrow_dataset().to_table().to_pylist()
    return [(row["uri"], str(row["date"])) for row in rows]


def _pandas_without_the_log(place: Any, options: dict[str, str]) -> Rows:
    frame = pandas.read_parquet(place)
    return list(zip(frame["uri"], frame["date"].astype(str), strict=True))


def _pyarrow_without_the_log(place: Any, options: dict[str, str]) -> Rows:
    rows = pyarrow.dataset.dataset(place, partitioning="hive").to_table().to_pylist()
    return [(row["uri"], str(row["date"])) for row in rows]


def _append(place: Any, folder: Path) -> None:
    for number, (uri, day) in enumerate(EXPECTED):
        part = folder / f"{number}.parquet"
        pq.write_table(pa.table({"uri": [uri]}, schema=SCHEMA.remove(1)), part)
        app: Any = {"app_id": "a", "app_version": number, "partition": {"date": day}}
        append_version(place, [part], SCHEMA, **app)


@pytest.mark.parametrize(
    "read",
    [_duckdb, _polars, _pandas, _pyarrow, _pandas_without_the_log, _pyarrow_without_the_log],
)
def test_readers_see_both_versions_on_a_disk(
    read: Callable[[Any, dict[str, str]], Rows], tmp_path: Path
) -> None:
    _append(tmp_path / "table", tmp_path)
    assert sorted(read(tmp_path / "table", {})) == EXPECTED


@pytest.mark.parametrize("read", [_polars, _pandas, _pyarrow])
def test_readers_see_both_versions_in_a_store(
    read: Callable[[Any, dict[str, str]], Rows],
    bucket: StoreUri,
    s3_endpoint: str,
    tmp_path: Path,
) -> None:
    _append(bucket / "table", tmp_path)
    options = {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_ALLOW_HTTP": "true"}
    assert sorted(read(bucket / "table", options)) == EXPECTED


def test_old_versions_are_vacuumed_and_small_files_merged_as_documented(tmp_path: Path) -> None:
    _append(tmp_path / "table", tmp_path)
    table = deltalake.DeltaTable(tmp_path / "table")
    assert [entry["version"] for entry in table.history()] == [1, 0]
    table.optimize.compact()
    removed = table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert removed == []  # one file a partition
    assert sorted(_pyarrow(tmp_path / "table", {})) == EXPECTED
