"""One writer below an address at a time, and what becomes of one that was killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from pulmospark.core import store_limits
from pulmospark.core.errors import UsageError
from pulmospark.store.failures import ConflictError
from pulmospark.store.lease import Writer, hold_lease, this_machine
from pulmospark.store.published import NAME, Published, RunRecord, Unit, read_published, writing
from pulmospark.store.store import is_there, open_store
from pulmospark.store.uri import StoreUri


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_limits, "LEASE_S", 2.0)
    monkeypatch.setattr(store_limits, "LEASE_BEAT_S", 0.1)


def _writer(process: int, machine: str | None = "another") -> Writer:
    return Writer(token="t", machine=machine, host="host-7", process=process)


def _owner(process: int, machine: str | None = "another") -> bytes:
    return _writer(process, machine).model_dump_json().encode()


def _ended_process() -> int:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def test_a_second_one_is_refused_and_the_object_goes_at_the_end(bucket: StoreUri) -> None:
    uri = bucket / "_work/lease"
    with hold_lease(uri) as lease:
        lease.check()
        with (
            pytest.raises(UsageError, match=r"is writing there \(process \d+ on"),
            hold_lease(uri),
        ):
            pass
        time.sleep(0.4)  # some signs of life
        lease.check()
    assert not is_there(uri)


def test_that_of_a_process_that_is_gone_is_taken_at_once(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_limits, "LEASE_S", 1000.0)
    uri = bucket / "_work/lease"
    open_store(uri).put(uri.key, _owner(_ended_process(), this_machine()))
    with hold_lease(uri) as lease:
        lease.check()


@pytest.mark.parametrize("owner", [_owner(1), b"no JSON", b'["m", 7, "h", "x"]', _owner(-1, None)])
def test_that_of_another_machine_is_taken_after_its_silence(
    owner: bytes, bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_limits, "LEASE_S", 0.4)
    uri = bucket / "_work/lease"
    open_store(uri).put(uri.key, owner)
    waits: list[str] = []
    with hold_lease(uri, waits.append) as lease:
        lease.check()
    assert len(waits) == 1
    assert "waiting up to 0.4 s" in waits[0]


def test_one_that_gives_signs_of_life_is_named(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = bucket / "_work/lease"
    store = open_store(uri)
    store.put(uri.key, _owner(17))
    monkeypatch.setattr(time, "sleep", lambda _: store.put(uri.key, _owner(17) + b" "))
    with pytest.raises(UsageError, match="process 17 on host-7"), hold_lease(uri):
        pass


def test_one_that_ends_meanwhile_is_followed_at_once(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_limits, "LEASE_S", 1000.0)
    uri = bucket / "_work/lease"
    store = open_store(uri)
    store.put(uri.key, _owner(17))
    monkeypatch.setattr(time, "sleep", lambda _: store.delete(uri.key))
    with hold_lease(uri) as lease:
        monkeypatch.undo()
        lease.check()


def test_who_was_taken_over_publishes_nothing(bucket: StoreUri) -> None:
    uri = bucket / "_work/lease"
    with hold_lease(uri) as lease:
        open_store(uri).put(uri.key, _owner(1))
        time.sleep(0.5)
        with pytest.raises(ConflictError, match="another process took over"):
            lease.check()
        with pytest.raises(ConflictError, match="another process took over"):
            lease.write(lease.leased)
    assert open_store(uri).get(uri.key) == _owner(1), "another's lease was deleted"


def test_a_record_keeps_its_content_from_writer_to_writer(bucket: StoreUri) -> None:
    """What the last writer entered while the next one waited is not lost."""
    folder = bucket / "run"
    units = {"a.json": Unit(files={"a.json": (1, "e")})}
    with writing(folder) as lease:
        lease.write(lease.leased.with_units(units))
        time.sleep(0.3)
        record, _ = read_published(folder) or (Published(), "")
        assert record.writer is not None
        assert record.writer.beat > 1
        assert record.units == units
    with writing(folder) as lease:
        assert lease.leased.record.units == units
    content = json.loads(open_store(folder).get(f"run/{NAME}"))
    assert content["writer"] is None
    assert RunRecord(folder).read() is not None


def test_signs_of_life_take_back_no_content(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_limits, "LEASE_BEAT_S", 0.001)
    folder = bucket / "run"
    with writing(folder) as lease:
        for number in range(30):
            units = {"a.json": Unit(files={"a.json": (number, "e")})}
            lease.write(lease.leased.with_units(units))
            assert lease.leased.record.units == units
            time.sleep(0.005)
            record, _ = read_published(folder) or (Published(), "")
            assert record.units == units


def test_a_writer_is_named_by_process_and_host() -> None:
    assert str(_writer(12)) == "process 12 on host-7"
    assert not _writer(12).has_ended()
    assert not _writer(-1, this_machine()).has_ended()
    assert _writer(_ended_process(), this_machine()).has_ended()
    assert not Writer.myself().has_ended()
