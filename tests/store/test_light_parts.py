"""Tables whose pixels stay in the store: copies without them, read by ranges where needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pulmospark as ps
from pulmospark import chunks
from pulmospark.chunks.parts import publish_table, write_part
from pulmospark.core import mirror_limits, schemas
from pulmospark.data.ingest.pixels import pixels_of_some
from pulmospark.store.light_parts import whole_of
from pulmospark.store.mirror import Mirror
from pulmospark.store.uri import StoreUri
from pulmospark.training.dataset import Piece, read_piece

SIDE = 32


@pytest.fixture
def whole(tmp_path: Path, bucket: StoreUri, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An images table of two parts that one machine published; from here on, another's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    rng, parts = np.random.default_rng(3), []
    for part in range(2):
        rows = [
            dict.fromkeys(schemas.IMAGES.names)
            | {"uri": f"{part}-{row}", "pixels": rng.bytes(SIDE * SIDE)}
            for row in range(300)
        ]
        kept = ["uri", "pixels", "phash"]
        schema = pa.schema([schemas.IMAGES.field(name).with_nullable(True) for name in kept])
        parts.append(tmp_path / f"part-{part}.parquet")
        write_part(pa.Table.from_pylist(rows, schema), parts[-1])
    mirror = Mirror(bucket / "run")
    with mirror.writing():
        publish_table(parts, mirror.folder / "tables/images", schema)
        (mirror.folder / "experiment.json").write_text("{}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    monkeypatch.setattr(mirror_limits, "COPIED_TABLE_BYTES_MAX", 10_000)
    return mirror.folder / "tables/images"


def test_readers_of_pixels_get_them_from_the_store(whole: Path, bucket: StoreUri) -> None:
    mirror = Mirror(bucket / "run")
    mirror.fetch()
    light = mirror.folder / "tables/images"
    size = sum(part.stat().st_size for part in light.glob("*.parquet"))
    assert size < sum(part.stat().st_size for part in whole.glob("*.parquet")) / 10
    assert "pixels" not in pq.read_table(light).column_names
    expected = pq.read_table(whole)
    assert pq.read_table(light)["uri"].equals(expected["uri"])

    todo = chunks.chunks_of(chunks.parts_of(light))
    assert all(chunk.path.startswith(f"{bucket}run/tables/images/") for chunk in todo)
    assert [chunk.rows for chunk in todo] == [
        chunk.rows for chunk in chunks.chunks_of(chunks.parts_of(whole))
    ]
    assert pa.concat_tables(map(chunks.read_chunk, todo)).equals(expected)

    uris = {"0-7", "1-299"}
    here, there = (dict(pixels_of_some(table, uris)) for table in (light, whole))
    assert here.keys() == there.keys() == uris
    assert all((here[uri] == there[uri]).all() for uri in uris)
    rows = np.arange(5)
    pieces = [Piece(sorted(t.glob("*"))[-1], 0, rows, rows) for t in (light, whole)]
    assert (read_piece(pieces[0], SIDE) == read_piece(pieces[1], SIDE)).all()
    frame = ps.read_table(f"{bucket}run/tables/images", columns=["uri", "pixels"])
    assert frame["pixels"].tolist() == expected["pixels"].to_pylist()


def test_a_table_that_is_rewritten_is_completed_and_not_published_again(
    whole: Path, bucket: StoreUri
) -> None:
    mirror = Mirror(bucket / "run")
    mirror.fetch()
    table = mirror.folder / "tables/images"
    assert all(whole_of(part) != part for part in chunks.parts_of(table))
    with mirror.writing():
        mirror.complete("tables/images")
        assert all(whole_of(part) == part for part in chunks.parts_of(table))
        version = mirror._lease and mirror._lease.leased.record.units["tables"]
    assert pq.read_table(table).equals(pq.read_table(whole))
    with mirror.writing():
        assert mirror._lease is not None
        assert mirror._lease.leased.record.units["tables"] == version
