"""Lists what a prediction reads: files, folders and lists, into one manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from pulmospark.config.source import SourceSettings
from pulmospark.core import limits
from pulmospark.core.errors import InputError
from pulmospark.core.key_set import TextSet
from pulmospark.core.progress import Progress
from pulmospark.core.schemas import RejectReason
from pulmospark.inference.batch.input_lists import files_of_sheet
from pulmospark.inference.batch.inputs import Inputs
from pulmospark.inference.batch.path_patterns import within
from pulmospark.layouts.base import ListingNotes, NoteKind, NotesSummary
from pulmospark.layouts.list_writer import ListWriter, list_writer
from pulmospark.layouts.manifest_rows import file_groups
from pulmospark.layouts.notes import printable
from pulmospark.layouts.stored import objects_below, objects_named
from pulmospark.layouts.walk import FoundFile, find_file, is_image, name_of_folder, walk
from pulmospark.store.uri import StoreUri

_FILES_SOURCE = "files"


def list_inputs(
    inputs: Inputs,
    target: Path,
    notes: ListingNotes,
    progress: Progress | None = None,
) -> int:
    """List the files into a Parquet file of ``core.schemas.MANIFEST``; see :func:`list_into`."""
    with list_writer(target) as writer:
        return list_into(inputs, writer, notes, progress)


def list_into(
    inputs: Inputs, writer: ListWriter, notes: ListingNotes, progress: Progress | None = None
) -> int:
    """List the files.

    Holds in memory a row group, the names of one folder, and some 40 bytes per file named by a
    sheet.

    Args:
        inputs: what to list, without its images tables.
        writer: of the list.
        notes: receives anything unusual.
        progress: receives the number of files seen so far, unless a layout is read.

    Returns:
        Files seen.

    Raises:
        InputError: a folder or table cannot be read, or there is no file.
        UsageError: the layout is unknown.
    """
    _add_notes(notes, inputs.notes)
    if inputs.layout is not None:
        sources = [
            SourceSettings(path=path, layout=inputs.layout)
            for path in (*inputs.folders, *inputs.sheets)
        ]
        # Inside, as below: all layouts, of which single images need none.
        from pulmospark.layouts.manifest import list_sources  # noqa: PLC0415

        listings = list_sources(sources, writer)
        for listing in listings:
            _add_notes(notes, listing.notes)
        return sum(listing.files for listing in listings)
    count = 0
    for group in file_groups(_files(inputs, notes)):
        writer.write(group)
        count += group.num_rows
        if progress is not None:
            progress.to(count)
    if not count and not inputs.images:
        listed = (*inputs.folders, *inputs.stored_folders, *inputs.sheets)
        where = ", ".join(map(str, listed))
        ignored = notes.summary().ignored()
        skipped = f" (ignored: {ignored})" if ignored else ""
        raise InputError(f"{where}: no image file was found{skipped}; check the path")
    return count


def _add_notes(notes: ListingNotes, summary: NotesSummary) -> None:
    for kind, count in summary.counts.items():
        first, *others = summary.examples.get(kind, ("",))
        notes.add(NoteKind(kind), first, count - len(others))
        for example in others:
            notes.add(NoteKind(kind), example)
    for end, count in summary.ignored_extensions.items():
        notes.ignored_extensions[end] = notes.ignored_extensions.get(end, 0) + count
    notes.columns.update(summary.columns)


def _files(inputs: Inputs, notes: ListingNotes) -> Iterator[tuple[FoundFile, str]]:
    """All files, each with its source."""
    for folder in inputs.folders:
        source = printable(name_of_folder(folder)) or _FILES_SOURCE
        yield from ((file, source) for file in walk(folder, notes))
    seen = TextSet()
    yield from _files_of_stores(inputs, notes, seen)
    named = _one_by_one(inputs, notes)
    while some := list(islice(named, limits.LIST_GROUP_ROWS)):
        new = seen.add_all(str(place) for place, _ in some)
        addresses = [
            place
            for (place, _), is_new in zip(some, new, strict=True)
            if is_new and isinstance(place, StoreUri)
        ]
        stored = objects_named(addresses)
        for (place, source), is_new in zip(some, new, strict=True):
            if not is_new or (isinstance(place, Path) and _is_below(place, inputs.folders)):
                notes.add(NoteKind.REPEATED_ROWS, str(place))
            else:
                yield (_listed(place) if isinstance(place, Path) else next(stored)), source


def _is_below(path: Path, folders: Sequence[Path]) -> bool:
    """Whether a file is listed with a folder."""
    # Folders first: checking an ambiguous name would read the file's content.
    return within(path, folders) and is_image(str(path), path.name)


def _listed(path: Path) -> FoundFile:
    """A file that is named; a pipe or a dangling link is listed, too, and rejected."""
    unreadable = FoundFile(printable(str(path)), (path.name,), 0, 0, RejectReason.UNREADABLE)
    return find_file(path, (path.name,), ListingNotes()) or unreadable


def _files_of_stores(
    inputs: Inputs, notes: ListingNotes, seen: TextSet
) -> Iterator[tuple[FoundFile, str]]:
    """Those of the folders in stores; ``seen`` is only kept where objects are named as well."""
    several = len(inputs.stored_folders) > 1 or inputs.stored or inputs.sheets
    for folder in inputs.stored_folders:
        source = printable(folder.name) or printable(folder.bucket)
        files = objects_below(folder, notes)
        while several and (some := list(islice(files, limits.LIST_GROUP_ROWS))):
            for file, is_new in zip(some, seen.add_all(f.uri for f in some), strict=True):
                if is_new:
                    yield file, source
                else:
                    notes.add(NoteKind.REPEATED_ROWS, file.uri)
        yield from ((file, source) for file in files)


def _one_by_one(inputs: Inputs, notes: ListingNotes) -> Iterator[tuple[Path | StoreUri, str]]:
    yield from ((path, _FILES_SOURCE) for path in inputs.named)
    yield from ((uri, _FILES_SOURCE) for uri in inputs.stored)
    for sheet in inputs.sheets:
        source = printable(sheet.stem)
        yield from ((path, source) for path in files_of_sheet(sheet, notes))
