"""The commit of a stream: killed anywhere, each image is in the tables once."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pulmospark.config.stream import StreamSettings
from pulmospark.core import schemas
from pulmospark.core.errors import InputError, PlatformError, UsageError
from pulmospark.core.hashing import bytes_id
from pulmospark.core.provenance import now_utc
from pulmospark.inference.stream.inbox import Inbox
from pulmospark.inference.stream.ledger import (
    Arrival,
    DamagedStateError,
    StreamState,
    state_errors,
)
from pulmospark.inference.stream.output import STATE, open_output
from pulmospark.inference.stream.store import INNER

IDENTITY = {"model_id": hashlib.sha256(b"a model").hexdigest()}
_STEPS_MAX = 60


def _scored(arrivals: list[Arrival]) -> dict[str, pa.Table]:
    """As the works score: text that begins with "bad" is not an image, "side" is a lateral one."""
    images, rejects = [], []
    for arrival in arrivals:
        data = Path(arrival.uri).read_bytes()
        row = {"uri": arrival.uri, "source": "inbox", "image_id": bytes_id(data)}
        if data.startswith(b"bad"):
            sizes = {"size_bytes": arrival.size_bytes, "modified_ns": arrival.modified_ns}
            rejects.append({**row, **sizes, "reason": "not_an_image", "detail": "bad"})
            continue
        more = {"prediction": "x", "probability": [1.0], "logits": [0.0], "model_id": "m"}
        cautions = ["other_view"] if data.startswith(b"side") else []
        images.append({**row, **more, "cautions": cautions, "predicted_at": now_utc()})
    return {
        "predictions": pa.Table.from_pylist(images, schema=schemas.PREDICTIONS),
        "rejects": pa.Table.from_pylist(rejects, schema=schemas.REJECTS),
    }


def _live(inbox: Path, out: Path, room: int, step: Callable[[str], None]) -> None:
    """A stream without Spark: what was left first, then what lies in the inbox."""
    with open_output(out, IDENTITY, dict, step=step) as store:
        watched = Inbox(inbox, StreamSettings(settle_s=0.0), store.state.taken())
        while True:
            for entry in store.state.open_entries():
                arrivals = store.state.arrivals(entry)
                store.commit(entry, _scored(arrivals))
                for arrival in arrivals:
                    watched.settled(arrival)
            watched.look()
            if not (taken := watched.take(room)):
                return
            step("taken")
            store.state.plan(taken)
            step("planned")


def _life(inbox: Path, out: Path, room: int, kill_at: int | None) -> int:
    """A life in a process of its own, killed without a warning at its n-th step; steps it had."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        steps = 0

        def step(name: str) -> None:
            nonlocal steps
            steps += 1
            os.write(write, b".")
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            _live(inbox, out, room, step)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read, "rb") as file:
        steps = len(file.read())
    ended_well = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
    killed = os.WIFSIGNALED(status) and kill_at is not None
    assert ended_well or killed
    return steps


def _images(out: Path) -> list[str]:
    """Images that plain readers find; both find the same."""
    if not (out / "predictions" / "empty.parquet").is_file():
        return []
    by_arrow = pq.read_table(out / "predictions")["image_id"].to_pylist()
    query = f"SELECT image_id FROM '{out}/predictions/*.parquet'"
    assert sorted(by_arrow) == sorted(row[0] for row in duckdb.execute(query).fetchall())
    return [str(image) for image in by_arrow]


def _check_whole(inbox: Path, out: Path) -> None:
    """Every image once; every file in one table; cautions and rejects as they should be."""
    data = {str(path): path.read_bytes() for path in inbox.iterdir()}
    good = {bytes_id(content) for content in data.values() if not content.startswith(b"bad")}
    assert Counter(_images(out)) == Counter(good)
    rows = {name: pq.read_table(out / name) for name in ("predictions", "rejects", "repeats")}
    uris = [uri for table in rows.values() for uri in table["uri"].to_pylist()]
    assert sorted(uris) == sorted(data)
    bad = {uri for uri, content in data.items() if content.startswith(b"bad")}
    assert set(rows["rejects"]["uri"].to_pylist()) == bad
    assert set(rows["repeats"]["image_id"].to_pylist()) <= good
    for name, table in rows.items():
        assert table.schema.equals(getattr(schemas, name.upper()))
        by_log = pa.table(deltalake.DeltaTable(out / name).to_pyarrow_table())
        assert sorted(by_log["uri"].to_pylist()) == sorted(table["uri"].to_pylist())
    scored = rows["predictions"].to_pylist()
    sides = {bytes_id(content) for content in data.values() if content.startswith(b"side")}
    assert {row["image_id"] for row in scored if row["cautions"]} == sides
    assert not list((out / INNER / "staged").iterdir())


_CONTENTS = st.sampled_from(["one", "two", "three", "four", "side", "bad", "bad too"])
_LIVES = st.lists(
    st.tuples(
        st.lists(_CONTENTS, max_size=4),  # what lands before it
        st.integers(1, 3),  # files of an entry
        st.integers(1, 25),  # the step at which it is killed
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lives=_LIVES)
def test_killed_at_random_every_image_is_there_once(
    lives: list[tuple[list[str], int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("lives")
    inbox, out = root / "inbox", root / "out"
    inbox.mkdir()
    before: Counter[str] = Counter()
    for life, (contents, room, kill_at) in enumerate(lives):
        for number, text in enumerate(contents):
            (inbox / f"{life}-{number}.png").write_text(text, encoding="utf-8")
        _life(inbox, out, room, kill_at)
        now = Counter(_images(out))
        assert max(now.values(), default=1) == 1
        assert before <= now  # a row that was read once stays
        before = now
    _life(inbox, out, 2, None)
    _check_whole(inbox, out)


def test_killed_at_each_step_in_turn(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number, text in enumerate(["one", "side", "bad", "one"]):
        (inbox / f"{number}.png").write_text(text, encoding="utf-8")
    whole = _life(inbox, tmp_path / "whole", 3, None)
    assert 10 < whole < _STEPS_MAX
    for kill_at in range(1, whole + 1):
        out = tmp_path / f"out-{kill_at}"
        assert _life(inbox, out, 3, kill_at) == kill_at
        _life(inbox, out, 3, None)
        _check_whole(inbox, out)


def test_a_kill_while_what_was_left_is_put_in_order(tmp_path: Path) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    for number, text in enumerate(["one", "side", "bad"]):
        (inbox / f"{number}.png").write_text(text, encoding="utf-8")
    names: list[str] = []
    _live(inbox, tmp_path / "whole", 3, names.append)
    _life(inbox, out, 3, names.index("committed") + 1)
    for kill_at in (1, 1, 1):  # each time one part more is in its table
        _life(inbox, out, 3, kill_at)
    _life(inbox, out, 3, None)
    _check_whole(inbox, out)


def _one_image(tmp_path: Path) -> tuple[Path, Path]:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    (inbox / "a.png").write_text("one", encoding="utf-8")
    _live(inbox, out, 3, lambda _: None)
    return inbox, out


@pytest.mark.parametrize("harm", ["lost", "damaged"])
def test_a_lost_state_is_rebuilt_from_the_tables(tmp_path: Path, harm: str) -> None:
    inbox, out = _one_image(tmp_path)
    state = out / INNER / STATE
    if harm == "lost":
        state.unlink()
    else:
        state.write_bytes(b"no database, by any means" * 100)
    (inbox / "b.png").write_text("two", encoding="utf-8")
    _live(inbox, out, 3, lambda _: None)
    assert Counter(_images(out)) == Counter([bytes_id(b"one"), bytes_id(b"two")])
    assert pq.read_table(out / "repeats").num_rows == 0  # which files were taken is known still


def test_the_log_of_a_state_that_is_lost_is_not_the_new_one_s(tmp_path: Path) -> None:
    inbox, out = _one_image(tmp_path)
    path = out / INNER / STATE
    log = path.with_name(f"{STATE}-wal")
    state = StreamState(path)
    state.plan([Arrival("/gone.png", 1, 2, 3)])
    left = log.read_bytes()  # as a driver that is killed leaves it
    state.close()
    path.unlink()
    log.write_bytes(left)
    (inbox / "b.png").write_text("two", encoding="utf-8")
    _live(inbox, out, 3, lambda _: None)
    assert Counter(_images(out)) == Counter([bytes_id(b"one"), bytes_id(b"two")])


def test_a_state_that_another_program_holds_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, out = _one_image(tmp_path)
    monkeypatch.setattr("pulmospark.inference.stream.ledger._WAIT_S", 0.1)
    other = sqlite3.connect(out / INNER / STATE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(PlatformError, match="is locked: another program holds it: stop that"):
        _live(inbox, out, 3, lambda _: None)
    other.close()
    _live(inbox, out, 3, lambda _: None)
    assert pq.read_table(out / "repeats").num_rows == 0  # which files were taken is known still


@pytest.mark.parametrize(
    ("code", "damaged", "remedy"),
    [
        (sqlite3.SQLITE_NOTADB, True, "rebuilds it from the tables"),
        (sqlite3.SQLITE_CORRUPT | 1 << 8, True, "rebuilds it from the tables"),
        (sqlite3.SQLITE_IOERR | 10 << 8, False, "check that its disk works"),
        (sqlite3.SQLITE_READONLY, False, "is writable"),
        (sqlite3.SQLITE_FULL, False, "make room"),
    ],
)
def test_only_damage_is_damage(tmp_path: Path, code: int, damaged: bool, remedy: str) -> None:
    error = sqlite3.OperationalError("so it says")
    error.sqlite_errorcode = code
    with (
        pytest.raises(PlatformError, match=f"s.sqlite: so it says: .*{remedy}") as caught,
        state_errors(tmp_path / "s.sqlite"),
    ):
        raise error
    assert isinstance(caught.value, DamagedStateError) == damaged


def test_a_full_disk_is_a_one_line_error(tmp_path: Path) -> None:
    state = StreamState(tmp_path / "state.sqlite")
    state._db.execute("PRAGMA max_page_count = 1")  # no more than there are
    with pytest.raises(PlatformError, match="disk is full: make room"):
        state.plan([Arrival(f"/{number}".ljust(500, "x"), 1, 2, 3) for number in range(500)])
    assert state.open_entries() == []
    state.close()


def test_a_read_only_lock_is_a_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def refused(path: Path, *arguments: Any, **more: Any) -> Any:
        if path.name == "lock":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **more)

    monkeypatch.setattr(Path, "open", refused)
    with (
        pytest.raises(PlatformError, match="no permission to write there"),
        open_output(tmp_path / "out", IDENTITY, dict),
    ):
        pass


def test_the_same_image_sent_again_is_a_repeat_also_in_another_life(tmp_path: Path) -> None:
    inbox, out = _one_image(tmp_path)
    (inbox / "again.png").write_text("one", encoding="utf-8")
    _live(inbox, out, 3, lambda _: None)
    (row,) = pq.read_table(out / "repeats").to_pylist()
    assert (row["uri"], row["image_id"]) == (str(inbox / "again.png"), bytes_id(b"one"))
    assert row["size_bytes"] == 3
    assert _images(out) == [bytes_id(b"one")]


def test_a_file_without_a_row_is_never_committed(tmp_path: Path) -> None:
    with open_output(tmp_path / "out", IDENTITY, dict) as store:
        entry = store.state.plan([Arrival("/a.png", 1, 2, 3), Arrival("/b.png", 1, 2, 3)])
        with pytest.raises(ValueError, match="2 files, but results for 1"):
            store.commit(entry, {}, again=["/a.png"])
        assert store.state.open_entries() == [entry]


def _row(uri: str, image_id: str) -> dict[str, object]:
    more = {"prediction": "x", "probability": [1.0], "logits": [0.0], "model_id": "m"}
    return {"uri": uri, "image_id": image_id, **more, "predicted_at": now_utc()}


def test_a_file_of_several_frames_has_one_row_per_frame(tmp_path: Path) -> None:
    files = [Arrival("/ct.dcm", 1, 2, 3), Arrival("/a#frame-7", 1, 2, 3)]
    first, second = (bytes_id(one) for one in (b"first", b"second"))
    rows = [
        _row("/ct.dcm#frame-1", first),
        _row("/ct.dcm#frame-2", second),
        _row("/a#frame-7", first),  # the file's own name, and an image that was seen
    ]
    images = pa.Table.from_pylist(rows, schema=schemas.PREDICTIONS)
    with open_output(tmp_path / "out", IDENTITY, dict) as store:
        entry = store.state.plan(files)
        committed = store.commit(entry, {"predictions": images})
        assert (committed.images, committed.repeats) == (2, 1)
        entry = store.state.plan(files[:1])
        with pytest.raises(ValueError, match="1 files"):
            store.commit(entry, {"predictions": pa.concat_tables([images[:1], images[:1]])})
    assert Counter(_images(tmp_path / "out")) == Counter([first, second])


def test_a_file_that_is_given_back_is_not_taken(tmp_path: Path) -> None:
    a, b = Arrival("/a.png", 1, 2, 3), Arrival("/b.png", 1, 2, 3)
    with open_output(tmp_path / "out", IDENTITY, dict) as store:
        committed = store.commit(store.state.plan([a]), {}, again=["/a.png"])
        assert (committed.images, committed.again) == (0, 1)
        store.state.plan([b])
        assert store.state.taken().tolist() == [b.key]


def test_an_entry_is_halved_and_nothing_of_it_is_lost(tmp_path: Path) -> None:
    state = StreamState(tmp_path / "state.sqlite")
    files = [Arrival(f"/{number}.png", 1, 2, 3, "empty") for number in range(5)]
    first = state.plan(files)
    assert [state.failed(first), state.failed(first)] == [1, 2]
    state.halve(first)
    halves = [state.arrivals(entry) for entry in state.open_entries()]
    assert [len(half) for half in halves] == [2, 3]
    assert [arrival for half in halves for arrival in half] == files
    assert first not in state.open_entries()
    assert state.last() == first + 2


def test_a_folder_of_another_bundle_or_of_something_else_is_refused(tmp_path: Path) -> None:
    with open_output(tmp_path / "out", IDENTITY, dict):
        pass
    with (
        pytest.raises(UsageError, match="belongs to the bundle"),
        open_output(tmp_path / "out", {"model_id": "f" * 64}, dict),
    ):
        pass
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with (
        pytest.raises(UsageError, match="not a stream output folder"),
        open_output(tmp_path / "mine", IDENTITY, dict),
    ):
        pass


def test_a_missing_committed_part_is_reported(tmp_path: Path) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    (inbox / "a.png").write_text("one", encoding="utf-8")
    names: list[str] = []
    _live(inbox, tmp_path / "whole", 3, names.append)
    _life(inbox, out, 3, names.index("committed") + 1)
    for staged in (out / INNER / "staged").iterdir():
        staged.unlink()
    with pytest.raises(InputError, match="is committed but missing"):
        _live(inbox, out, 3, lambda _: None)
