"""What is to be scored: files, folders, patterns and tables, listed into one manifest.

Each file is seen once, however often it is named: a file inside a folder that is listed
anyway is left to that folder, and so is a folder inside another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pulmospark.config.source import SourceSettings
from pulmospark.core import files, schemas
from pulmospark.core.errors import InputError, LayoutError, UsageError
from pulmospark.core.progress import Progress
from pulmospark.core.schemas import RejectReason
from pulmospark.inference.batch.input_lists import SHEET_ENDS, TABLE_END, files_of_sheet, schema_of
from pulmospark.inference.batch.path_patterns import expanded, within
from pulmospark.layouts import manifest, registry
from pulmospark.layouts.base import ListingNotes, ManifestRow, NoteKind, NotesSummary, row_of
from pulmospark.layouts.notes import printable
from pulmospark.layouts.walk import (
    FoundFile,
    find_file,
    glance,
    is_image,
    is_image_name,
    walk,
)
from pulmospark.spark.chunks import parts_of

IMAGE_COLUMNS = (
    "image_id",
    "uri",
    "source",
    "patient_id",
    "scan_id",
    "finding",
    "view",
    "pixels",
)
"""columns of an images table that a prediction needs"""

FACT_COLUMNS = ("view_measured", "view_guess", "body_part", "phantom")
"""columns that cautions rest on, where an images table has them"""

NO_LAYOUT = "none"
"""asks for every image file of the folders"""

_FILES_SOURCE = "files"


@dataclass(frozen=True)
class Inputs:
    """What the paths of a prediction stand for; all paths are absolute."""

    folders: tuple[Path, ...] = ()
    """listed, with all folders in them"""
    named: tuple[Path, ...] = ()
    """files named one by one"""
    sheets: tuple[Path, ...] = ()
    """CSV, TSV and Parquet files with a column of paths"""
    images: tuple[Path, ...] = ()
    """Parquet files of images tables: standardised already"""
    layout: str | None = None
    """of the folders and sheets; ``None``: every image file in them"""
    fits: dict[str, str] = field(default_factory=dict)
    """images table -> how its images were made square, where that is told"""
    equalised: dict[str, bool] = field(default_factory=dict)
    """images table -> whether its images' histograms were equalised"""
    notes: NotesSummary = field(default_factory=lambda: ListingNotes().summary())
    """what was passed over where patterns were expanded"""

    @property
    def is_one_image(self) -> bool:
        """Whether it is one file, named as such: that needs no Spark."""
        return len(self.named) == 1 and not (self.folders or self.sheets or self.images)


def resolve_inputs(paths: Sequence[str], layout: str | None = None) -> Inputs:
    """Tell files, folders, patterns and tables apart; lists nothing but what patterns need.

    Args:
        paths: a file, a folder, a pattern (``*``, ``?``, ``[]``, and ``**`` for any folders),
            the folder of an images table or of an ingest, or a CSV, TSV or Parquet file. A
            pattern stands for all that it matches, as though each were named; see
            :func:`pulmospark.inference.batch.path_patterns.expanded`.
        layout: of the folders, as ``ingest`` takes it; ``None``: that of a public data set
            where the folders have one, for its masks are no images, and else every image file
            in them; ``none``: every image file in them, whatever they are.

    Raises:
        UsageError: no path is given, ``layout`` goes with none of them, or a data set is given
            together with something else.
        InputError: a path is not there, a pattern matches nothing, or a table cannot be used.
    """
    if not paths:
        raise UsageError("no image is named: give a file, a folder, a pattern or a table")
    found, notes = _Sorted(), ListingNotes()
    asked, layout = layout, None if layout == NO_LAYOUT else layout
    for path in expanded(paths, notes):
        found.add(path, with_layout=layout is not None)
    if layout is not None and (found.named or found.images):
        odd = next(iter([*found.named, *found.images]))
        raise UsageError(f"--layout goes with folders and their sheets, and {odd} is neither")
    if asked is None:
        layout = _recognised(found)
    folders = tuple(f for f in found.folders if layout is not None or not within(f, found.folders))
    return Inputs(
        folders=folders,
        named=tuple(found.named),
        sheets=tuple(found.sheets),
        images=tuple(found.images),
        layout=layout,
        fits=found.fits,
        equalised=found.equalised,
        notes=notes.summary(),
    )


def list_inputs(
    inputs: Inputs,
    target: Path,
    notes: ListingNotes,
    progress: Progress | None = None,
) -> int:
    """List the files into a Parquet file of ``core.schemas.MANIFEST``; a row group is a chunk.

    Memory holds a chunk, the names of one folder, and 100 bytes for each file that a sheet
    or the command names.

    Args:
        inputs: what to list; its images tables are not.
        target: the Parquet file.
        notes: takes what is odd.
        progress: told how many files were seen so far, where no layout is read.

    Returns:
        Files seen.

    Raises:
        InputError: a folder or table cannot be read, or there is no file at all.
        UsageError: the layout is unknown.
    """
    _add_notes(notes, inputs.notes)
    if inputs.layout is not None:
        sources = [
            SourceSettings(path=path, layout=inputs.layout)
            for path in (*inputs.folders, *inputs.sheets)
        ]
        listings = manifest.write_manifest(sources, target)
        for listing in listings:
            _add_notes(notes, listing.notes)
        return sum(listing.files for listing in listings)
    count = 0
    with files.disk_errors(target), pq.ParquetWriter(target, schemas.MANIFEST) as writer:
        for group in manifest.row_groups(_rows(inputs, notes)):
            writer.write_table(group, row_group_size=group.num_rows)
            count += group.num_rows
            if progress is not None:
                progress.to(count)
    if not count and not inputs.images:
        where = ", ".join(str(path) for path in (*inputs.folders, *inputs.sheets))
        ignored = notes.summary().ignored()
        passed = f" (ignored: {ignored})" if ignored else ""
        raise InputError(f"{where}: no image file was found{passed}; check the path")
    return count


def _add_notes(notes: ListingNotes, found: NotesSummary) -> None:
    for kind, count in found.counts.items():
        first, *others = found.examples.get(kind, ("",))
        notes.add(NoteKind(kind), first, count - len(others))
        for example in others:
            notes.add(NoteKind(kind), example)
    for end, count in found.ignored_extensions.items():
        notes.ignored_extensions[end] = notes.ignored_extensions.get(end, 0) + count
    notes.columns.update(found.columns)


class _Sorted:
    """Paths by what they are; a dict is a set that keeps its order."""

    def __init__(self) -> None:
        self.folders: dict[Path, None] = {}
        self.named: dict[Path, None] = {}
        self.sheets: dict[Path, None] = {}
        self.images: dict[Path, None] = {}
        self.fits: dict[str, str] = {}
        self.equalised: dict[str, bool] = {}

    def add(self, path: Path, *, with_layout: bool) -> None:
        is_sheet = path.name.lower().endswith(SHEET_ENDS)
        if path.is_dir():
            parts = [] if with_layout else _table_parts(path)
            if not parts:
                self.folders[path] = None
            self._add_parts(parts)
        elif is_sheet:
            self.sheets[path] = None
        elif path.name.lower().endswith(TABLE_END) and not with_layout:
            self._add_parts([path])
        else:
            self.named[path] = None

    def _add_parts(self, parts: list[Path]) -> None:
        for part in parts:
            names = schema_of(part).names
            if "pixels" not in names:
                self.sheets[part] = None
                continue
            if lacking := [name for name in IMAGE_COLUMNS if name not in names]:
                raise InputError(
                    f"{part}: no images table, for it lacks the column {lacking[0]!r}: give one "
                    "that `pulmospark ingest` wrote, or the files themselves"
                )
            self.images[part] = None
        if parts and (fit := _fit_told(parts[0].parent)):
            self.fits[str(parts[0].parent)] = fit
            self.equalised[str(parts[0].parent)] = (
                _ingest_told(parts[0].parent, "equalise") is True
            )


def _recognised(found: _Sorted) -> str | None:
    """The layout that all that is named has; ``None`` where no data set is among it."""
    known = {}
    for folder in found.folders:
        try:
            place = registry.recognise(folder)
        except LayoutError:
            continue  # a plain folder of images
        if not place.layout.generic:
            known[folder] = place.layout.name
    if not known:
        return None
    others = len(found.folders) - len(known) + len(found.named) + len(found.sheets)
    if others or found.images or len(set(known.values())) > 1:
        folder, name = next(iter(known.items()))
        raise UsageError(
            f"{folder}: is a data set ({name}), and goes with others of its layout only: give it "
            f"alone, or say --layout {NO_LAYOUT} to take every image file for an image"
        )
    return next(iter(known.values()))


def _table_parts(folder: Path) -> list[Path]:
    """Parquet files of a folder that is a table, or that ingest wrote; else none."""
    inside = folder / "images"
    if (folder / "ingest.json").is_file() and inside.is_dir():
        return parts_of(inside)
    names = glance(folder).files
    if any(is_image_name(name) for name in names):
        return []
    return parts_of(folder)


def _fit_told(images: Path) -> str | None:
    told = _ingest_told(images, "fit")
    return told if isinstance(told, str) else None


def _ingest_told(images: Path, name: str) -> Any:
    """A setting that ingest made a table with; ``None`` where it is not known."""
    record = images.parent / "ingest.json"
    if not record.is_file():
        return None
    return files.read_json(record).get("provenance", {}).get("settings", {}).get(name)


def crop_told(images: Path) -> str:
    """What the images of an images table were cut to; "none" where that is not told."""
    told = _ingest_told(images, "crop")
    return told if isinstance(told, str) else "none"


def ct_window_told(images: Path) -> str | None:
    """The window of an images table's CT slices; ``None`` where it is not told."""
    told = _ingest_told(images, "ct_window")
    return told if isinstance(told, str) else None


def _rows(inputs: Inputs, notes: ListingNotes) -> Iterator[ManifestRow]:
    for folder in inputs.folders:
        source = printable(folder.name) or _FILES_SOURCE
        for file in walk(folder, notes):
            yield row_of(file, source)
    seen: set[str] = set()
    for path, source in _one_by_one(inputs, notes):
        text = str(path)
        # Asked of the folders first: what a name does not tell, the content would have to.
        if text in seen or (within(path, inputs.folders) and is_image(text, path.name)):
            notes.add(NoteKind.REPEATED_ROWS, text)
            continue
        seen.add(text)
        found = find_file(path, (path.name,), ListingNotes())
        # Named outright, a pipe or a dangling link is seen, and rejected.
        odd = FoundFile(printable(text), (path.name,), 0, 0, RejectReason.UNREADABLE)
        yield row_of(found or odd, source)


def _one_by_one(inputs: Inputs, notes: ListingNotes) -> Iterator[tuple[Path, str]]:
    for path in inputs.named:
        yield path, _FILES_SOURCE
    for sheet in inputs.sheets:
        source = printable(sheet.stem)
        yield from ((path, source) for path in files_of_sheet(sheet, notes))
