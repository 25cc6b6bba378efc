"""Inputs of a prediction: files, folders, patterns and tables, listed into one manifest.

Each file is listed once, however often it is named: a file or folder inside another listed folder
is listed with that folder only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulmospark.chunks.parts import parts_of
from pulmospark.core import files
from pulmospark.core.errors import InputError, LayoutError, UsageError
from pulmospark.inference.batch.input_lists import SHEET_ENDS, TABLE_END, schema_of
from pulmospark.inference.batch.path_patterns import expanded, within
from pulmospark.layouts.base import ListingNotes, NotesSummary
from pulmospark.layouts.stored import (
    resolve_address,
)
from pulmospark.layouts.walk import (
    glance,
    is_image_name,
)
from pulmospark.store.archives import archive_folder, is_archive
from pulmospark.store.uri import StoreUri, is_store_uri

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

FACT_COLUMNS = (
    *("view_measured", "view_guess", "body_part", "phantom", "height", "width"),
    *("size_bytes", "modified_ns"),
)
"""optional columns of an images table that cautions, heat maps and later appends use"""

NO_LAYOUT = "none"
"""as a layout: every image file of the folders"""


@dataclass(frozen=True)
class Inputs:
    """What the paths of a prediction stand for; all paths are absolute."""

    folders: tuple[Path, ...] = ()
    """listed recursively"""
    named: tuple[Path, ...] = ()
    """files named one by one"""
    sheets: tuple[Path, ...] = ()
    """CSV, TSV and Parquet files with a column of paths"""
    stored_folders: tuple[StoreUri, ...] = ()
    """folders and patterns in stores, listed recursively"""
    stored: tuple[StoreUri, ...] = ()
    """objects named one by one"""
    images: tuple[Path, ...] = ()
    """Parquet files of images tables: standardised already"""
    layout: str | None = None
    """of the folders and sheets; ``None``: every image file in them"""
    fits: dict[str, str] = field(default_factory=dict)
    """images table -> how its images were made square, if known"""
    equalised: dict[str, bool] = field(default_factory=dict)
    """images table -> whether its images' histograms were equalised"""
    notes: NotesSummary = field(default_factory=lambda: ListingNotes().summary())
    """what was skipped when patterns were expanded"""

    @property
    def is_one_image(self) -> bool:
        """Whether the input is a single named file, which needs no Spark."""
        more = self.folders or self.stored_folders or self.sheets or self.images
        return len(self.named) + len(self.stored) == 1 and not more

    @property
    def has_files(self) -> bool:
        """Whether there are files to list, apart from images tables."""
        return bool(
            self.folders or self.named or self.sheets or self.stored or self.stored_folders
        )

    @property
    def places(self) -> tuple[Path | StoreUri, ...]:
        """All that is named."""
        return (
            *self.folders,
            *self.stored_folders,
            *self.named,
            *self.stored,
            *self.sheets,
            *self.images,
        )


def resolve_inputs(paths: Sequence[str], layout: str | None = None) -> Inputs:
    """Sort paths into files, folders, patterns and tables; lists only what patterns need.

    Args:
        paths: a file, a folder, a zip or tar archive, a pattern (``*``, ``?``, ``[]``, and ``**``
            for any folders), the folder of an images table or of an ingest, or a CSV, TSV or
            Parquet file. A pattern stands for all its matches, as if each were named; see
            :func:`pulmospark.inference.batch.path_patterns.expanded`.
        layout: of the folders, as ``ingest`` takes it; ``None``: that of a recognised public
            data set, whose masks are then skipped, else every image file in them; ``none``:
            always every image file in them.

    Raises:
        UsageError: no path is given, ``layout`` suits none of them, or a data set is given
            together with something else.
        InputError: a path does not exist, a pattern matches nothing, or a table cannot be used.
    """
    if not paths:
        raise UsageError("no image is named: give a file, a folder, a pattern or a table")
    by_type, notes = _ByType(), ListingNotes()
    requested, layout = layout, None if layout == NO_LAYOUT else layout
    for path in expanded([text for text in paths if not is_store_uri(text)], notes):
        by_type.add(path, with_layout=layout is not None)
    for text in filter(is_store_uri, paths):
        by_type.add_address(*resolve_address(text))
    if layout is not None and by_type.has_addresses:
        raise UsageError("--layout applies to folders of this machine, not to those of a store")
    if layout is not None and (by_type.named or by_type.images):
        other = next(iter([*by_type.named, *by_type.images]))
        raise UsageError(f"--layout applies to folders and their sheets, and {other} is neither")
    if requested is None:
        layout = _recognised(by_type)
    folders = tuple(
        f for f in by_type.folders if layout is not None or not within(f, by_type.folders)
    )
    return Inputs(
        folders=folders,
        named=tuple(by_type.named),
        stored_folders=tuple(by_type.stored_folders),
        stored=tuple(by_type.stored),
        sheets=tuple(by_type.sheets),
        images=tuple(by_type.images),
        layout=layout,
        fits=by_type.fits,
        equalised=by_type.equalised,
        notes=notes.summary(),
    )


class _ByType:
    """Paths by type; the dicts serve as ordered sets."""

    def __init__(self) -> None:
        self.folders: dict[Path, None] = {}
        self.named: dict[Path, None] = {}
        self.stored_folders: dict[StoreUri, None] = {}
        self.stored: dict[StoreUri, None] = {}
        self.sheets: dict[Path, None] = {}
        self.images: dict[Path, None] = {}
        self.fits: dict[str, str] = {}
        self.equalised: dict[str, bool] = {}

    def add(self, path: Path, *, with_layout: bool) -> None:
        is_sheet = path.name.lower().endswith(SHEET_ENDS)
        if is_archive(path.name) and path.is_file():
            self.folders[Path(archive_folder(str(path)))] = None
        elif path.is_dir():
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

    def add_address(self, uri: StoreUri, is_listed: bool) -> None:
        (self.stored_folders if is_listed else self.stored)[uri] = None

    @property
    def has_addresses(self) -> bool:
        return bool(self.stored_folders or self.stored)

    def _add_parts(self, parts: list[Path]) -> None:
        for part in parts:
            names = schema_of(part).names
            if "pixels" not in names:
                self.sheets[part] = None
                continue
            if missing := [name for name in IMAGE_COLUMNS if name not in names]:
                raise InputError(
                    f"{part}: not an images table, column {missing[0]!r} is missing: give one "
                    "that `pulmospark ingest` wrote, or the files themselves"
                )
            self.images[part] = None
        if parts and (fit := _ingest_fit(parts[0].parent)):
            self.fits[str(parts[0].parent)] = fit
            self.equalised[str(parts[0].parent)] = (
                _ingest_setting(parts[0].parent, "equalise") is True
            )


def _recognised(by_type: _ByType) -> str | None:
    """The common layout of all inputs; ``None`` where none of them is a data set."""
    known = {}
    for folder in by_type.folders:
        from pulmospark.layouts import registry  # noqa: PLC0415

        try:
            place = registry.recognise(folder)
        except LayoutError:
            continue  # a plain folder of images
        if not place.layout.generic:
            known[folder] = place.layout.name
    if not known:
        return None
    others = len(by_type.folders) - len(known) + len(by_type.named) + len(by_type.sheets)
    others += by_type.has_addresses
    if others or by_type.images or len(set(known.values())) > 1:
        folder, name = next(iter(known.items()))
        raise UsageError(
            f"{folder}: is a data set ({name}), combined only with others of its layout: "
            f"give it alone, or use --layout {NO_LAYOUT} to score every image file"
        )
    return next(iter(known.values()))


def _table_parts(folder: Path) -> list[Path]:
    """Parquet files of a folder that is a table or an ingest's output; else none."""
    inside = folder / "images"
    if (folder / "ingest.json").is_file() and inside.is_dir():
        return parts_of(inside)
    names = glance(folder).files
    if any(is_image_name(name) for name in names):
        return []
    return parts_of(folder)


def _ingest_fit(images: Path) -> str | None:
    fit = _ingest_setting(images, "fit")
    return fit if isinstance(fit, str) else None


def _ingest_setting(images: Path, name: str) -> Any:
    """The value of a setting with which a table was ingested; ``None``: unknown."""
    record = images.parent / "ingest.json"
    if not record.is_file():
        return None
    return files.read_json(record).get("provenance", {}).get("settings", {}).get(name)


def crop_told(images: Path) -> str:
    """The crop of an images table's images; "none" where it is not recorded."""
    crop = _ingest_setting(images, "crop")
    return crop if isinstance(crop, str) else "none"


def ct_window_told(images: Path) -> str | None:
    """The window of an images table's CT slices; ``None`` where it is not recorded."""
    window = _ingest_setting(images, "ct_window")
    return window if isinstance(window, str) else None
