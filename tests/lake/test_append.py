"""Versions appended to Delta tables, on a disk and in a store."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import deltalake
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pulmospark.core.delta_log import write_log
from pulmospark.core.errors import InputError
from pulmospark.lake.append import append_version
from pulmospark.lake.table import open_table
from pulmospark.store.failures import ConflictError
from pulmospark.store.uri import StoreUri

SCHEMA = pa.schema([pa.field("n", pa.int64(), nullable=False)])
DATED = SCHEMA.append(pa.field("date", pa.date32()))


@pytest.fixture(params=["disk", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "disk":
        return tmp_path / "a table ü"
    return request.getfixturevalue("bucket") / "deep/table"


def _part(folder: Path, *numbers: int) -> Path:
    path = folder / f"{uuid.uuid4().hex}.parquet"
    pq.write_table(pa.table({"n": numbers}, schema=SCHEMA), path)
    return path


def _numbers(place: Path | StoreUri, version: int | None = None) -> list[int]:
    return sorted(open_table(place, version).to_pyarrow_table()["n"].to_pylist())


def test_each_transaction_is_there_once(place: Any, tmp_path: Path) -> None:
    one, two = _part(tmp_path, 1, 2), _part(tmp_path, 3)
    for _ in range(2):  # version 0 of a transaction is one, too
        assert append_version(place, [one], SCHEMA, app_id="a", app_version=0) == 0
    assert append_version(place, [two], SCHEMA, app_id="a", app_version=4) == 1
    assert append_version(place, [one], SCHEMA, app_id="a", app_version=3) == 1
    assert append_version(place, [one], SCHEMA, app_id="b", app_version=3) == 2
    assert append_version(place, [], SCHEMA, app_id="c", app_version=0) == 2
    assert _numbers(place) == [1, 1, 2, 2, 3]
    assert _numbers(place, 0) == [1, 2]
    with pytest.raises(InputError, match="no version 3: its versions are 0 to 2"):
        open_table(place, 3)


def test_four_writers_lose_no_commit(place: Any, tmp_path: Path) -> None:
    each = 10 if isinstance(place, Path) else 3
    parts = [[_part(tmp_path, 10 * w + n) for n in range(each)] for w in range(4)]

    def append(writer: int) -> None:
        for number, part in enumerate(parts[writer]):
            for _ in range(2):  # as after a lost answer
                app: Any = {"app_id": f"writer-{writer}", "app_version": number}
                append_version(place, [part], SCHEMA, **app)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(4)))
    assert _numbers(place) == [10 * w + n for w in range(4) for n in range(each)]
    assert open_table(place).version() == 4 * each - 1


def test_the_same_transaction_by_two_at_once_is_there_once(place: Any, tmp_path: Path) -> None:
    part = _part(tmp_path, 1)
    with ThreadPoolExecutor(4) as pool:
        versions = list(
            pool.map(
                lambda _: append_version(place, [part], SCHEMA, app_id="a", app_version=0),
                range(4),
            )
        )
    assert versions == [0] * 4
    assert _numbers(place) == [1]


def test_a_caller_with_an_old_version_is_refused(place: Any, tmp_path: Path) -> None:
    part = _part(tmp_path, 1)
    assert append_version(place, [part], SCHEMA, app_id="a", app_version=0, after=-1) == 0
    with pytest.raises(ConflictError):
        append_version(place, [part], SCHEMA, app_id="b", app_version=0, after=-1)
    assert append_version(place, [part], SCHEMA, app_id="b", app_version=0, after=0) == 1


def test_partitions_lie_in_folders_that_plain_readers_know(tmp_path: Path) -> None:
    place = tmp_path / "table"
    for number, day in enumerate(["2026-11-29", "2026-11-30"]):
        part = _part(tmp_path, number)
        app: Any = {"app_id": "a", "app_version": number, "partition": {"date": day}}
        append_version(place, [part], DATED, **app)
    rows = sorted(deltalake.DeltaTable(place).to_pyarrow_table().to_pylist(), key=lambda r: r["n"])
    assert rows == [{"n": 0, "date": date(2026, 11, 29)}, {"n": 1, "date": date(2026, 11, 30)}]
    plain = pandas.read_parquet(place)
    assert plain["date"].astype(str).tolist() == ["2026-11-29", "2026-11-30"]
    with pytest.raises(InputError, match=r"is partitioned by \['date'\], not by nothing"):
        append_version(place, [_part(tmp_path, 2)], DATED, app_id="b", app_version=0)


def test_a_published_table_gets_versions_and_columns_it_lacks(tmp_path: Path) -> None:
    place = tmp_path / "table"
    place.mkdir()
    pq.write_table(pa.table({"n": [1]}, schema=SCHEMA), place / "a.parquet")
    write_log(place, SCHEMA)
    newer = SCHEMA.append(pa.field("new", pa.string()))
    part = tmp_path / "b.parquet"
    pq.write_table(pa.table({"n": [2], "new": ["x"]}, schema=newer), part)
    version = append_version(place, [part], newer, app_id="a", app_version=0)
    assert version == open_table(place).version()
    rows = open_table(place).to_pyarrow_table().to_pylist()
    assert sorted(rows, key=lambda row: row["n"]) == [{"n": 1, "new": None}, {"n": 2, "new": "x"}]
    other = pa.schema([pa.field("n", pa.string())])
    with pytest.raises(InputError, match="column 'n' has type"):
        append_version(place, [part], other, app_id="b", app_version=0)
