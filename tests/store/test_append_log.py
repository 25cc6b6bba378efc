"""Appends to a Delta table on a disk: what other programs read, and what they may do between."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import deltalake
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pulmospark.core.errors import InputError
from pulmospark.store.append_log import AppendLog, NewFile
from pulmospark.store.places import DiskPlace

SCHEMA = pa.schema([pa.field("n", pa.int64())])


def _log(folder: Path, application: str = "me") -> AppendLog:
    log = AppendLog(DiskPlace(folder), "t", application)
    log.open(SCHEMA)
    return log


def _append(log: AppendLog, folder: Path, batch: int, name: str | None = None) -> bool:
    name = name or f"{batch}.parquet"
    pq.write_table(pa.table({"n": [batch]}, SCHEMA), folder / "t" / name)
    return log.append([NewFile(name, (folder / "t" / name).stat().st_size, 1)], batch)


def _numbers(folder: Path) -> list[int]:
    return sorted(pa.table(deltalake.DeltaTable(folder / "t").to_pyarrow_table())["n"].to_pylist())


def test_a_batch_is_appended_once_also_by_a_fresh_process(tmp_path: Path) -> None:
    log = _log(tmp_path)
    assert (log.version, log.batch) == (0, 0)
    assert _append(log, tmp_path, 1)
    assert not _append(log, tmp_path, 1, "again.parquet")
    assert not _append(_log(tmp_path), tmp_path, 1, "fresh.parquet")
    assert _append(_log(tmp_path), tmp_path, 2)
    assert _append(log, tmp_path, 3)  # behind by one
    assert _numbers(tmp_path) == [1, 2, 3]
    table = deltalake.DeltaTable(tmp_path / "t")
    assert (table.version(), table.transaction_version("me")) == (3, 3)
    assert table.schema().to_arrow() is not None
    assert (
        len(duckdb.sql(f"SELECT * FROM '{tmp_path}/t/*.parquet'").fetchall()) == 5
    )  # not its log


def test_four_writers_of_ten_appends(tmp_path: Path) -> None:
    def write(writer: int) -> None:
        log = _log(tmp_path, f"writer-{writer}")
        for batch in range(1, 11):
            assert _append(log, tmp_path, batch, f"{writer}-{batch}.parquet")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert _numbers(tmp_path) == sorted([*range(1, 11)] * 4)


def test_others_compact_and_write_checkpoints_between(tmp_path: Path) -> None:
    log = _log(tmp_path)
    for batch in range(1, 5):
        _append(log, tmp_path, batch)
    table = deltalake.DeltaTable(tmp_path / "t")
    table.optimize.compact()
    table.create_checkpoint()
    for version in range(5):  # as a cleanup of the log removes them
        (tmp_path / f"t/_delta_log/{version:020d}.json").unlink()
    assert _append(log, tmp_path, 5)
    fresh = _log(tmp_path)
    assert (fresh.batch, fresh.table_id) == (5, log.table_id)
    assert len(fresh.files()) == 2
    assert _numbers(tmp_path) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "action",
    [
        {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7}},
        {"metaData": {"id": "x", "schemaString": "{}"}},
    ],
)
def test_a_table_that_another_program_changed_is_left_alone(
    tmp_path: Path, action: dict[str, object]
) -> None:
    log = _log(tmp_path)
    (tmp_path / f"t/_delta_log/{1:020d}.json").write_text(json.dumps(action))
    with pytest.raises(InputError, match="another program changed the table"):
        _append(log, tmp_path, 1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (f"{1:020d}.json", "no json", "is no entry of a Delta log"),
        (f"{1:020d}.json", "[1]", "is no entry of a Delta log"),
        (f"{2:020d}.json", "{}", "entries are missing"),
        (f"{0:020d}.checkpoint.parquet", "no parquet", "cannot be read"),
    ],
)
def test_a_damaged_log_is_a_one_line_error(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    _log(tmp_path)
    (tmp_path / "t/_delta_log" / name).write_text(content)
    with pytest.raises(InputError, match=message):
        _log(tmp_path)


def test_a_log_names_no_file_outside_its_table(tmp_path: Path) -> None:
    log = _log(tmp_path)
    for path in ("../secret.parquet", "..%2Fsecret.parquet", "/etc/passwd", ".hidden.parquet"):
        entry = {"add": {"path": path, "size": 1}}
        (tmp_path / f"t/_delta_log/{1:020d}.json").write_text(json.dumps(entry))
        with pytest.raises(InputError, match="no file of this table"):
            log.files()
