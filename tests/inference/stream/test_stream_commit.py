"""One commit of a stream at a time: its steps, its order on the disk, its record, its refusals."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pulmospark.core import files, schemas
from pulmospark.core.errors import InputError, PlatformError, UsageError
from pulmospark.core.provenance import now_utc
from pulmospark.inference.stream import store as stream_store
from pulmospark.inference.stream.ledger import Arrival, StreamState
from pulmospark.inference.stream.store import (
    INNER,
    RECORD,
    STATE,
    Committed,
    StreamStore,
    arrival_of,
    check_folder,
    check_free,
    open_store,
)

IDENTITY = {"model_id": "a" * 64}


def arrival(name: str, size: int = 7) -> Arrival:
    return Arrival(f"/{name}", size, 20 + size, 3)


def images(*pairs: tuple[str, str]) -> pa.Table:
    """Predictions of images: their uri and what they hold."""
    rows = [
        {"uri": uri, "image_id": held * 64, "source": "inbox", "prediction": "x",
         "probability": [1.0], "logits": [0.0], "model_id": "m", "predicted_at": now_utc()}
        for uri, held in pairs
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schemas.PREDICTIONS)


def rejected(*uris: str) -> pa.Table:
    rows = [
        {"uri": uri, "source": "inbox", "size_bytes": 7, "modified_ns": 27,
         "reason": "not_an_image", "detail": "bad"}
        for uri in uris
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schemas.REJECTS)


@contextmanager
def opened(out: Path, **more: Any) -> Iterator[StreamStore]:
    with open_store(out, IDENTITY, lambda: {"made": "here"}, **more) as store:
        yield store


def parts(out: Path) -> dict[str, list[str]]:
    return {
        table: sorted(path.name for path in (out / table).iterdir() if path.stem != "empty")
        for table in ("predictions", "rejects", "repeats")
    }


def test_an_entry_is_staged_recorded_in_the_state_and_published(tmp_path: Path) -> None:
    out, steps = tmp_path / "deep" / "out", []
    staged: list[list[str]] = []

    def step(name: str) -> None:
        steps.append(name)
        staged.append(sorted(path.name for path in (out / INNER / "staged").iterdir()))

    with opened(out, step=step) as store:
        entry = store.state.plan([arrival("a"), arrival("b"), arrival("c"), arrival("d")])
        scored = {"predictions": images(("/a", "1"), ("/b", "1")), "rejects": rejected("/c")}
        committed = store.commit(entry, scored, again=["/d"])
        assert committed == Committed(entry, images=1, rejects=1, repeats=1, again=1)
        assert store.state.unpublished() == []
        assert store.state.open_entries() == []
    assert steps == [
        "rejects staged", "repeats staged", "predictions staged", "staged", "committed",
        "rejects published", "repeats published", "predictions published", "published",
    ]  # fmt: skip
    names = [f"{table}-{entry:010d}.parquet" for table in ("predictions", "rejects", "repeats")]
    assert staged[3] == staged[4] == names
    assert staged[5] == [names[0], names[2]]
    assert staged[8] == []
    assert parts(out) == {
        table: [name] for table, name in zip(("predictions", "rejects", "repeats"), names,
                                             strict=True)
    }  # fmt: skip
    (row,) = pq.read_table(out / "repeats").to_pylist()
    seen_at = row.pop("seen_at")
    assert row == {"image_id": "1" * 64, "uri": "/b", "source": "inbox", "size_bytes": 7,
                   "modified_ns": 27}  # fmt: skip
    assert datetime.now(UTC) - seen_at < timedelta(minutes=1)
    assert pq.read_table(out / "predictions")["uri"].to_pylist() == ["/a"]
    assert pq.read_table(out / "rejects")["uri"].to_pylist() == ["/c"]


def test_an_entry_of_files_that_are_given_back_has_no_part(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        entry = store.state.plan([arrival("a")])
        assert store.commit(entry, {}, ["/a"]) == Committed(entry, 0, 0, 0, 1)
        entry = store.state.plan([arrival("b")])
        assert store.commit(entry, {"rejects": rejected("/b")}) == Committed(entry, 0, 1, 0, 0)
    assert [len(names) for names in parts(tmp_path).values()] == [0, 1, 0]


def test_parts_are_on_the_disk_before_the_state_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    descriptors: dict[int, str] = {}
    opened_by, closed = os.open, os.close

    def watched(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        descriptor = opened_by(path, flags, *rest, **more)
        descriptors[descriptor] = os.fspath(path)
        return descriptor

    def sync(descriptor: int) -> None:
        synced.append(Path(descriptors[descriptor]).name)

    def close(descriptor: int) -> None:
        descriptors.pop(descriptor, None)
        closed(descriptor)

    with opened(tmp_path, step=synced.append) as store:
        synced.clear()
        monkeypatch.setattr(os, "open", watched)
        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(os, "close", close)
        entry = store.state.plan([arrival("a"), arrival("b")])
        store.commit(entry, {"predictions": images(("/a", "1")), "rejects": rejected("/b")})
        monkeypatch.undo()
    name = f"{entry:010d}.parquet"
    assert synced == [
        f"rejects-{name}", "rejects staged", f"predictions-{name}", "predictions staged",
        "staged", "staged", "committed", "rejects published", "predictions published",
        "rejects", "predictions", "published",
    ]  # fmt: skip
    assert not descriptors


def test_the_error_of_a_full_disk_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with opened(tmp_path) as store:
        entry = store.state.plan([arrival("a")])
        monkeypatch.setattr(stream_store, "write_part", full)
        with pytest.raises(PlatformError) as caught:
            store.commit(entry, {"rejects": rejected("/a")})
    assert caught.value.message.startswith(f"{tmp_path}: the disk is full")


def test_what_is_committed_is_published_at_the_next_start_and_the_rest_thrown_away(
    tmp_path: Path,
) -> None:
    class EndError(Exception):
        pass

    def end(name: str) -> None:
        if name == "rejects published":
            raise EndError

    with pytest.raises(EndError), opened(tmp_path, step=end) as store:
        entry = store.state.plan([arrival("a"), arrival("b")])
        store.commit(entry, {"predictions": images(("/a", "1")), "rejects": rejected("/b")})
    assert [len(names) for names in parts(tmp_path).values()] == [0, 1, 0]
    left = tmp_path / INNER / "staged" / "left.parquet"
    left.write_bytes(b"never committed")
    with opened(tmp_path) as store:
        assert [len(names) for names in parts(tmp_path).values()] == [1, 1, 0]
        assert not left.exists()
        assert store.state.unpublished() == []
        assert store.state.seen(["1" * 64]) == {"1" * 64}


def test_a_committed_part_that_is_gone_is_named_with_the_remedy(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        entry = store.state.plan([arrival("a")])
        store.state.commit(entry, ["rejects"], [], [])
    target = tmp_path / "rejects" / f"rejects-{entry:010d}.parquet"
    with pytest.raises(InputError) as caught, opened(tmp_path):
        pass
    assert caught.value.message == (
        f"{target}: is committed but missing: restore it, or start in a new folder with --out"
    )
    pq.write_table(rejected("/a"), target)  # put back
    with opened(tmp_path) as store:
        assert store.state.unpublished() == []


@pytest.mark.parametrize(
    ("scored", "again", "results"),
    [
        ({}, [], 0),
        ({"predictions": [("/a", "1")]}, [], 1),
        ({"predictions": [("/a", "1")]}, ["/a"], 2),
        ({"predictions": [("/a", "1"), ("/b", "2")]}, ["/b"], 3),
        ({"predictions": [("/a", "1")], "rejects": ["/a"]}, [], 2),
        ({"predictions": [("/a", "1"), ("/c", "2")]}, [], 2),
        ({"predictions": [("/a", "1"), ("/a", "1"), ("/b", "1")]}, [], 2),
        ({"rejects": ["/a", "/b", "/b"]}, [], 3),
    ],
)
def test_each_file_has_exactly_one_result(
    tmp_path: Path, scored: dict[str, Any], again: list[str], results: int
) -> None:
    made = {
        name: images(*rows) if name == "predictions" else rejected(*rows)
        for name, rows in scored.items()
    }
    with opened(tmp_path) as store:
        entry = store.state.plan([arrival("a"), arrival("b")])
        message = rf"^entry {entry}: 2 files, but results for {results}$"
        with pytest.raises(ValueError, match=message):
            store.commit(entry, made, again)
        assert store.state.open_entries() == [entry]
    assert [len(names) for names in parts(tmp_path).values()] == [0, 0, 0]


def test_rows_of_frames_belong_to_their_file() -> None:
    assert arrival_of("/a.dcm#frame-2", {"/a.dcm"}) == "/a.dcm"
    assert arrival_of("/a.dcm#frame-2", {"/a.dcm#frame-2"}) == "/a.dcm#frame-2"
    assert arrival_of("/a.dcm", {"/a.dcm"}) == "/a.dcm"


def test_a_new_folder_has_a_record_and_tables_with_their_columns(tmp_path: Path) -> None:
    calls = []

    def record() -> dict[str, Any]:
        calls.append(1)
        return {"made": "here"}

    for _ in range(2):
        with open_store(tmp_path / "out", IDENTITY, record):
            pass
    assert calls == [1]
    assert files.read_json(tmp_path / "out" / RECORD) == {"stream": IDENTITY, "made": "here"}
    for name in ("predictions", "rejects", "repeats"):
        table = pq.read_table(tmp_path / "out" / name)
        assert table.num_rows == 0
        assert table.schema.equals(getattr(schemas, name.upper()))
        (tmp_path / "out" / name / "empty.parquet").unlink()
    with opened(tmp_path / "out"):
        assert pq.read_table(tmp_path / "out" / "rejects").num_rows == 0


def test_the_lock_is_held_as_long_as_the_store(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check_free(out)  # there is no lock yet
    with opened(out):
        with pytest.raises(UsageError, match=rf"^{out}: another stream is writing there"):
            check_free(out)
        with (
            pytest.raises(UsageError, match=rf"^{out}: another stream is writing there"),
            opened(out),
        ):
            pass
    check_free(out)
    assert sorted(path.name for path in (out / INNER).iterdir())[:2] == ["lock", "staged"]


def test_a_read_only_lock_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    out = tmp_path / "out"
    for name in ("touch", "mkdir"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, refuse)
            with pytest.raises(PlatformError) as caught, opened(out):
                pass
        assert caught.value.message == (
            f"{out}: no permission to write there: choose another folder with --out"
        )
        (out / INNER / "staged").mkdir(parents=True, exist_ok=True)


def test_the_state_is_closed_also_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), opened(tmp_path) as store:
        raise KeyError
    with pytest.raises(Exception, match="closed database"):
        store.state.last()


def test_folders_that_are_free_or_a_streams(tmp_path: Path) -> None:
    check_folder(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty", IDENTITY)
    for name in (INNER, "predictions", "rejects", "repeats"):  # killed before its record was made
        (tmp_path / "half" / name).mkdir(parents=True)
    check_folder(tmp_path / "half", IDENTITY)
    (tmp_path / "half" / "thesis").mkdir()
    (tmp_path / "file").touch()
    for name in ("half", "file"):
        with pytest.raises(UsageError) as caught:
            check_folder(tmp_path / name)
        assert caught.value.message == (
            f"{tmp_path / name}: is not a stream output folder: choose another --out"
        )
    files.write_json(tmp_path / "half" / RECORD, {"stream": IDENTITY})
    check_folder(tmp_path / "half")
    check_folder(tmp_path / "half", IDENTITY)
    with pytest.raises(UsageError) as caught:
        check_folder(tmp_path / "half", {"model_id": "b" * 64})
    assert caught.value.message == (
        f"{tmp_path / 'half'}: belongs to the bundle {'a' * 12}, not to {'b' * 12}: choose "
        "another --out"
    )
    files.write_json(tmp_path / "half" / RECORD, {})
    with pytest.raises(UsageError, match="belongs to the bundle None"):
        check_folder(tmp_path / "half", IDENTITY)


def test_a_rebuilt_state_continues_after_the_last_part(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        first = store.state.plan([arrival("a")])
        store.commit(first, {"predictions": images(("/a", "1"))})
        second = store.state.plan([arrival("b")])
        store.commit(second, {"rejects": rejected("/b")})
        third = store.state.plan([arrival("c")])
        store.commit(third, {"predictions": images(("/c", "2"))})
        fourth = store.state.plan([arrival("d")])
        store.commit(fourth, {"rejects": rejected("/d")})
    state = tmp_path / INNER / STATE
    state.unlink()
    left = state.with_name(f"{STATE}.new")
    for name in (f"{STATE}-wal", f"{STATE}-shm", f"{STATE}.new-wal", f"{STATE}.new-shm"):
        state.with_name(name).write_bytes(b"of another life")
    left.write_bytes(b"killed half-way")
    (tmp_path / "predictions" / "notes.parquet").write_bytes(
        (tmp_path / "predictions" / "empty.parquet").read_bytes()
    )
    with opened(tmp_path) as store:
        assert store.state.seen(["1" * 64, "2" * 64, "3" * 64]) == {"1" * 64, "2" * 64}
        assert store.state.last() == fourth
        assert not left.exists()
        fifth = store.state.plan([arrival("e")])
        assert fifth == fourth + 1
        assert store.commit(fifth, {"predictions": images(("/e", "2"))}).repeats == 1
    # A state that is there is used as it is.
    kept = StreamState(state)
    assert kept.last() == fifth
    kept.close()
    with opened(tmp_path) as store:
        assert store.state.taken().tolist() == [arrival("e").key]


def test_a_new_state_is_on_the_disk_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(stream_store, "_sync", synced.append)
    with opened(tmp_path):
        pass
    assert synced == [tmp_path / INNER]
    with opened(tmp_path):
        pass
    assert synced == [tmp_path / INNER]
