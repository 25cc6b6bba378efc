"""Makes files that lie in a store a version of a Delta table.

The log's entry is the commit: readers of the table see the old rows or the new ones. Files of
older versions, and of runs that were killed, stay until somebody vacuums the table.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pulmospark.core.delta_log import LOG, entry_name, first_actions
from pulmospark.core.errors import SourceUnavailableError
from pulmospark.store.append_log import PLAIN_NAME, NewFile, added, entry_of, now_ms
from pulmospark.store.delta import column_of, delta_errors, storage_options
from pulmospark.store.failures import ConflictError, ObjectMissingError
from pulmospark.store.prefetch import under_way
from pulmospark.store.repeats import repeat
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction


_WRITER = 2
"""version of Delta's protocol for writers that has no features"""
_CHECKPOINT_VERSIONS = 100
"""versions of a table from one checkpoint to the next, as deltalake writes them"""


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
    commit = Commit(table, schema)
    commit.name_files(rows)
    return commit.run()


class Commit:
    """As :func:`commit_files`, in steps, so that other work is done while the store answers.

    The first asks for the table's newest version, :meth:`name_files` for the sizes of the files,
    both in a thread; only :meth:`run` writes. The usual commit is then one request, the entry of
    the log, which deltalake surrounds with eight reads of the log. What takes more than an entry
    is left to deltalake: a table with features that ours do not have, other columns, some of the
    files that it has already, and every hundredth version, at which it writes a checkpoint.
    """

    def __init__(self, table: StoreUri, schema: pa.Schema) -> None:
        self.table, self._schema = table, schema
        self._newest = under_way(_newest, table)
        self.name_files({})

    def name_files(self, rows: Mapping[str, int]) -> None:
        """Say what the table will hold; see :func:`commit_files`."""
        self._rows = rows
        self._sizes = under_way(_sizes, self.table, rows)

    def run(self) -> int:
        """Commit; see :func:`commit_files`."""
        try:
            version = self._entered(self._newest.result(), self._sizes.result())
        except (SourceUnavailableError, ConflictError):
            version = None  # perhaps it was done, as its files will say
        if version is not None:
            return version
        return repeat(lambda: _committed(self.table, self._rows, self._schema))

    def _entered(self, delta: DeltaTable | None, sizes: Mapping[str, int]) -> int | None:
        """Write the log's entry; returns the version, or ``None`` where deltalake has to."""
        version, actions = 0, self._first()
        if delta is not None:
            names = column_of(delta.get_add_actions(flatten=True), "path")
            if self._rows.keys() == set(names):
                return int(delta.version())
            version, actions = int(delta.version()) + 1, self._removals(delta, names)
        if actions is None:
            return None
        files = [NewFile(name, sizes[name], rows) for name, rows in self._rows.items()]
        entry = entry_of("WRITE", [*actions, *map(added, files)])
        open_store(self.table).put_new((self.table / LOG / entry_name(version)).key, entry)
        return version

    def _first(self) -> list[dict[str, Any]] | None:
        try:
            return first_actions(self._schema, str(uuid.uuid4()), now_ms())
        except TypeError:  # a type that deltalake may know
            return None

    def _removals(self, delta: DeltaTable, names: Sequence[str]) -> list[dict[str, Any]] | None:
        from deltalake import Schema  # noqa: PLC0415 - only where a store is written to

        protocol, facts = delta.protocol(), delta.metadata()
        if (
            protocol.min_reader_version > 1
            or protocol.min_writer_version > _WRITER
            or facts.partition_columns
            or facts.configuration
            or delta.schema() != Schema.from_arrow(self._schema)
            or not (int(delta.version()) + 1) % _CHECKPOINT_VERSIONS
            or not self._rows.keys().isdisjoint(names)
            or not all(map(PLAIN_NAME.fullmatch, names))
        ):
            return None
        now = {"deletionTimestamp": now_ms(), "dataChange": True}
        return [{"remove": {"path": name, **now}} for name in names]


def _newest(table: StoreUri) -> DeltaTable | None:
    """The newest version of a table; ``None``: there is no table."""
    from deltalake import DeltaTable  # noqa: PLC0415
    from deltalake.exceptions import TableNotFoundError  # noqa: PLC0415

    with delta_errors(table):
        try:
            return DeltaTable(str(table), storage_options=storage_options(table))
        except TableNotFoundError:
            return None


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
    sizes = _sizes(table, rows)
    delta = _newest(table)
    if delta is None:
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
    try:
        delta = _newest(table)
        with delta_errors(table):
            known = {uri.rpartition("/")[2] for uri in delta.file_uris()} if delta else set()
            return int(delta.version()) if delta and known == rows.keys() else None
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
