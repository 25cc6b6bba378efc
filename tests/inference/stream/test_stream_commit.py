"""One commit of a stream at a time: its steps, its order on the disk, its record, its refusals."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pulmospark.core import files, schemas
from pulmospark.core.errors import InputError, PlatformError, UsageError
from pulmospark.core.provenance import now_utc
from pulmospark.inference.stream.ledger import Arrival
from pulmospark.inference.stream.output import (
    RECORD,
    check_free,
    check_output,
    open_output,
)
from pulmospark.inference.stream.store import INNER, Committed, StreamStore, arrival_of

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
    with open_output(out, IDENTITY, lambda: {"made": "here"}, **more) as store:
        yield store


def parts(out: Path) -> dict[str, list[str]]:
    return {
        table: sorted(path.name for path in (out / table).glob("*-*.parquet"))
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
        assert store.state.open_entries() == []
    assert steps == [
        "rejects staged", "repeats staged", "predictions staged", "recorded", "committed",
        "indexed", "rejects published", "repeats published", "predictions published",
    ]  # fmt: skip
    names = staged[2]
    assert [name[:-16] for name in names] == [
        f"{table}-{1:010d}-" for table in ("predictions", "rejects", "repeats")
    ]
    assert staged[3] == staged[4] == staged[5] == names
    assert staged[6] == [names[0], names[2]]
    assert staged[8] == []
    assert parts(out) == {
        table: [name] for table, name in zip(("predictions", "rejects", "repeats"), names,
                                             strict=True)
    }  # fmt: skip
    arrivals = deltalake.DeltaTable(out / INNER / "arrivals")
    listed = {row["uri"]: row for row in pa.table(arrivals.to_pyarrow_table()).to_pylist()}
    assert {uri: row["parts"] for uri, row in listed.items()} == {
        "/a": [names[0]], "/b": [names[2]], "/c": [names[1]],
    }  # fmt: skip
    assert [row["batch"] for row in listed.values()] == [1, 1, 1]
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

    def sync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    with opened(tmp_path, step=synced.append) as store:
        synced.clear()
        monkeypatch.setattr(os, "fsync", sync)
        entry = store.state.plan([arrival("a"), arrival("b")])
        store.commit(entry, {"predictions": images(("/a", "1")), "rejects": rejected("/b")})
        monkeypatch.undo()
    order = [re.sub(r"^\.|-0{9}1-.*|\.json.*|\.[0-9a-f]{32}\.part", "", name) for name in synced]
    log = f"{1:020d}"
    assert order == [
        "rejects", "staged", "rejects staged", "predictions", "staged", "predictions staged",
        "arrivals", "arrivals", "recorded", log, "_delta_log", "committed", "indexed",
        "rejects", log, "_delta_log", "rejects published",
        "predictions", log, "_delta_log", "predictions published",
    ]  # fmt: skip


def test_the_error_of_a_full_disk_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with opened(tmp_path) as store:
        entry = store.state.plan([arrival("a")])
        monkeypatch.setattr(os, "fsync", full)
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
        assert store.state.seen(["1" * 64]) == {"1" * 64}


def test_a_committed_part_that_is_gone_is_named_with_the_remedy(tmp_path: Path) -> None:
    class EndError(Exception):
        pass

    def end(name: str) -> None:
        if name == "committed":
            raise EndError

    with pytest.raises(EndError), opened(tmp_path, step=end) as store:
        store.commit(store.state.plan([arrival("a")]), {"rejects": rejected("/a")})
    (staged,) = (tmp_path / INNER / "staged").iterdir()
    target = tmp_path / "rejects" / staged.name
    data = staged.read_bytes()
    staged.unlink()
    with pytest.raises(InputError) as caught, opened(tmp_path):
        pass
    assert caught.value.message == (
        f"{target}: is committed but missing: restore it, or start in a new folder with --out"
    )
    target.write_bytes(data)  # put back
    with opened(tmp_path) as store:
        assert store.state.taken().tolist() == [arrival("a").key]
    assert len(deltalake.DeltaTable(tmp_path / "rejects").file_uris()) == 1


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
        with open_output(tmp_path / "out", IDENTITY, record):
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
    assert sorted(path.name for path in (out / INNER).iterdir())[:2] == ["arrivals", "lock"]


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
    check_output(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    check_output(tmp_path / "empty", IDENTITY)
    for name in (INNER, "predictions", "rejects", "repeats"):  # killed before its record was made
        (tmp_path / "half" / name).mkdir(parents=True)
    check_output(tmp_path / "half", IDENTITY)
    (tmp_path / "half" / "thesis").mkdir()
    (tmp_path / "file").touch()
    for name in ("half", "file"):
        with pytest.raises(UsageError) as caught:
            check_output(tmp_path / name)
        assert caught.value.message == (
            f"{tmp_path / name}: is not a stream output folder: choose another --out"
        )
    files.write_json(tmp_path / "half" / RECORD, {"stream": IDENTITY})
    check_output(tmp_path / "half")
    check_output(tmp_path / "half", IDENTITY)
    with pytest.raises(UsageError) as caught:
        check_output(tmp_path / "half", {"model_id": "b" * 64})
    assert caught.value.message == (
        f"{tmp_path / 'half'}: belongs to the bundle {'a' * 12}, not to {'b' * 12}: choose "
        "another --out"
    )
    files.write_json(tmp_path / "half" / RECORD, {})
    with pytest.raises(UsageError, match="belongs to the bundle None"):
        check_output(tmp_path / "half", IDENTITY)
