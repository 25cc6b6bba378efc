"""What a stream finds in its output at the start: a lost state, an older one, another stream."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inference.stream.test_stream_commit import arrival, images, opened, parts, rejected
from pulmospark.core import schemas
from pulmospark.core.errors import UsageError
from pulmospark.inference.stream.output import STATE
from pulmospark.inference.stream.store import INNER
from pulmospark.store.append_log import AppendLog
from pulmospark.store.places import DiskPlace


def test_a_lost_state_learns_all_from_the_tables(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for name, rows in (
            ("a", {"predictions": images(("/a", "1"))}),
            ("b", {"rejects": rejected("/b")}),
            ("c", {"predictions": images(("/c", "2"))}),
        ):
            store.commit(store.state.plan([arrival(name)]), rows)
        store.state.plan([arrival("d")])
        taken = store.state.taken().tolist()
    state = tmp_path / INNER / STATE
    state.unlink()
    for end in ("-wal", "-shm"):
        state.with_name(f"{STATE}{end}").write_bytes(b"of another life")
    with opened(tmp_path) as store:
        assert store.state.seen(["1" * 64, "2" * 64, "3" * 64]) == {"1" * 64, "2" * 64}
        assert set(store.state.taken().tolist()) == set(taken) - {arrival("d").key}
        entry = store.state.plan([arrival("e")])
        assert store.commit(entry, {"predictions": images(("/e", "2"))}).repeats == 1


def test_a_state_of_an_output_that_is_no_more_is_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as store:
        store.commit(store.state.plan([arrival("a")]), {"predictions": images(("/a", "1"))})
    state = (tmp_path / "out" / INNER / STATE).read_bytes()
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out" / INNER).mkdir(parents=True)
    (tmp_path / "out" / INNER / STATE).write_bytes(state)
    with opened(tmp_path / "out") as store:
        assert not store.state.seen(["1" * 64])
        assert not len(store.state.taken())


def test_an_output_of_version_0_2_goes_on(tmp_path: Path) -> None:
    """Its state commits, its parts have other names, and its tables have no log."""
    with opened(tmp_path) as store:
        store.state.plan([arrival("a")])
        store.state.plan([arrival("b")])
    for table in ("predictions", "rejects", "repeats", f"{INNER}/arrivals"):
        shutil.rmtree(tmp_path / table / "_delta_log")
    pq.write_table(images(("/a", "1")), tmp_path / f"predictions/predictions-{1:010d}.parquet")
    pq.write_table(rejected("/b"), tmp_path / INNER / f"staged/rejects-{2:010d}.parquet")
    database = sqlite3.connect(tmp_path / INNER / STATE)
    database.execute("DELETE FROM entries WHERE entry = 1")
    database.execute("DELETE FROM planned")
    database.execute("UPDATE entries SET parts = '[\"rejects\"]' WHERE entry = 2")
    database.execute("INSERT INTO seen VALUES (?)", (bytes.fromhex("1" * 64),))
    database.execute("DROP TABLE output")
    database.execute("ALTER TABLE planned DROP COLUMN etag")
    database.commit()
    database.close()
    with opened(tmp_path) as store:
        assert store.state.open_entries() == []
        assert set(store.state.taken().tolist()) == {arrival("a").key, arrival("b").key}
        entry = store.state.plan([arrival("c", 8), arrival("d", 9)])
        rows = {"predictions": images(("/c", "1"), ("/d", "2"))}
        committed = store.commit(entry, rows)
        assert (committed.images, committed.repeats) == (1, 1)
    for table, uris in (("predictions", ["/a", "/d"]), ("rejects", ["/b"]), ("repeats", ["/c"])):
        by_log = pa.table(deltalake.DeltaTable(tmp_path / table).to_pyarrow_table())
        assert sorted(by_log["uri"].to_pylist()) == uris
        assert sorted(pq.read_table(tmp_path / table)["uri"].to_pylist()) == uris


def test_a_stream_that_another_has_overtaken_is_refused_by_the_table(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        rival = AppendLog(DiskPlace(tmp_path), f"{INNER}/arrivals", "pulmospark-stream")
        rival.open(schemas.ARRIVALS)
        assert rival.append([], 1)
        entry = store.state.plan([arrival("a")])
        with pytest.raises(UsageError, match="another stream writes there, and was faster"):
            store.commit(entry, {"rejects": rejected("/a")})
        assert store.state.open_entries() == [entry]
    assert [len(names) for names in parts(tmp_path).values()] == [0, 0, 0]
