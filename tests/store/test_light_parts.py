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
from pulmospark.core.files import whole_folder
from pulmospark.data.ingest.pixels import pixels_of_some
from pulmospark.store.light_parts import whole_of
from pulmospark.store.mirror import Mirror
from pulmospark.store.publish import files_of_version
from pulmospark.store.published import read_published
from pulmospark.store.store import open_store
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
    pieces = [Piece(sorted(t.glob("*"))[-1], 0, rows, rows, 300) for t in (light, whole)]
    assert (read_piece(pieces[0], SIDE) == read_piece(pieces[1], SIDE)).all()
    frame = ps.read_table(f"{bucket}run/tables/images", columns=["uri", "pixels"])
    assert frame["pixels"].tolist() == expected["pixels"].to_pylist()


def _rewritten(mirror: Mirror, keep: slice) -> None:
    """The table from the parts that are there, as by an ingest after which some images stay."""
    table = mirror.folder / "tables/images"
    light = chunks.parts_of(table)[keep]
    with whole_folder(table) as aside:
        publish_table(light, aside, schemas.IMAGES, light=True)


def test_light_parts_are_published_by_the_names_of_their_objects(
    whole: Path, bucket: StoreUri
) -> None:
    mirror = Mirror(bucket / "run")
    table = mirror.folder / "tables/images"
    uri = bucket / "run/tables/images"
    with mirror.writing():
        _rewritten(mirror, slice(0, 1))
    assert mirror._state()["tables"]["published"] == {}  # the commit has copied the object
    (record, _) = read_published(bucket / "run") or pytest.fail("no record")
    version = record.units["tables"].tables["tables/images"]
    (name,) = files_of_version(uri, version)
    part = pq.read_table(pa.BufferReader(open_store(uri).get((uri / name).key)))
    assert part.equals(pq.read_table(chunks.parts_of(whole)[0]))
    mirror.fetch()
    (light,) = chunks.parts_of(table)
    assert whole_of(light) == uri / name


def test_a_table_is_left_in_the_store_for_workers_elsewhere(
    whole: Path, bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_limits, "COPIED_TABLE_BYTES_MAX", 1 << 30)
    mirror = Mirror(bucket / "run")
    mirror.fetch()
    table = mirror.folder / "tables/images"
    assert all(whole_of(part) == part for part in chunks.parts_of(table))
    with mirror.writing():
        assert mirror._lease is not None
        before = mirror._lease.leased.record.units["tables"]
        mirror.lighten("tables/images")
        places = [whole_of(part) for part in chunks.parts_of(table)]
        assert [place.parent for place in places] == [bucket / "run/tables/images"] * 2
        mirror.lighten("tables/images")  # no request
    with mirror.writing():
        assert mirror._lease.leased.record.units["tables"] == before
    todo = chunks.chunks_of(chunks.parts_of(table))
    rows = pa.concat_tables(map(chunks.read_chunk, todo)).sort_by("uri")
    assert rows.equals(pq.read_table(whole).sort_by("uri"))
