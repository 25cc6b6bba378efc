"""Small folders of a store: fetched to this machine's disk, and put from it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from pulmospark.core import files, limits, store_limits
from pulmospark.core.errors import InputError
from pulmospark.core.hashing import value_id
from pulmospark.core.machine import cache_folder
from pulmospark.store.delta import check_delta
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.prefetch import under_way
from pulmospark.store.probe import is_probe, probe
from pulmospark.store.store import StoredObject, in_parallel, open_store
from pulmospark.store.uri import StoreUri, is_store_uri, parse_uri

FETCHED = "fetched"
"""folder of the cache with what was fetched, by content"""


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
        in_parallel(lambda entry: store.save(*entry), _copies(uri, listed, aside / target.name))
    files.forget_oldest(target.parent.parent, limits.STORE_FETCHED_MAX)
    return target


def _copies(uri: StoreUri, listed: Sequence[StoredObject], to: Path) -> list[tuple[str, Path]]:
    """Key and copy of each object below an address."""
    copies = []
    for entry in listed:
        name = entry.uri.key[len(uri.prefix) :]
        if name != plain_name(name):
            raise InputError(f"{entry.uri}: no file of a bundle: remove it, or name its folder")
        copies.append((entry.uri.key, to / name))
    return copies


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


@lru_cache(maxsize=16)
def folder_here(folder: str) -> Path:
    """A small folder that workers read, such as a network's: fetched once, if it is in a store.

    Args:
        folder: its path, which is given back, or its address.

    Raises:
        InputError: there is no such folder, or it is too large.
        SourceUnavailableError: the store fails.
        PlatformError: no space, or no right to write in this machine's cache.
    """
    if not is_store_uri(folder):
        return Path(folder)
    return fetch_folder(
        parse_uri(folder),
        files_max=store_limits.ENGINE_FILES_MAX,
        bytes_max=store_limits.ENGINE_BYTES_MAX,
    )


def file_here(path: str) -> Path:
    """A file that workers read, such as a list: fetched once, if it is in a store.

    Args:
        path: which is given back, or an address.

    Raises:
        ObjectMissingError: there is no such object.
        InputError: it is too large.
        SourceUnavailableError: the store fails.
        PlatformError: no space, or no right to write in this machine's cache.
    """
    if not is_store_uri(path):
        return Path(path)
    kept = _fetched(path)
    if not kept.is_file():  # the cache keeps what was used last
        _fetched.cache_clear()
        kept = _fetched(path)
    return kept


@lru_cache(maxsize=16)
def _fetched(address: str) -> Path:
    return fetch_file(parse_uri(address), bytes_max=store_limits.CARRIED_BYTES_MAX)


def put_files(folder: Path, uri: StoreUri, *, but: str | None = None) -> None:
    """Put the files below a folder at an address, each replaced as a whole.

    Args:
        folder: on this machine.
        uri: where to.
        but: files whose names begin so stay here.

    Raises:
        SourceUnavailableError: the store fails.
    """
    pairs = [
        (path, (uri / str(path.relative_to(folder))).key)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not (but and path.name.startswith(but))
    ]
    upload(uri, pairs)


def check_target(uri: StoreUri, record: str, work: str | None = None) -> None:
    """Check, before any work, that something may be published at an address.

    Args:
        uri: the folder.
        record: name of the file that marks an earlier output, which may be replaced.
        work: name of the folder that marks an unfinished output, which may be resumed.

    Raises:
        InputError: something else is there, or no such bucket.
        PlatformError: the store ignores conditional writes, or refuses to be written to.
    """
    store = open_store(uri)
    # Not what a process left that was killed in this check.
    listed = (stored for stored in store.list(uri.prefix) if not is_probe(stored.uri))
    first = under_way(lambda: next(listed, None))
    try:
        store.head(f"{uri.prefix}{record}")
    except ObjectMissingError:
        other = first.result()
        begun = other and work and next(store.list((uri / work).prefix), None)
        if other is not None and not begun:
            raise InputError(
                f"{uri}: is not empty ({other.uri.key!r:.100}), and not an output of this kind: "
                "choose another --out"
            ) from None
    check_delta(uri)
    # Below the work folder it goes with it, if this process is killed before it has removed it.
    probe(store, (uri / work if work else uri).prefix)


def upload(bucket: StoreUri, pairs: Sequence[tuple[Path, str]]) -> list[str | None]:
    """Write files over objects, several at once; the etag of each.

    Args:
        bucket: any address in it.
        pairs: files and keys.

    Raises:
        SourceUnavailableError: the store fails.
    """
    store = open_store(bucket)
    return in_parallel(lambda pair: store.put_file(pair[1], pair[0]), pairs)
