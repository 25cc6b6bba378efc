"""Append Parquet files to a Delta table, once, however often a killed writer repeats it."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.core import files, lake_limits, limits
from pulmospark.core.errors import InputError, PlatformError, SourceUnavailableError
from pulmospark.lake.table import delta_errors, find_table, options_of
from pulmospark.store.failures import ConflictError
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction, CommitProperties


def append_version(
    table: Path | StoreUri,
    parts: Sequence[Path],
    schema: pa.Schema,
    *,
    app_id: str,
    app_version: int,
    partition: Mapping[str, str] | None = None,
    after: int | None = None,
) -> int:
    """Append Parquet files to a Delta table as one version, which creates the table if needed.

    Works on disks and in stores alike, for a batch of a stream as for a nightly run.
    The files are put under new names; the log's entry is the commit, so readers of the table see
    all their rows or none. It holds the application transaction ``(app_id, app_version)``: a call
    with a version that is not above the table's last one of ``app_id`` appends nothing, so a
    writer that was killed, or lost the answer, may simply call again. Other writers may append at
    the same time.

    Args:
        table: folder of the table, or its address.
        parts: Parquet files, whose columns are those of ``schema`` without the partition's; may
            lack nullable columns. Without any only a missing table is created.
        schema: of the table, with the columns of the partition, which are strings or dates.
        app_id: names the writer, such as one stream; the same in each of its calls.
        app_version: of the writer, counted up from 0: for a stream, the number of its batch.
        partition: column -> value of all the rows, as Delta writes it (a date: ``2026-11-30``);
            the files lie in folders ``column=value``.
        after: the table's newest version as the caller knows it (-1: there is no table): the
            commit is refused if another writer was faster. ``None``: append in any case.

    Returns:
        The table's version, with the rows in it.

    Raises:
        ConflictError: the table is not at version ``after`` any more.
        InputError: the table has other columns, or is partitioned in another way.
        PlatformError: deltalake is missing, or no space.
        SourceUnavailableError: the store fails.

    Example:
        >>> append_version(out / "rows", [part], schema, app_id="nightly", app_version=0)
        0
        >>> append_version(out / "rows", [part], schema, app_id="nightly", app_version=0)
        0
        >>> append_version(out / "rows", [part], schema, app_id="nightly", app_version=1)
        1
    """
    return _committed(
        _Commit(table, schema, dict(partition or {}), app_id, app_version), parts, after
    )


def _committed(commit: _Commit, parts: Sequence[Path], after: int | None) -> int:
    table = commit.table
    placed: list[AddAction] | None = None
    delta = find_table(table)
    for _ in range(lake_limits.APPEND_TRIES):
        version = -1
        if delta is not None:
            version = int(delta.version())
            # The handle is fresh: it would take the same transaction a second time.
            done = delta.transaction_version(commit.app_id)
            if (done is not None and done >= commit.app_version) or not parts:
                return version
        if after is not None and after != version:
            break
        placed = placed or _place(table, parts, commit.partition)
        try:
            return commit.create(placed) if delta is None else commit.append(delta, placed)
        except ConflictError:  # perhaps this very transaction, so it is asked for again
            time.sleep(random.uniform(0, lake_limits.APPEND_PAUSE_S_MAX))
            delta = find_table(table) if delta is None else _updated(table, delta)
    raise ConflictError(
        f"{table}: other writers committed at the same time: run the command again"
    )


def _updated(table: Path | StoreUri, delta: DeltaTable) -> DeltaTable:
    with delta_errors(table):
        delta.update_incremental()
    return delta


@dataclass(frozen=True)
class _Commit:
    """A commit but for its files; arguments of :func:`append_version`."""

    table: Path | StoreUri
    schema: pa.Schema
    partition: dict[str, str]
    app_id: str
    app_version: int

    def create(self, placed: list[AddAction]) -> int:
        """Create the table with these files; its version."""
        from deltalake import Schema  # noqa: PLC0415 - only where a version is written
        from deltalake.transaction import create_table_with_add_actions  # noqa: PLC0415

        try:
            with delta_errors(self.table):
                create_table_with_add_actions(
                    str(self.table),
                    Schema.from_arrow(self.schema),
                    placed,
                    partition_by=list(self.partition),
                    storage_options=options_of(self.table),
                    commit_properties=self._properties(),
                )
        except (PlatformError, SourceUnavailableError):
            if find_table(self.table) is None:
                raise
            raise ConflictError(f"{self.table}: was created by another writer meanwhile") from None
        return 0

    def append(self, delta: DeltaTable, placed: list[AddAction]) -> int:
        """Append these files as the next version, or not at all; the version."""
        from deltalake import Schema  # noqa: PLC0415

        names = list(self.partition)
        if (columns := delta.metadata().partition_columns) != names:
            raise InputError(
                f"{self.table}: is partitioned by {columns or 'nothing'}, not by "
                f"{names or 'nothing'}: append in the same way, or choose another --out"
            )
        with delta_errors(self.table):
            _add_columns(self.table, delta, self.schema)
            delta.create_write_transaction(
                placed,
                "append",
                Schema.from_arrow(self.schema),
                names,
                commit_properties=self._properties(),
            )
        return int(delta.version()) + 1

    def _properties(self) -> CommitProperties:
        from deltalake.transaction import CommitProperties, Transaction  # noqa: PLC0415

        # No retries of deltalake's own: they would append after any other commit, asking nothing.
        return CommitProperties(
            max_commit_retries=0,
            app_transactions=[Transaction(self.app_id, self.app_version)],
        )


def _add_columns(table: Path | StoreUri, delta: DeltaTable, schema: pa.Schema) -> None:
    """Add nullable columns that the table lacks, as one made by an earlier release does."""
    from deltalake import Schema  # noqa: PLC0415

    known = {field.name: field.type for field in delta.schema().fields}
    fields = Schema.from_arrow(schema).fields
    for field in fields:
        if known.get(field.name, field.type) != field.type:
            raise InputError(
                f"{table}: column {field.name!r} has type {known[field.name]}, not {field.type}: "
                "choose another --out"
            )
    if new := [field for field in fields if field.name not in known]:
        delta.alter.add_columns(new)


def _place(
    table: Path | StoreUri, parts: Sequence[Path], partition: Mapping[str, str]
) -> list[AddAction]:
    """Put files where the table's are, under names that no version has."""
    from deltalake.transaction import AddAction  # noqa: PLC0415

    tag = uuid.uuid4().hex[:12]
    folder = "/".join(f"{name}={quote(value, safe='')}" for name, value in partition.items())
    names = [f"{folder}/{path.stem}-{tag}.parquet".lstrip("/") for path in parts]
    if isinstance(table, StoreUri):
        store, prefix = open_store(table), table.prefix
        with ThreadPoolExecutor(limits.STORE_REQUESTS, thread_name_prefix="store") as pool:
            puts = [
                pool.submit(
                    lambda key, path: store.put(key, path.read_bytes()), prefix + name, path
                )
                for name, path in zip(names, parts, strict=True)
            ]
            for put in puts:
                put.result()
    else:
        with files.disk_errors(table):
            (table / folder).mkdir(parents=True, exist_ok=True)
            for name, path in zip(names, parts, strict=True):
                with files.whole_file(table / name) as aside:
                    files.link_or_copy(path, aside)
    now = int(time.time() * 1000)
    return [
        AddAction(
            name,
            path.stat().st_size,
            dict(partition),
            now,
            True,
            f'{{"numRecords": {pq.read_metadata(path).num_rows}}}',
        )
        for name, path in zip(names, parts, strict=True)
    ]
