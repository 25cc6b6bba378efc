"""Tables that we publish, as readers of Delta tables see them."""

from __future__ import annotations

import re
from pathlib import Path

import deltalake
import duckdb
import duckdb_extensions
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pulmospark.core import schemas
from pulmospark.core.delta_log import LOG, write_log

TABLES = {name: value for name, value in vars(schemas).items() if isinstance(value, pa.Schema)}

VALUES = {
    pa.string(): ["a", "ü"],
    pa.binary(): [b"\x00", b"xy"],
    pa.bool_(): [True, False],
    pa.int32(): [1, -2],
    pa.int64(): [2**40, -1],
    pa.float32(): [0.5, 1.5],
    pa.float64(): [0.1, -1e300],
    pa.timestamp("us", tz="UTC"): [0, 1_700_000_000_000_000],
}


def _table(schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        if pa.types.is_list(field.type):
            values = VALUES[field.type.value_type]
            columns.append(pa.array([values, []], field.type))
        else:
            columns.append(pa.array(VALUES[field.type], field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _written(folder: Path, schema: pa.Schema) -> pa.Table:
    folder.mkdir()
    rows = _table(schema)
    pq.write_table(rows.slice(0, 1), folder / "a part=1 ü.parquet")
    pq.write_table(rows.slice(1, 1), folder / "b.parquet")
    write_log(folder, schema)
    return rows


@pytest.mark.parametrize("name", TABLES)
def test_delta_readers_see_the_rows_and_types(name: str, tmp_path: Path) -> None:
    rows = _written(tmp_path / "table", TABLES[name])
    table = deltalake.DeltaTable(tmp_path / "table")
    assert table.version() == 0
    key = rows.column_names[0]
    read = pa.table(table.to_pyarrow_table()).sort_by(key)
    assert read.column_names == rows.column_names
    assert read.cast(rows.schema).equals(rows.sort_by(key))
    assert pa.schema(table.schema().to_arrow()).names == rows.schema.names
    nullable = [field.nullable for field in pa.schema(table.schema().to_arrow())]
    assert nullable == [field.nullable for field in rows.schema]


def test_duckdb_and_polars_and_plain_readers(tmp_path: Path) -> None:
    rows = _written(tmp_path / "table", schemas.PREDICTIONS)
    path = tmp_path / "table"
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        duckdb_extensions.import_extension("delta", con=connection)
        found = connection.sql(f"SELECT * FROM delta_scan('{path}') ORDER BY uri").to_arrow_table()
    assert found["probability"].to_pylist() == rows.sort_by("uri")["probability"].to_pylist()
    assert polars.read_delta(str(path)).sort("uri")["uri"].to_list() == ["a", "ü"]
    assert pq.read_table(path).num_rows == 2


def test_the_same_files_give_the_same_log(tmp_path: Path) -> None:
    _written(tmp_path / "one", schemas.REJECTS)
    (tmp_path / "two").mkdir()
    for path in (tmp_path / "one").glob("*.parquet"):
        (tmp_path / "two" / path.name).hardlink_to(path)
    write_log(tmp_path / "two", schemas.REJECTS)
    name = f"{LOG}/{0:020d}.json"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_column_added_later_is_null_in_an_older_part(tmp_path: Path) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    old = pa.schema([pa.field("uri", pa.string())])
    pq.write_table(pa.table({"uri": ["a"]}, schema=old), folder / "a.parquet")
    write_log(folder, old.append(pa.field("phantom", pa.bool_())))
    read = pa.table(deltalake.DeltaTable(folder).to_pyarrow_table())
    assert read.to_pylist() == [{"uri": "a", "phantom": None}]


@pytest.mark.parametrize("kind", [pa.uint64(), pa.large_string(), pa.time32("s"), pa.null()])
def test_a_type_without_equal_is_refused(kind: pa.DataType, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=re.escape(str(kind))):
        write_log(tmp_path, pa.schema([pa.field("x", kind)]))
    assert not list(tmp_path.iterdir())
