"""Open a published table, on a disk or in a store, by its Delta log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow as pa

from pulmospark.core.errors import InputError
from pulmospark.store.delta import check_delta, delta_errors, storage_options
from pulmospark.store.repeats import repeat
from pulmospark.store.uri import StoreUri

if TYPE_CHECKING:
    from deltalake import DeltaTable


def open_table(place: Path | StoreUri, version: int | None = None) -> DeltaTable:
    """A table as it is now, or as it was.

    Args:
        place: folder of the table, or its address.
        version: of the table; ``None``: the newest.

    Raises:
        InputError: there is no table, or no such version.
        PlatformError: deltalake is missing, or the disk fails.
        SourceUnavailableError: the store fails.
    """
    table = find_table(place)
    if table is None:
        raise InputError(f"{place}: no Delta table: name the folder that holds _delta_log")
    if version is not None and version != table.version():
        if not 0 <= version <= table.version():
            raise InputError(
                f"{place}: has no version {version}: its versions are 0 to {table.version()}"
            )
        with delta_errors(place):
            table.load_as_version(version)
    return table


def find_table(place: Path | StoreUri) -> DeltaTable | None:
    """The newest version of a table; ``None``: there is none. See :func:`open_table`."""
    check_delta(place)
    from deltalake import DeltaTable  # noqa: PLC0415 - only where versions are asked for
    from deltalake.exceptions import TableNotFoundError  # noqa: PLC0415

    def found() -> DeltaTable | None:
        with delta_errors(place):
            try:
                return DeltaTable(str(place), storage_options=options_of(place))
            except TableNotFoundError:
                return None

    return repeat(found)


def options_of(place: Path | StoreUri) -> dict[str, str]:
    """Options of deltalake for a place; none for a disk."""
    return storage_options(place) if isinstance(place, StoreUri) else {}


@dataclass(frozen=True)
class TableFile:
    """A Parquet file of a table's version; plain values.

    Attributes:
        place: its path or address.
        size_bytes: of the file.
        partition: column -> value of all its rows, as text; ``None``: null.
    """

    place: str
    size_bytes: int
    partition: Mapping[str, str | None]


def files_of(table: DeltaTable, place: Path | StoreUri) -> tuple[pa.Schema, list[TableFile]]:
    """The columns and files of a table's version, sorted by name as plain readers have them.

    Args:
        table: from :func:`open_table`.
        place: of the table.

    Raises:
        PlatformError: the table uses features of Delta that pulmospark's own tables do not.
        SourceUnavailableError: the store fails.
    """
    with delta_errors(place):
        schema = table.to_pyarrow_dataset().schema
        added = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    files = [
        TableFile(
            str(place / unquote(row["path"])),
            row["size_bytes"],
            {
                name.removeprefix("partition."): None if value is None else str(value)
                for name, value in row.items()
                if name.startswith("partition.")
            },
        )
        for row in added
    ]
    return schema, sorted(files, key=lambda file: file.place)
