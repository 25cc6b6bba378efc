"""Add Parquet files to a Delta table, once, however often a killed writer repeats it."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.core import files, lake_limits, limits
from pulmospark.core.errors import InputError, PlatformError, SourceUnavailableError
from pulmospark.lake.table import find_table, options_of
from pulmospark.store.append_log import NewFile
from pulmospark.store.delta import delta_errors
from pulmospark.store.failures import ConflictError
from pulmospark.store.repeats import BrokenOffError, pause_before, repeat
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
    commit = _Commit(table, schema, app_id, app_version, dict(partition or {}))
    return _committed(commit, lambda: _place(table, parts, commit.partition), after, not parts)


def commit_files(
    table: Path | StoreUri,
    files: Sequence[NewFile],
    schema: pa.Schema,
    *,
    app_id: str,
    replace: bool = False,
) -> int:
    """Make Parquet files that lie in a Delta table's folder a part of it, as one version.

    Args:
        table: folder of the table, or its address; it becomes a table if it is none.
        files: named as no version names one.
        schema: of the table.
        app_id: names this commit, so that a repeated call commits nothing.
        replace: whether they replace all rows, and ``schema`` the table's; else they are added.

    Returns:
        The table's version, with the rows in it.

    Raises:
        ConflictError: other writers committed faster, again and again.
        InputError: the table has other columns, or is partitioned.
        PlatformError: deltalake is missing, or the disk fails.
        SourceUnavailableError: the store fails.
    """
    commit = _Commit(table, schema, app_id, 0, {}, "overwrite" if replace else "append")
    return _committed(commit, lambda: files, None, nothing=not files and not replace)


def is_committed(table: Path | StoreUri, app_id: str) -> bool:
    """Whether a version of a table has an application's transaction.

    Raises:
        PlatformError: deltalake is missing, or the disk fails.
        SourceUnavailableError: the store fails.
    """
    delta = find_table(table)
    return delta is not None and delta.transaction_version(app_id) is not None


def _committed(
    commit: _Commit, place: Callable[[], Sequence[NewFile]], after: int | None, nothing: bool
) -> int:
    table = commit.table
    placed: Sequence[NewFile] | None = None
    delta = find_table(table)
    broken = 0
    for _ in range(lake_limits.APPEND_TRIES):
        version = -1
        if delta is not None:
            version = int(delta.version())
            # The handle is fresh: it would take the same transaction a second time.
            done = delta.transaction_version(commit.app_id)
            if (done is not None and done >= commit.app_version) or nothing:
                return version
        if after is not None and after != version:
            break
        placed = place() if placed is None else placed
        try:
            return commit.create(placed) if delta is None else commit.append(delta, placed)
        except ConflictError:  # perhaps this very transaction, so it is asked for again
            time.sleep(random.uniform(0, lake_limits.APPEND_PAUSE_S_MAX))
        except BrokenOffError as error:  # perhaps it was done
            broken += 1
            pause_before(broken, error)
        delta = find_table(table) if delta is None else _updated(table, delta)
    raise ConflictError(
        f"{table}: other writers committed at the same time: run the command again"
    )


def _updated(table: Path | StoreUri, delta: DeltaTable) -> DeltaTable:
    def update() -> DeltaTable:
        with delta_errors(table):
            delta.update_incremental()
        return delta

    return repeat(update)


@dataclass(frozen=True)
class _Commit:
    """A commit but for its files; arguments of :func:`append_version`."""

    table: Path | StoreUri
    schema: pa.Schema
    app_id: str
    app_version: int
    partition: dict[str, str]
    mode: Literal["append", "overwrite"] = "append"

    def create(self, placed: Sequence[NewFile]) -> int:
        """Create the table with these files; its version."""
        from deltalake import Schema  # noqa: PLC0415 - only where a version is written
        from deltalake.transaction import create_table_with_add_actions  # noqa: PLC0415

        try:
            with delta_errors(self.table):
                create_table_with_add_actions(
                    str(self.table),
                    Schema.from_arrow(self.schema),
                    self._actions(placed),
                    partition_by=list(self.partition),
                    storage_options=options_of(self.table),
                    commit_properties=self._properties(),
                )
        except (PlatformError, SourceUnavailableError):
            if find_table(self.table) is None:
                raise
            raise ConflictError(f"{self.table}: was created by another writer meanwhile") from None
        return 0

    def append(self, delta: DeltaTable, placed: Sequence[NewFile]) -> int:
        """Add these files as the next version, or not at all; the version."""
        from deltalake import Schema  # noqa: PLC0415

        names = list(self.partition)
        if (columns := delta.metadata().partition_columns) != names:
            raise InputError(
                f"{self.table}: is partitioned by {columns or 'nothing'}, not by "
                f"{names or 'nothing'}: append in the same way, or choose another --out"
            )
        with delta_errors(self.table):
            if self.mode == "append":
                _add_columns(self.table, delta, self.schema)
            delta.create_write_transaction(
                self._actions(placed),
                self.mode,
                Schema.from_arrow(self.schema),
                names,
                commit_properties=self._properties(),
            )
        return int(delta.version()) + 1

    def _actions(self, placed: Sequence[NewFile]) -> list[AddAction]:
        from deltalake.transaction import AddAction  # noqa: PLC0415

        now = int(time.time() * 1000)
        return [
            AddAction(
                file.name,
                file.size_bytes,
                self.partition,
                now,
                True,
                None if file.rows is None else f'{{"numRecords": {file.rows}}}',
            )
            for file in placed
        ]

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
) -> list[NewFile]:
    """Put files where the table's are, under names that no version has."""
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
    return [
        NewFile(name, path.stat().st_size, pq.read_metadata(path).num_rows)
        for name, path in zip(names, parts, strict=True)
    ]
