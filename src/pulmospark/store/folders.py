"""Folders of a store: fetched to this machine's disk, and published from it.

A published table becomes, or replaces, a Delta table: its files are written under new names, and
the log's entry is the commit, so that readers of the table see the old rows or the new ones. Files
of older versions stay until somebody vacuums the table.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pulmospark.core import files, limits
from pulmospark.core.delta_log import LOG, rows_of, schema_of
from pulmospark.core.errors import InputError, SourceUnavailableError
from pulmospark.core.hashing import value_id
from pulmospark.core.machine import cache_folder
from pulmospark.core.safe_text import first_line
from pulmospark.store.delta import check_delta, storage_options
from pulmospark.store.store import (
    ConflictError,
    ObjectMissingError,
    Store,
    StoredObject,
    open_store,
)
from pulmospark.store.uri import StoreUri

FETCHED = "fetched"
"""folder of the cache with what was fetched, by content"""
STAGED = "staged"
"""folder of the cache with what is about to be published"""


def fetch_folder(uri: StoreUri, *, files_max: int, bytes_max: int) -> Path:
    """Copy a small folder, such as a bundle, to this machine's cache; kept by its etags.

    Args:
        uri: the folder.
        files_max: files it may have.
        bytes_max: bytes it may have together.

    Raises:
        InputError: there is no such folder, or it is larger than allowed.
        SourceUnavailableError: the store fails.
        PlatformError: no space, or no right to write in the cache.
    """
    store = open_store(uri)
    listed: list[StoredObject] = []
    for stored in store.list(uri.prefix):
        listed.append(stored)
        if len(listed) > files_max or sum(entry.size_bytes for entry in listed) > bytes_max:
            raise InputError(
                f"{uri}: has more than {files_max:,} files or {bytes_max / 2**20:,.0f} MiB: name "
                "the folder itself"
            )
    if not listed:
        raise InputError(f"{uri}: no such folder; check the address")
    identity = [[str(entry.uri), entry.size_bytes, entry.etag] for entry in listed]
    target = cache_folder() / FETCHED / value_id(identity) / plain_name(uri.name)
    if target.is_dir():
        os.utime(target.parent)
        return target
    with files.whole_folder(target.parent) as aside:
        (aside / target.name).mkdir()
        for entry in listed:
            name = entry.uri.key[len(uri.prefix) :]
            if name != plain_name(name):
                raise InputError(
                    f"{entry.uri}: no file of a bundle: remove it, or name its folder"
                )
            (aside / target.name / name).write_bytes(store.get(entry.uri.key))
    files.forget_oldest(target.parent.parent, limits.STORE_FETCHED_MAX)
    return target


def fetch_file(uri: StoreUri, *, bytes_max: int) -> Path:
    """Copy an object, such as a CSV, to this machine's cache; kept by its etag.

    Args:
        uri: of the object; the copy has its name.
        bytes_max: bytes it may have.

    Raises:
        ObjectMissingError: there is none.
        InputError: it is larger than allowed.
        SourceUnavailableError: the store fails.
        PlatformError: no space, or no right to write in the cache.
    """
    store = open_store(uri)
    stored = store.head(uri.key)
    if stored.size_bytes > bytes_max:
        raise InputError(f"{uri}: {stored.size_bytes:,} bytes, over the limit of {bytes_max:,}")
    identity = [str(uri), stored.size_bytes, stored.etag]
    target = cache_folder() / FETCHED / value_id(identity) / (plain_name(uri.name) or "file")
    if target.is_file():
        os.utime(target.parent)
        return target
    with files.whole_folder(target.parent) as aside:
        store.save(uri.key, aside / target.name)
    files.forget_oldest(target.parent.parent, limits.STORE_FETCHED_MAX)
    return target


def plain_name(name: str) -> str:
    """A name without folders; no name of a store is a path of ours."""
    return "".join(c for c in name if c.isascii() and (c.isalnum() or c in "._-")).lstrip(".")


def staging_folder(uri: StoreUri) -> Path:
    """Where this machine prepares what is to be published at an address; not created here."""
    return cache_folder() / STAGED / value_id([str(uri)]) / "output"


def check_target(uri: StoreUri, record: str) -> None:
    """Check, before any work, that something may be published at an address.

    Args:
        uri: the folder.
        record: name of the file that marks an earlier output, which may be replaced.

    Raises:
        InputError: something else is there, or no such bucket.
        PlatformError: the store ignores conditional writes, or refuses to be written to.
    """
    store = open_store(uri)
    try:
        store.head(f"{uri.prefix}{record}")
    except ObjectMissingError:
        if (other := next(store.list(uri.prefix), None)) is not None:
            raise InputError(
                f"{uri}: is not empty ({other.uri.key!r:.100}), and not an output of this kind: "
                "choose another --out"
            ) from None
    check_delta(uri)
    store.probe(uri.prefix)


def publish_folder(folder: Path, uri: StoreUri, *, last: str) -> None:
    """Publish a folder's tables and files at an address.

    Each table is committed as a whole, each file replaced as a whole. A process that is killed
    half-way leaves files that no table names, and publishes anew when it is run again.

    Args:
        folder: tables are its folders with a Delta log.
        uri: where to.
        last: name of the file that is written when all else is there.

    Raises:
        ConflictError: another writer committed at the same time.
        SourceUnavailableError: the store fails.
    """
    store = open_store(uri)
    plain: list[Path] = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if path.is_file() and not (folder / inside[0] / LOG).is_dir() and path.name != last:
            plain.append(path)
    for table in sorted(path.parent for path in folder.glob(f"*/{LOG}")):
        commit_table(store, table, uri / table.name)
    upload(store, [(path, f"{uri.prefix}{path.relative_to(folder)}") for path in plain])
    store.put(f"{uri.prefix}{last}", (folder / last).read_bytes())


def upload(store: Store, pairs: Sequence[tuple[Path, str]]) -> list[str | None]:
    """Write files over objects, several at once; the etag of each.

    Args:
        store: to write to.
        pairs: files and keys.

    Raises:
        SourceUnavailableError: the store fails.
    """
    with ThreadPoolExecutor(limits.STORE_REQUESTS, thread_name_prefix="store") as pool:
        return list(pool.map(lambda pair: store.put_file(pair[1], pair[0]), pairs))


def commit_table(store: Store, table: Path, uri: StoreUri) -> int:
    """Publish a table of this machine as the next version of the one at an address.

    Args:
        store: of the address.
        table: folder of the table, with its log.
        uri: of the table; created if missing.

    Returns:
        The version.

    Raises:
        ConflictError: another writer committed at the same time.
        SourceUnavailableError: the store fails.
    """
    from deltalake import Schema  # noqa: PLC0415 - only where a store is written to
    from deltalake.exceptions import CommitFailedError, DeltaError  # noqa: PLC0415
    from deltalake.transaction import AddAction  # noqa: PLC0415

    # New names: a file that an older version names must keep its content.
    tag = uuid.uuid4().hex[:12]
    parts = sorted(table.glob("*.parquet"))
    names = {path: f"{path.stem}-{tag}.parquet" for path in parts}
    upload(store, [(path, f"{uri.prefix}{name}") for path, name in names.items()])
    now = int(time.time() * 1000)
    counts = rows_of(table)
    actions = [
        AddAction(
            name, path.stat().st_size, {}, now, True, f'{{"numRecords": {counts[path.name]}}}'
        )
        for path, name in names.items()
    ]
    try:
        return _overwrite(uri, actions, Schema.from_arrow(schema_of(table)))
    except CommitFailedError as error:
        raise ConflictError(
            f"{uri}: another writer committed at the same time ({first_line(error)}): run the "
            "command again if its rows are to replace the other's"
        ) from None
    except (DeltaError, OSError) as error:
        raise SourceUnavailableError(f"{uri}: cannot commit: {first_line(error)}") from None


def files_of_version(uri: StoreUri, version: int) -> dict[str, int]:
    """Name of each file of a version of a Delta table -> its bytes.

    Raises:
        InputError: there is no such table or version.
        SourceUnavailableError: the store fails.
    """
    check_delta(uri)
    import pyarrow as pa  # noqa: PLC0415
    from deltalake import DeltaTable  # noqa: PLC0415
    from deltalake.exceptions import DeltaError, TableNotFoundError  # noqa: PLC0415

    try:
        opened = DeltaTable(str(uri), version=version, storage_options=storage_options(uri))
        added = pa.table(opened.get_add_actions(flatten=True)).select(["path", "size_bytes"])
    except TableNotFoundError:
        raise InputError(f"{uri}: no such table in version {version}") from None
    except (DeltaError, OSError) as error:
        raise SourceUnavailableError(f"{uri}: cannot be read: {first_line(error)}") from None
    return dict(zip(added["path"].to_pylist(), added["size_bytes"].to_pylist(), strict=True))


def _overwrite(uri: StoreUri, actions: Any, schema: Any) -> int:
    from deltalake import DeltaTable  # noqa: PLC0415
    from deltalake.exceptions import DeltaError, TableNotFoundError  # noqa: PLC0415
    from deltalake.transaction import create_table_with_add_actions  # noqa: PLC0415

    options = storage_options(uri)
    try:
        table = DeltaTable(str(uri), storage_options=options)
    except TableNotFoundError:
        try:
            create_table_with_add_actions(str(uri), schema, actions, storage_options=options)
        except DeltaError:
            table = DeltaTable(str(uri), storage_options=options)  # another created it meanwhile
        else:
            return 0
    table.create_write_transaction(actions, "overwrite", schema)
    table.update_incremental()
    return int(table.version())
