"""What a stream makes of Spark's jobs that fail, told without Spark."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from pulmospark.core import limits, schemas, stream_limits
from pulmospark.core.errors import PlatformError, SourceUnavailableError
from pulmospark.core.hashing import value_id
from pulmospark.core.provenance import now_utc
from pulmospark.core.schemas import RejectReason
from pulmospark.inference.stream.ledger import Arrival
from pulmospark.inference.stream.output import STATE, open_output
from pulmospark.inference.stream.query import StreamQuery
from pulmospark.inference.stream.source import SourceSpec
from pulmospark.inference.stream.store import INNER, StreamStore
from pulmospark.inference.stream.tasks import to_bytes


class _Query(StreamQuery):
    """A query whose jobs fail where an image's name begins with ``bad``."""

    def start(self) -> None:
        self._failure = None

    def job(self) -> None:
        """What Spark would do next."""
        entry = self._store.state.open_entries()[0]
        names = [arrival.uri for arrival in self._store.state.arrivals(entry)]
        if any(name.startswith("/bad") for name in names):
            self._failure = RuntimeError("Python worker exited unexpectedly (crashed)")
            self.begin_anew()
            return
        row = {"prediction": "x", "probability": [1.0], "logits": [0.0], "model_id": "m"}
        rows = [
            {
                **row,
                "uri": name,
                "source": "s",
                "image_id": value_id(name),
                "predicted_at": now_utc(),
            }
            for name in names
        ]
        images = to_bytes(pa.Table.from_pylist(rows, schema=schemas.PREDICTIONS))
        result = {"entry": entry, "name": "predictions", "rows": images, "error": None}
        self._commit(entry, [result])


@contextlib.contextmanager
def _query(out: Path) -> Iterator[tuple[_Query, StreamStore]]:
    with open_output(out, {"model_id": "m"}, dict) as store:
        spec = SourceSpec(str(out / INNER / STATE), 2, "")
        none = cast("SparkSession", None)
        yield (
            _Query(
                none,
                store,
                spec,
                source="inbox",
                is_young=lambda _: False,
                heard=lambda *_: None,
            ),
            store,
        )


@pytest.mark.parametrize(
    "names",
    [["bad-a", "bad-b"], ["bad-a", "b", "bad-c", "d"], ["bad-a", "bad-b", "c", "bad-d"], ["a"]],
)
def test_images_that_end_their_workers_are_rejected_and_the_others_scored(
    tmp_path: Path, names: list[str]
) -> None:
    with _query(tmp_path / "out") as (query, store):
        store.state.plan([Arrival(f"/{name}.png", 1, 2, 3) for name in names])
        while store.state.open_entries():
            query.job()
    written = {
        table: Counter(pq.read_table(tmp_path / "out" / table)["uri"].to_pylist())
        for table in ("predictions", "rejects")
    }
    bad = {f"/{name}.png" for name in names if name.startswith("bad")}
    assert written["rejects"] == Counter(bad)
    reasons = pq.read_table(tmp_path / "out" / "rejects")["reason"].to_pylist()
    assert set(reasons) <= {RejectReason.ENDED_ITS_WORKER}
    assert written["predictions"] == Counter({f"/{name}.png" for name in names} - bad)


def test_where_a_machine_cannot_read_no_image_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(stream_limits, "STORE_PATIENCE_S", 1.5)
    java = "Lost task 0.0: PythonException: Traceback (most recent call last):\n  ...\n"
    with _query(tmp_path / "out") as (query, store):
        store.state.plan([Arrival("/a.png", 1, 2, 3)])
        failure = RuntimeError(
            f"{java}pulmospark.core.errors.SourceUnavailableError: host-7: cannot read /a.png"
        )
        query._failure = failure
        query.begin_anew()  # the store, or the mount, may be there again
        assert pauses == [stream_limits.STORE_PAUSE_S]
        query._failure = failure
        with pytest.raises(SourceUnavailableError, match=r"^host-7: cannot read /a\.png$"):
            query.begin_anew()
        assert len(store.state.open_entries()) == 1
    assert not (tmp_path / "out" / "rejects").exists() or not pq.read_table(
        tmp_path / "out" / "rejects"
    )


@pytest.mark.parametrize("together", [True, False])
def test_where_every_image_fails_it_is_no_image_s_fault(tmp_path: Path, together: bool) -> None:
    images = [Arrival(f"/bad-{number}.png", 1, 2, 3) for number in range(64)]
    with _query(tmp_path / "out") as (query, store):
        for few in [images] if together else [[image] for image in images]:
            store.state.plan(few)
        with pytest.raises(PlatformError, match=r"fail repeatedly: .*Python worker exited"):
            for _ in range(100):
                query.job()
    rejects = pq.read_table(tmp_path / "out" / "rejects").num_rows
    assert rejects == (0 if together else limits.STREAM_ENDED_MAX)
