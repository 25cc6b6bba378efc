"""Publishes what this machine made at an address: Delta tables in new versions, and files."""

from __future__ import annotations

import uuid
from pathlib import Path

from pulmospark.core.delta_log import LOG, rows_of
from pulmospark.core.errors import InputError, SourceUnavailableError
from pulmospark.core.safe_text import first_line
from pulmospark.store.commit import Commit
from pulmospark.store.delta import check_delta, column_of, storage_options
from pulmospark.store.folders import upload
from pulmospark.store.light_parts import whole_of, whole_schema
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri


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
    plain: list[Path] = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if path.is_file() and not (folder / inside[0] / LOG).is_dir() and path.name != last:
            plain.append(path)
    for table in sorted(path.parent for path in folder.glob(f"*/{LOG}")):
        commit_table(table, uri / table.name)
    upload(uri, [(path, f"{uri.prefix}{path.relative_to(folder)}") for path in plain])
    upload(uri, [(folder / last, f"{uri.prefix}{last}")])


def commit_table(table: Path, uri: StoreUri) -> int:
    """Publish a table of this machine as the next version of the one at an address.

    Of a light part the object that it names becomes a file of the table.

    Args:
        table: folder of the table, with its log.
        uri: of the table; created if missing.

    Returns:
        The version.

    Raises:
        ConflictError: another writer committed at the same time.
        SourceUnavailableError: the store fails.
    """
    commit = Commit(uri, whole_schema(table))  # the store answers meanwhile
    # New names: a file that an older version names must keep its content.
    tag = uuid.uuid4().hex[:12]
    names = {path: f"{path.stem}-{tag}.parquet" for path in sorted(table.glob("*.parquet"))}
    wholes = {path: whole for path in names if isinstance(whole := whole_of(path), StoreUri)}
    for path, whole in wholes.items():
        if whole.parent == uri:  # a worker wrote it there
            names[path] = whole.name
        else:
            _copy(whole, uri / names[path])
    upload(uri, [(p, f"{uri.prefix}{name}") for p, name in names.items() if p not in wholes])
    counts = rows_of(table)
    commit.name_files({name: counts[path.name] for path, name in names.items()})
    return commit.run()


def _copy(source: StoreUri, target: StoreUri) -> None:
    """Copy an object of another table, which the store does itself.

    Raises:
        InputError: it is in another bucket.
    """
    if (source.scheme, source.bucket) != (target.scheme, target.bucket):
        raise InputError(
            f"{source}: its pixels are in another bucket than {target.parent}: publish the table "
            "to the same bucket"
        )
    open_store(source).copy(source.key, target.key)


def files_of_version(uri: StoreUri, version: int) -> dict[str, int]:
    """Name of each file of a version of a Delta table -> its bytes.

    Raises:
        InputError: there is no such table or version.
        SourceUnavailableError: the store fails.
    """
    check_delta(uri)
    from deltalake import DeltaTable  # noqa: PLC0415
    from deltalake.exceptions import DeltaError, TableNotFoundError  # noqa: PLC0415

    try:
        opened = DeltaTable(str(uri), version=version, storage_options=storage_options(uri))
        files = opened.get_add_actions(flatten=True)
    except TableNotFoundError:
        raise InputError(f"{uri}: no such table in version {version}") from None
    except (DeltaError, OSError) as error:
        raise SourceUnavailableError(f"{uri}: cannot be read: {first_line(error)}") from None
    return dict(zip(column_of(files, "path"), column_of(files, "size_bytes"), strict=True))
