"""One writer of a work folder at a time, and what becomes of one that was killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from pulmospark.core import store_limits
from pulmospark.core.errors import UsageError
from pulmospark.store.failures import ConflictError
from pulmospark.store.lease import this_machine
from pulmospark.store.store import is_there, open_store
from pulmospark.store.uri import StoreUri
from pulmospark.store.work_lease import hold_lease


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_limits, "LEASE_S", 0.6)
    monkeypatch.setattr(store_limits, "LEASE_BEAT_S", 0.1)


def _owner(process: int, machine: str | None = "another") -> bytes:
    return json.dumps([machine, process, "host-7", "x"]).encode()


def test_a_second_one_is_refused_and_the_object_goes_at_the_end(bucket: StoreUri) -> None:
    uri = bucket / "_work/lease"
    with hold_lease(uri) as lease:
        lease.check()
        with pytest.raises(UsageError, match="is in use by process"), hold_lease(uri):
            pass
        time.sleep(0.4)  # some signs of life
        lease.check()
    assert not is_there(uri)


def test_that_of_a_process_that_is_gone_is_taken_at_once(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_limits, "LEASE_S", 1000.0)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    uri = bucket / "_work/lease"
    open_store(uri).put(uri.key, _owner(gone.pid, this_machine()))
    with hold_lease(uri) as lease:
        lease.check()


@pytest.mark.parametrize("owner", [_owner(1), b"no JSON", _owner(-1, None)])
def test_that_of_another_machine_is_taken_after_its_silence(
    owner: bytes, bucket: StoreUri
) -> None:
    uri = bucket / "_work/lease"
    open_store(uri).put(uri.key, owner)
    with hold_lease(uri) as lease:
        lease.check()


def test_one_that_gives_signs_of_life_is_named(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = bucket / "_work/lease"
    store = open_store(uri)
    store.put(uri.key, _owner(17))
    monkeypatch.setattr(time, "sleep", lambda _: store.put(uri.key, _owner(17) + b" "))
    with pytest.raises(UsageError, match="process 17 on host-7"), hold_lease(uri):
        pass


def test_who_was_taken_over_publishes_nothing(bucket: StoreUri) -> None:
    uri = bucket / "_work/lease"
    with hold_lease(uri) as lease:
        open_store(uri).put(uri.key, _owner(1))
        time.sleep(0.4)
        with pytest.raises(ConflictError, match="another process took over"):
            lease.check()
    assert open_store(uri).get(uri.key) == _owner(1), "another's lease was deleted"
