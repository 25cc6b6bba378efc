"""Versions of a table in a store, most of which are written without deltalake."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import deltalake
import pyarrow as pa
import pytest

from pulmospark.chunks import write_part
from pulmospark.core.delta_log import LOG, entry_bytes, entry_name, first_actions
from pulmospark.store import commit
from pulmospark.store.commit import Commit, commit_files
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

SCHEMA = pa.schema(
    [
        pa.field("n", pa.int64(), nullable=False),
        pa.field("values", pa.list_(pa.float64())),
        pa.field("at", pa.timestamp("us", tz="UTC")),
    ]
)


def _files(table: StoreUri, numbers: Sequence[int], schema: pa.Schema = SCHEMA) -> dict[str, int]:
    """A file of two rows for each number, which they hold; their names, and their rows."""
    for number in numbers:
        rows = [{"n": number, "values": [0.5], "at": None}] * 2
        write_part(pa.Table.from_pylist(rows, schema), table / f"{number}.parquet")
    return {f"{number}.parquet": 2 for number in numbers}


def _opened(table: StoreUri, endpoint: str, version: int | None = None) -> deltalake.DeltaTable:
    # Independent of our own code: options as deltalake's documentation has them.
    options = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
    return deltalake.DeltaTable(str(table), version=version, storage_options=options)


def _numbers(table: deltalake.DeltaTable) -> list[Any]:
    return sorted(pa.table(table.to_pyarrow_table())["n"].to_pylist())


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """deltalake commits nothing."""
    monkeypatch.setattr(commit, "_committed", pytest.fail)


@pytest.mark.usefixtures("alone")
def test_each_version_is_what_deltalake_reads(bucket: StoreUri, s3_endpoint: str) -> None:
    table = bucket / "out/rows"
    versions = [(1, 2), (3,), (), (4, 5, 6)]
    for version, numbers in enumerate(versions):
        rows = _files(table, numbers)
        assert commit_files(table, rows, SCHEMA) == version
        assert commit_files(table, rows, SCHEMA) == version, "the same files are no new version"
    for version, numbers in enumerate(versions):
        opened = _opened(table, s3_endpoint, version)
        assert _numbers(opened) == sorted([*numbers, *numbers])
        assert opened.schema() == deltalake.Schema.from_arrow(SCHEMA)
    newest = _opened(table, s3_endpoint)
    assert newest.count() == 6, "by the statistics alone"
    removed = newest.vacuum(0, dry_run=True, enforce_retention_duration=False)
    assert sorted(removed) == ["1.parquet", "2.parquet", "3.parquet"]


@pytest.mark.usefixtures("alone")
def test_a_file_that_is_gone_is_not_committed(bucket: StoreUri) -> None:
    rows = {**_files(bucket / "rows", [1]), "2.parquet": 2}
    with pytest.raises(ObjectMissingError, match=r"rows/2\.parquet: is gone"):
        commit_files(bucket / "rows", rows, SCHEMA)
    assert [stored.uri.name for stored in open_store(bucket).list()] == ["1.parquet"]


def test_who_was_overtaken_replaces_the_others_rows(bucket: StoreUri, s3_endpoint: str) -> None:
    """As deltalake does: an overwrite replaces whatever is there."""
    table = bucket / "rows"
    commit_files(table, _files(table, [1]), SCHEMA)
    mine = Commit(table, SCHEMA)
    mine.name_files(_files(table, [2]))
    mine._newest.result()
    commit_files(table, _files(table, [3]), SCHEMA)
    assert mine.run() == 2
    assert _numbers(_opened(table, s3_endpoint)) == [2, 2]
    assert _numbers(_opened(table, s3_endpoint, 1)) == [3, 3]


def test_who_lost_the_answer_commits_once(bucket: StoreUri, s3_endpoint: str) -> None:
    table = bucket / "rows"
    mine = Commit(table, SCHEMA)
    mine.name_files(_files(table, [1]))
    mine._newest.result()
    commit_files(table, {"1.parquet": 2}, SCHEMA)
    assert mine.run() == 0
    assert _opened(table, s3_endpoint).version() == 0


@pytest.mark.parametrize("why", ["columns", "configuration", "checkpoint", "same name"])
def test_what_takes_more_than_an_entry_is_left_to_deltalake(
    why: str, bucket: StoreUri, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, schema, numbers = bucket / "rows", SCHEMA, [2]
    if why == "configuration":
        actions = first_actions(SCHEMA, str(uuid.uuid4()), 0)
        actions[1]["metaData"]["configuration"] = {"delta.logRetentionDuration": "interval 9 days"}
        open_store(bucket).put(f"rows/{LOG}/{entry_name(0)}", entry_bytes(actions))
    else:
        commit_files(table, _files(table, [1]), SCHEMA)
    if why == "columns":
        schema = SCHEMA.append(pa.field("new", pa.bool_()))
    elif why == "checkpoint":
        monkeypatch.setattr(commit, "_CHECKPOINT_VERSIONS", 1)
    elif why == "same name":
        numbers = [1, 2]
    committed, left = commit._committed, []

    def counted(*arguments: Any) -> int:
        left.append(why)
        return committed(*arguments)

    monkeypatch.setattr(commit, "_committed", counted)
    commit_files(table, _files(table, numbers, schema), schema)
    assert left == [why]
    opened = _opened(table, s3_endpoint)
    assert _numbers(opened) == sorted([*numbers, *numbers])
    assert opened.schema() == deltalake.Schema.from_arrow(schema)
