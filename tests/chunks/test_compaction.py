"""Small parts merged when a table is published."""

from __future__ import annotations

from pathlib import Path

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulmospark import chunks
from pulmospark.chunks.compaction import file_groups
from pulmospark.core import lake_limits

NUMBERS = pa.schema([pa.field("uri", pa.string()), pa.field("n", pa.int64())])
PIXELS = pa.schema([pa.field("n", pa.int64()), pa.field("pixels", pa.binary())])


def _parts(folder: Path, sizes: list[int]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths, first = [], 0
    for number, size in enumerate(sizes):
        paths.append(folder / f"{(number * 7919) % 1000:03d}-{number}.parquet")  # any order
        rows = range(first, first + size)
        table = pa.table({"uri": [f"image-{n}" for n in rows], "n": list(rows)}, schema=NUMBERS)
        chunks.write_part(table, paths[-1])
        first += size
    return paths


def test_small_parts_are_merged_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_limits, "COMPACT_PARTS_MIN", 20)
    monkeypatch.setattr(lake_limits, "COMPACT_ROWS", 100)
    parts = _parts(tmp_path / "parts", [*[7] * 30, 400, *[9] * 30])
    chunks.publish_table(parts, tmp_path / "table", NUMBERS, numbered=True)
    published = chunks.parts_of(tmp_path / "table")
    sizes = [pq.read_metadata(path).num_rows for path in published]
    assert sizes == [105, 105, 400, 108, 162]
    assert published[2].samefile(parts[30])  # linked, not copied
    assert pq.read_table(tmp_path / "table")["n"].to_pylist() == list(range(880))
    table = deltalake.DeltaTable(tmp_path / "table").to_pyarrow_table()
    assert sorted(table["n"].to_pylist()) == list(range(880))


def test_few_parts_are_linked(tmp_path: Path) -> None:
    parts = _parts(tmp_path / "parts", [3] * (lake_limits.COMPACT_PARTS_MIN - 1))
    chunks.publish_table(parts, tmp_path / "table", NUMBERS)
    assert len(chunks.parts_of(tmp_path / "table")) == len(parts)


def test_fewer_are_merged_for_a_store(tmp_path: Path) -> None:
    parts = _parts(tmp_path / "parts", [3] * 16)
    for count, files in ((15, 15), (16, 1)):
        table = tmp_path / f"table-{count}"
        chunks.publish_table(parts[:count], table, NUMBERS, in_store=True)
        assert len(chunks.parts_of(table)) == files
        numbers = sorted(pq.read_table(table)["n"].to_pylist())
        assert numbers == list(range(3 * count))


@given(st.lists(st.integers(1, 60), max_size=12))
def test_groups_keep_all_parts_and_their_order(sizes: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake_limits, "COMPACT_ROWS", 50)
        parts = _parts(Path(name), sizes)
        groups = file_groups(parts, bulky=False)
        assert [part for group in groups for part in group] == parts
        rows = dict(zip(parts, sizes, strict=True))
        assert all(len(group) == 1 for group in groups if rows[group[0]] >= 50)
        # Merged files have at most the limit, one part more, and the table's remainder.
        assert all(sum(rows[part] for part in group) < 160 for group in groups)


def test_images_are_merged_by_bytes_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_limits, "COMPACT_PARTS_MIN", 20)
    monkeypatch.setattr(lake_limits, "COMPACT_BYTES", 8_000_000)
    image = np.random.default_rng(0).bytes(50_000)
    parts = [tmp_path / f"{number}.parquet" for number in range(40)]
    for number, path in enumerate(parts):
        rows = {"n": [number] * 20, "pixels": [image] * 20}
        chunks.write_part(pa.table(rows, schema=PIXELS), path)
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        chunks.publish_table(parts, tmp_path / "table", PIXELS, numbered=True)
    finally:
        pa.set_memory_pool(before)
    assert 1_000_000 < pool.max_memory() < 60_000_000  # a few row groups of 13 MB
    published = chunks.parts_of(tmp_path / "table")
    assert [path.stat().st_size // 10**6 for path in published] == [8] * 5
    read = [
        row for path in published for row in pq.read_table(path, columns=["n"])["n"].to_pylist()
    ]
    assert read == [number for number in range(40) for _ in range(20)]
    assert all(pq.read_metadata(path).row_group(0).num_rows <= 256 for path in published)


def test_a_part_without_a_later_column_is_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_limits, "COMPACT_PARTS_MIN", 2)
    parts = _parts(tmp_path / "parts", [2, 2])
    chunks.publish_table(parts, tmp_path / "table", NUMBERS.append(pa.field("new", pa.bool_())))
    (path,) = chunks.parts_of(tmp_path / "table")
    assert pq.read_table(path)["new"].to_pylist() == [None] * 4
