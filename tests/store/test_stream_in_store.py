"""A stream whose inbox and output lie in a store: each image once, from any machine."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deltalake
import polars as pl
import pyarrow as pa
import pytest

from pulmospark.config.stream import StreamSettings
from pulmospark.core import schemas, stream_limits
from pulmospark.core.errors import PlatformError, SourceUnavailableError, UsageError
from pulmospark.core.hashing import bytes_id
from pulmospark.core.provenance import now_utc
from pulmospark.inference.stream import store as stream_store
from pulmospark.inference.stream.ledger import Arrival
from pulmospark.inference.stream.output import check_output, open_output, work_folder
from pulmospark.inference.stream.store import StreamStore
from pulmospark.inference.stream.stored_inbox import StoredInbox
from pulmospark.inference.stream.tasks import changed_uris
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri, parse_uri

IDENTITY = {"model_id": "a" * 64}


class EndedError(Exception):
    """Where a process is killed."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _scored(arrivals: list[Arrival]) -> dict[str, pa.Table]:
    """Objects that begin with "bad" are no images; two of one content are one image."""
    images, rejects = [], []
    for arrival in arrivals:
        uri = parse_uri(arrival.uri)
        data = open_store(uri).get(uri.key)
        row = {"uri": arrival.uri, "source": "inbox", "image_id": bytes_id(data)}
        if data.startswith(b"bad"):
            sizes = {"size_bytes": arrival.size_bytes, "modified_ns": arrival.modified_ns}
            rejects.append({**row, **sizes, "reason": "not_an_image", "detail": "bad"})
        else:
            more = {"prediction": "x", "probability": [1.0], "logits": [0.0], "model_id": "m"}
            images.append({**row, **more, "predicted_at": now_utc()})
    return {
        "predictions": pa.Table.from_pylist(images, schema=schemas.PREDICTIONS),
        "rejects": pa.Table.from_pylist(rejects, schema=schemas.REJECTS),
    }


def _ignore(step: str) -> None:
    del step


def _inbox(bucket: StoreUri, store: StreamStore, **more: Any) -> StoredInbox:
    return StoredInbox(bucket / "in", StreamSettings(**more), store.state.taken())


def _live(bucket: StoreUri, step: Callable[[str], None] = _ignore, room: int = 2) -> None:
    """A stream without Spark: what was left first, then what lies in the inbox."""
    with open_output(bucket / "out", IDENTITY, dict, step=step) as store:
        watched = _inbox(bucket, store)
        while not watched.drained or store.state.open_entries():
            for entry in store.state.open_entries():
                arrivals = store.state.arrivals(entry)
                again = changed_uris(arrivals)
                scored = _scored([arrival for arrival in arrivals if arrival.uri not in again])
                store.commit(entry, scored, again)
                for arrival in arrivals:
                    (watched.give_back if arrival.uri in again else watched.settled)(arrival)
            watched.look()
            if taken := watched.take(room):
                store.state.plan(taken)
                step("planned")


def _rows(bucket: StoreUri, table: str) -> list[dict[str, Any]]:
    # With credentials and endpoint of the environment alone, as a stranger has them.
    opened = deltalake.DeltaTable(
        f"{bucket}out/{table}", storage_options={"AWS_ALLOW_HTTP": "true"}
    )
    rows: list[dict[str, Any]] = pa.table(opened.to_pyarrow_table()).to_pylist()
    return rows


def _check_whole(bucket: StoreUri) -> None:
    """Every image once; every object in one table, and in ``arrivals``."""
    store = open_store(bucket)
    data = {str(found.uri): store.get(found.uri.key) for found in store.list("in/")}
    good = {bytes_id(content) for content in data.values() if not content.startswith(b"bad")}
    assert Counter(row["image_id"] for row in _rows(bucket, "predictions")) == Counter(good)
    uris = [row["uri"] for name in ("predictions", "rejects", "repeats")
            for row in _rows(bucket, name)]  # fmt: skip
    assert sorted(uris) == sorted(data)
    assert sorted(row["uri"] for row in _rows(bucket, "_stream/arrivals")) == sorted(data)


def _land(bucket: StoreUri, **contents: bytes) -> None:
    for name, content in contents.items():
        open_store(bucket).put(f"in/{name}.png", content)


def test_ended_at_each_step_in_turn(bucket: StoreUri, cache: Path) -> None:
    """On the same machine, and on a new one, where nothing is left but the tables."""
    _land(bucket, a=b"one", b=b"bad", c=b"one")
    steps: list[str] = []
    _live(bucket, steps.append, room=3)
    _check_whole(bucket)
    assert len(steps) == 10
    for end, machine in itertools.product(range(1, len(steps) + 1), ("same", "new")):
        for found in open_store(bucket).list("out/"):
            open_store(bucket).delete(found.uri.key)
        shutil.rmtree(cache)
        left = end

        def step(name: str) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise EndedError(name)

        with pytest.raises(EndedError):
            _live(bucket, step, room=3)
        if machine == "new":
            shutil.rmtree(cache)
        _live(bucket)
        _check_whole(bucket)


def test_an_object_that_is_overwritten_is_a_new_image(bucket: StoreUri) -> None:
    _land(bucket, a=b"one", b=b"two")
    _live(bucket)
    _land(bucket, a=b"three", b=b"two")  # the same bytes again are the same object
    _live(bucket)
    ids = [row["image_id"] for row in _rows(bucket, "predictions")]
    assert sorted(ids) == sorted(bytes_id(data) for data in (b"one", b"two", b"three"))
    assert _rows(bucket, "repeats") == []


def test_an_object_that_is_overwritten_while_it_is_read_is_read_again(bucket: StoreUri) -> None:
    _land(bucket, a=b"one")

    def step(name: str) -> None:
        if name == "planned" and open_store(bucket).get("in/a.png") == b"one":
            _land(bucket, a=b"other")

    _live(bucket, step)
    (row,) = _rows(bucket, "predictions")
    assert row["image_id"] == bytes_id(b"other")
    _check_whole(bucket)


def test_what_is_no_image_is_reported_once(bucket: StoreUri) -> None:
    _land(bucket, a=b"one")
    for name in ("notes.txt", "more.txt", ".hidden.png", "folder/", "DX.1.2"):
        open_store(bucket).put(f"in/{name}", b"text")
    open_store(bucket).put("elsewhere/b.png", b"two")
    with open_output(bucket / "out", IDENTITY, dict) as store:
        watched = _inbox(bucket, store, rescan_s=0.1)
        watched.look()
        assert [arrival.uri for arrival in watched.take(9)] == [f"{bucket}in/a.png"]
        lines = watched.left_out()
        assert len(lines) == 2
        assert any(".txt is not an image extension" in line for line in lines)
        assert not watched.drained
    assert watched.left_out() == []


def test_a_listing_is_read_page_by_page(bucket: StoreUri, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulmospark.inference.stream.stored_inbox._PAGE", 2)
    monkeypatch.setattr("pulmospark.inference.stream.stored_inbox._CANDIDATES_MAX", 3)
    _land(bucket, **{f"image{number}": b"%d" % number for number in range(7)})
    with open_output(bucket / "out", IDENTITY, dict) as store:
        watched = _inbox(bucket, store)
        taken: list[str] = []
        for _ in range(20):
            watched.look()
            assert watched.waiting <= 4
            for arrival in watched.take(1):
                taken.append(arrival.uri)
                watched.settled(arrival)
        assert watched.drained
    assert len(taken) == len(set(taken)) == 7


def test_two_streams_on_one_output_are_refused_by_the_table(
    bucket: StoreUri, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second runs on another machine, where no lock of the first is seen."""
    _land(bucket, a=b"one")
    with open_output(bucket / "out", IDENTITY, dict) as first:
        with (
            pytest.raises(UsageError, match="another stream is writing there"),
            open_output(bucket / "out", IDENTITY, dict),
        ):
            pass
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other machine"))
        with open_output(bucket / "out", IDENTITY, dict) as second:
            for store, wins in ((second, True), (first, False)):
                watched = _inbox(bucket, store)
                watched.look()
                arrivals = watched.take(1)
                entry = store.state.plan(arrivals)
                if wins:
                    store.commit(entry, _scored(arrivals))
                else:
                    with pytest.raises(UsageError, match=r"another stream writes there, and was"):
                        store.commit(entry, _scored(arrivals))
    _check_whole(bucket)


def test_the_output_of_another_bundle_or_of_something_else_is_refused(bucket: StoreUri) -> None:
    with open_output(bucket / "out", IDENTITY, dict):
        pass
    with pytest.raises(UsageError, match="belongs to the bundle aaaaaaaaaaaa"):
        check_output(bucket / "out", {"model_id": "b" * 64})
    open_store(bucket).put("theirs/thesis.txt", b"x")
    with pytest.raises(UsageError, match="is not a stream output folder"):
        check_output(bucket / "theirs")
    check_output(bucket / "new", IDENTITY)


def test_tables_are_compacted_and_stay_the_same(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(stream_limits, "STREAM_UPKEEP_BATCHES", 5)
    _land(bucket, **{f"image{number:02d}": b"%d" % number for number in range(12)})
    _live(bucket, room=1)
    _check_whole(bucket)
    options = {"AWS_ALLOW_HTTP": "true"}
    for table in ("predictions", "_stream/arrivals"):
        opened = deltalake.DeltaTable(f"{bucket}out/{table}", storage_options=options)
        assert len(opened.file_uris()) == 3  # two batches since the last time
        assert opened.transaction_version(stream_store.APPLICATION) == 12
    assert pl.read_delta(f"{bucket}out/predictions", storage_options=options).height == 12
    shutil.rmtree(cache)
    _live(bucket)  # a new machine reads checkpoint and compacted files
    _check_whole(bucket)


def test_a_store_that_fails_is_waited_for(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("pulmospark.store.patience.time.sleep", pauses.append)
    failing = {"left": 3}
    put = type(open_store(bucket)).put

    def throttled(self: Any, key: str, data: bytes) -> str | None:
        failing["left"] -= 1
        if failing["left"] >= 0:
            raise SourceUnavailableError("slow down")
        return put(self, key, data)

    _land(bucket, a=b"one")
    with monkeypatch.context() as patch:
        patch.setattr(type(open_store(bucket)), "put", throttled)
        _live(bucket)
    assert pauses == [1.0, 2.0, 4.0]
    _check_whole(bucket)


def test_no_credentials_are_kept(bucket: StoreUri, cache: Path) -> None:
    _land(bucket, a=b"one", b=b"bad")
    _live(bucket)
    store = open_store(bucket)
    kept = [store.get(found.uri.key) for found in store.list("out/")]
    kept += [
        path.read_bytes() for path in work_folder(bucket / "out").rglob("*") if path.is_file()
    ]
    assert len(kept) > 8
    assert not any(b"of-a-test" in data for data in kept)


def test_a_store_that_ignores_conditions_is_refused(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_store(bucket)
    put = type(opened)._put

    def heedless(self: Any, key: str, data: bytes, _: Any) -> str | None:
        return put(self, key, data, None)

    monkeypatch.setattr(type(opened), "_put", heedless)
    with (
        pytest.raises(PlatformError, match="ignores conditional writes"),
        open_output(bucket / "out", IDENTITY, dict),
    ):
        pass
