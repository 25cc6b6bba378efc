"""Inputs of a prediction that lie in a store: objects, folders and patterns of keys."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from pulmospark.core import limits, store_limits
from pulmospark.core.errors import InputError
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.sniff import sniff
from pulmospark.layouts.archived import walk_archive
from pulmospark.layouts.base import ListingNotes, NoteKind
from pulmospark.layouts.walk import (
    FoundFile,
    content_is_image,
    is_hidden,
    is_image_name,
    may_hold_image,
)
from pulmospark.store.archives import archive_folder, is_archive
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.parallel_list import list_ahead
from pulmospark.store.prefetch import find_many, under_way
from pulmospark.store.store import StoredObject, in_parallel, is_there, open_store
from pulmospark.store.uri import StoreUri, parse_uri

_MAGIC = re.compile(r"[*?\[]")
_ANY_FOLDERS = "**"
_TABLE_ENDS = (".csv", ".tsv", ".parquet")


def objects_below(uri: StoreUri, notes: ListingNotes) -> Iterator[FoundFile]:
    """Image files of a folder, or those that match a pattern, in the order of their keys.

    Memory holds one page of the listing. In a pattern ``*``, ``?`` and ``[]`` match within a
    name, and ``**`` any folders.

    Args:
        uri: a folder (``s3://bucket/images``), an archive (``s3://bucket/set.zip``) or a pattern
            (``s3://bucket/*/a*.png``).
        notes: receives what is skipped.

    Raises:
        InputError: no such bucket.
        SourceUnavailableError: the store fails.
    """
    if is_archive(uri.name):
        yield from walk_archive(archive_folder(str(uri)), notes, _by_name(str(uri)))
        return
    magic = _MAGIC.search(uri.key)
    pattern = uri.key.split("/") if magic else []
    prefix = uri.key[: magic.start()] if magic else uri.prefix
    cut = 0 if magic else len(prefix)
    fitting = (
        (stored, tuple(stored.uri.key[cut:].split("/")))
        for stored in list_ahead(open_store(uri), prefix)
        if not pattern or _fits(stored.uri.key.split("/"), pattern)
    )
    while page := list(islice(fitting, store_limits.LIST_PAGE_ROWS)):
        yield from _images_among(page, notes)


def _images_among(
    page: Sequence[tuple[StoredObject, tuple[str, ...]]], notes: ListingNotes
) -> Iterator[FoundFile]:
    """The images of some objects, given with their parts; those of other names are read."""
    hidden = [any(map(is_hidden, parts)) for _, parts in page]
    named = [is_image_name(parts[-1]) for _, parts in page]
    unnamed = [
        stored
        for (stored, parts), is_skipped, is_named in zip(page, hidden, named, strict=True)
        if not (is_skipped or is_named) and may_hold_image(parts[-1])
    ]
    # A request each, so that a store's silence is not waited for one by one.
    begin = dict(zip(unnamed, in_parallel(_begins_like_one, unnamed), strict=True))
    for (stored, parts), is_skipped, is_named in zip(page, hidden, named, strict=True):
        if is_skipped:
            notes.add(NoteKind.HIDDEN_ENTRIES, str(stored.uri))
        elif is_named or begin.get(stored):
            yield _file(stored, parts)
        elif stored.size_bytes or not stored.uri.key.endswith("/"):
            notes.ignore(parts[-1])


def objects_named(uris: Iterable[StoreUri]) -> Iterator[FoundFile]:
    """Objects named one by one, in order; one that is missing has the problem ``vanished``.

    Raises:
        SourceUnavailableError: the store fails.
    """
    uris = list(uris)
    for uri, found in zip(uris, find_many(uris), strict=True):
        if isinstance(found, ObjectMissingError):
            yield FoundFile(str(uri), (uri.name,), 0, 0, RejectReason.VANISHED)
        else:
            yield _file(found, (uri.name,))


def resolve_address(text: str) -> tuple[StoreUri, bool]:
    """The address in a text, and whether it is to be listed: a folder, an archive or a pattern.

    Raises:
        UsageError: it is no valid address.
        InputError: nothing is there, or a table, which cannot be read from a store.
        SourceUnavailableError: the store fails.
    """
    uri = parse_uri(text)
    if _MAGIC.search(uri.key) or not uri.key or uri.key.endswith("/"):
        return uri, True
    is_folder = under_way(_is_folder, uri)  # who may not list may still name an object
    if not is_there(uri):
        if not is_folder.result():
            raise InputError(f"{uri}: no such object or folder; check the address")
        return uri, True
    if uri.name.lower().endswith(_TABLE_ENDS):
        raise InputError(
            f"{uri}: a table cannot be read from a store: copy it to this machine; its paths may "
            "be addresses"
        )
    return uri, is_archive(uri.name)


def _is_folder(uri: StoreUri) -> bool:
    return next(open_store(uri).list(uri.prefix), None) is not None


def _by_name(archive: str) -> Callable[[tuple[str, ...]], bool]:
    def wanted(parts: tuple[str, ...]) -> bool:
        address = f"{archive}!/{'/'.join(parts)}"
        return is_image_name(parts[-1]) or (
            may_hold_image(parts[-1]) and content_is_image(address)
        )

    return wanted


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a pattern matches a key, or a folder in which it lies."""
    if not pattern or pattern == [""]:
        return True
    if pattern[0] == _ANY_FOLDERS:
        return any(_fits(parts[at:], pattern[1:]) for at in range(len(parts)))
    return (
        bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])
    )


def _file(found: StoredObject, parts: tuple[str, ...]) -> FoundFile:
    return FoundFile(str(found.uri), parts, found.size_bytes, found.modified_ns)


def _begins_like_one(found: StoredObject) -> bool:
    if not found.size_bytes:
        return False
    length = min(limits.SNIFF_BYTES, found.size_bytes)
    return sniff(open_store(found.uri).get_range(found.uri.key, 0, length)) is not None
