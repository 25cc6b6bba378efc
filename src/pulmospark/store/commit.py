"""Makes files that lie in a store a version of a Delta table.

The log's entry is the commit: readers of the table see the old rows or the new ones. Files of
older versions, and of runs that were killed, stay until somebody vacuums the table.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from pulmospark.core.errors import SourceUnavailableError
from pulmospark.store.delta import delta_errors, storage_options
from pulmospark.store.failures import ConflictError, ObjectMissingError
from pulmospark.store.repeats import repeat
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction


def commit_files(table: StoreUri, rows: Mapping[str, int], schema: pa.Schema) -> int:
    """Make files in a table's folder all that the table holds, as its next version.

    No byte of them is copied. Where the newest version names the same files, as after a kill
    between this commit and the next step, nothing is committed.

    Args:
        table: address of its folder; the table is created if missing.
        rows: name of a file -> its rows, in the order of the rows.
        schema: of the table; a file made before a column was added may lack it, as nulls.

    Returns:
        The table's version.

    Raises:
        ConflictError: another writer committed at the same time.
        ObjectMissingError: a file is not there.
        SourceUnavailableError: the store fails.
    """
    return repeat(lambda: _committed(table, rows, schema))


def _committed(table: StoreUri, rows: Mapping[str, int], schema: pa.Schema) -> int:
    # What was done although its connection broke is recognised by its files.
    try:
        with delta_errors(table):
            return _commit(table, rows, schema)
    except ConflictError:
        if (version := _version_with(table, rows)) is not None:
            return version  # its own: only the answer was lost
        raise


def _commit(table: StoreUri, rows: Mapping[str, int], schema: pa.Schema) -> int:
    from deltalake import DeltaTable  # noqa: PLC0415 - only where a store is written to
    from deltalake.exceptions import TableNotFoundError  # noqa: PLC0415

    sizes = _sizes(table, rows)
    try:
        delta = DeltaTable(str(table), storage_options=storage_options(table))
    except TableNotFoundError:
        return _create(table, _actions(sizes, rows), schema)
    known = {uri.rpartition("/")[2] for uri in delta.file_uris()}
    if known == rows.keys():
        return int(delta.version())
    renamed = _renamed(table, known & rows.keys())
    names = {renamed.get(name, name): count for name, count in rows.items()}
    sizes = {renamed.get(name, name): size for name, size in sizes.items()}
    return _replace(delta, _actions(sizes, names), schema)


def _version_with(table: StoreUri, rows: Mapping[str, int]) -> int | None:
    """The table's version, if it names just these files."""
    from deltalake import DeltaTable  # noqa: PLC0415

    try:
        with delta_errors(table):
            delta = DeltaTable(str(table), storage_options=storage_options(table))
            known = {uri.rpartition("/")[2] for uri in delta.file_uris()}
            return int(delta.version()) if known == rows.keys() else None
    except SourceUnavailableError:
        return None


def _sizes(table: StoreUri, rows: Mapping[str, int]) -> dict[str, int]:
    """Bytes of each file; one listing, of which only these are kept."""
    listed = open_store(table).list(table.prefix) if rows else ()
    sizes = {each.uri.name: each.size_bytes for each in listed if each.uri.name in rows}
    if missing := next((name for name in rows if name not in sizes), None):
        raise ObjectMissingError(f"{table / missing}: is gone: run the command again")
    return sizes


def _renamed(table: StoreUri, names: set[str]) -> dict[str, str]:
    """Copies of files that the newest version names: one entry cannot remove and add a file."""
    store, tag = open_store(table), uuid.uuid4().hex[:12]
    renamed = {name: f"{name.removesuffix('.parquet')}-{tag}.parquet" for name in names}
    for name, other in renamed.items():
        store.copy((table / name).key, (table / other).key)
    return renamed


def _actions(sizes: Mapping[str, int], rows: Mapping[str, int]) -> list[AddAction]:
    from deltalake.transaction import AddAction  # noqa: PLC0415

    now = int(time.time() * 1000)
    return [
        AddAction(name, sizes[name], {}, now, True, f'{{"numRecords": {count}}}')
        for name, count in rows.items()
    ]


def _create(table: StoreUri, actions: list[AddAction], schema: pa.Schema) -> int:
    from deltalake import DeltaTable, Schema  # noqa: PLC0415
    from deltalake.exceptions import DeltaError  # noqa: PLC0415
    from deltalake.transaction import create_table_with_add_actions  # noqa: PLC0415

    options = storage_options(table)
    try:
        create_table_with_add_actions(
            str(table), Schema.from_arrow(schema), actions, storage_options=options
        )
    except DeltaError:
        # Another created it meanwhile; else this fails in the same way.
        return _replace(DeltaTable(str(table), storage_options=options), actions, schema)
    return 0


def _replace(delta: DeltaTable, actions: list[AddAction], schema: pa.Schema) -> int:
    from deltalake import Schema  # noqa: PLC0415

    delta.create_write_transaction(actions, "overwrite", Schema.from_arrow(schema))
    delta.update_incremental()
    return int(delta.version())
