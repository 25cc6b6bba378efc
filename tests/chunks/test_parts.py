"""Parquet parts: how one is written, and how parts make a table."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pulmospark.chunks.parts import link_parts, parts_of, write_empty, write_part
from pulmospark.core import limits
from pulmospark.core.files import write_bytes


def test_linked_parts_are_the_same_file(tmp_path: Path) -> None:
    write_part(pa.table({"a": [1]}), tmp_path / "a.parquet")
    link_parts([tmp_path / "a.parquet"], tmp_path / "deep" / "table")
    table = tmp_path / "deep" / "table"
    assert os.path.samefile(tmp_path / "a.parquet", table / "a.parquet")  # noqa: PTH121
    (table / "b.txt").touch()
    assert parts_of(table) == [table / "a.parquet"]
    write_part(pa.table({"a": [2]}), tmp_path / "z.parquet")
    link_parts([tmp_path / "z.parquet"], table)  # the folder may be there
    assert parts_of(table) == [table / "a.parquet", table / "z.parquet"]


def test_numbered_parts_are_read_in_their_order(tmp_path: Path) -> None:
    parts = [tmp_path / f"{name}.parquet" for name in "cab"]
    for number, part in enumerate(parts):
        write_part(pa.table({"a": [number]}), part)
    link_parts(parts, tmp_path / "table", numbered=True)
    assert pq.read_table(tmp_path / "table")["a"].to_pylist() == [0, 1, 2]
    assert [path.name for path in parts_of(tmp_path / "table")] == [
        "000000000-c.parquet",
        "000000001-a.parquet",
        "000000002-b.parquet",
    ]
    link_parts(parts, tmp_path / "plain")
    assert [path.name for path in parts_of(tmp_path / "plain")] == [
        f"{name}.parquet" for name in "abc"
    ]


def test_an_empty_table_has_its_schema(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("pixels", pa.binary()), pa.field("n", pa.int32())])
    (tmp_path / "table").mkdir()
    write_empty(schema, tmp_path / "table")
    assert [path.name for path in parts_of(tmp_path / "table")] == ["empty.parquet"]
    read = pq.read_table(tmp_path / "table")
    assert (read.num_rows, read.schema.remove_metadata()) == (0, schema)


def test_a_part_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="none"):
        write_part(pa.table({"a": [1]}), tmp_path / "none" / "part.parquet")
    assert not list(tmp_path.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_part(pa.table({"a": [1]}), tmp_path / "part.parquet")
    assert not list(tmp_path.iterdir())


def test_what_is_written_is_hidden_until_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads the folder meanwhile sees no half a part: it is no ``*.parquet``."""
    seen = []
    replace = os.replace

    def watched(source: Path, target: Path) -> None:
        seen.append((source.name, target.name))
        assert target not in parts_of(tmp_path)
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    write_part(pa.table({"a": [1]}), tmp_path / "part.parquet")
    write_bytes(tmp_path / "record", b"[]")
    assert [target for _, target in seen] == ["part.parquet", "record"]
    for source, target in seen:
        assert source.startswith(f".{target}.")
        assert source.endswith(".part")
    assert len({source.split(".")[-2] for source, _ in seen}) == 2
    assert (tmp_path / "record").read_bytes() == b"[]"
    write_bytes(tmp_path / "record", b"{}")  # over what is there
    assert (tmp_path / "record").read_bytes() == b"{}"


def _columns(path: Path) -> dict[str, pq.ColumnChunkMetaData]:
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(n) for n in range(group.num_columns)]
    return {column.path_in_schema.split(".")[0]: column for column in columns}


def test_pixels_are_stored_as_they_are(tmp_path: Path) -> None:
    """Statistics would repeat whole images in the footer, and packing noise gains nothing."""
    noise = random.Random(1).randbytes(5000)
    table = pa.table(
        {
            "uri": ["a", "a"],
            "pixels": [noise, noise],
            "features": pa.array([[0.5], [0.25]], pa.list_(pa.float32())),
            "age": [60.0, 61.0],
        }
    )
    write_part(table, tmp_path / "part.parquet")
    assert (tmp_path / "part.parquet").read_bytes().count(noise[:50]) == 2
    columns = _columns(tmp_path / "part.parquet")
    for name, light in (("uri", True), ("age", True), ("pixels", False), ("features", False)):
        assert columns[name].compression == ("ZSTD" if light else "UNCOMPRESSED")
        assert (columns[name].statistics is not None) == light
    dictionaries = {name for name, column in columns.items() if column.has_dictionary_page}
    assert dictionaries == {"uri"}
    assert pq.read_table(tmp_path / "part.parquet").equals(table)


def test_rows_with_images_lie_in_small_row_groups(tmp_path: Path) -> None:
    rows = 65_536 + 1
    numbers = pa.table({"a": range(rows), "b": range(rows)})
    names = pa.table({"a": range(rows), "uri": ["x"] * rows})
    for table, sizes in (
        (numbers, [65_536, 1]),
        (names, [limits.ROW_GROUP_ROWS] * (65_536 // limits.ROW_GROUP_ROWS) + [1]),
    ):
        write_part(table, tmp_path / "part.parquet")
        metadata = pq.read_metadata(tmp_path / "part.parquet")
        groups = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
        assert groups == sizes
