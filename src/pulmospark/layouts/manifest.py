"""List sources on disk in one manifest: a Parquet file with one row per file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ConfigDict

from pulmospark.config.source import SourceSettings
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.records import Record
from pulmospark.layouts.base import ListingNotes, ManifestRow, NoteKind, NotesSummary
from pulmospark.layouts.list_writer import ListWriter, list_writer
from pulmospark.layouts.manifest_rows import row_groups
from pulmospark.layouts.sources import Source, open_source
from pulmospark.layouts.walk import name_of_folder


class SourceListing(Record):
    """Content of one source, frozen and fit for JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """as in the tables"""
    layout: str
    title: str
    home: str
    licence: str
    path: str
    """the listed folder"""
    files: int
    """rows of the manifest"""
    findings: dict[str, int]
    """finding as in the source -> files, most frequent first"""
    without_finding: int
    views: dict[str, int]
    published_splits: dict[str, int]
    with_patient: int
    """files whose patient the layout knows; DICOM headers may name more"""
    with_mask: int
    notes: NotesSummary


class _Tally:
    """Counts rows; grows with the number of findings, not of files."""

    def __init__(self) -> None:
        self.files = self.with_patient = self.with_mask = 0
        self.findings: Counter[str | None] = Counter()
        self.views: Counter[str] = Counter()
        self.splits: Counter[str | None] = Counter()

    def add(self, row: ManifestRow) -> None:
        self.files += 1
        self.with_patient += row.patient_id is not None
        self.with_mask += row.mask_uri is not None
        self.findings[row.finding] += 1
        self.views[row.view.value] += 1
        self.splits[row.published_split] += 1


def write_manifest(sources: Sequence[SourceSettings], target: Path) -> tuple[SourceListing, ...]:
    """List the files of all sources into one Parquet file of ``core.schemas.MANIFEST``.

    A row group has ``limits.LIST_GROUP_ROWS`` files; ``spark.work_list`` splits it into chunks.
    The file appears atomically. Memory holds a row group, the names of one folder, and the rows
    of one source's metadata sheet.

    Args:
        sources: what to list, in this order.
        target: the Parquet file; its folder is created if missing.

    Returns:
        The listing of each source, in the order of ``sources``.

    Raises:
        UsageError: a layout or option is unknown, or two sources share a name or a folder.
        InputError: a folder is missing, has no known layout or no image, or a sheet is broken.
        PlatformError: the disk is full, or the target's folder is not writable.
    """
    with list_writer(target) as writer:
        return list_sources(sources, writer)


def list_sources(
    sources: Sequence[SourceSettings], writer: ListWriter
) -> tuple[SourceListing, ...]:
    """As :func:`write_manifest`, to a list that is open."""
    opened = [open_source(source) for source in sources]
    _check_apart(opened)
    names = _names(opened)
    listings: list[SourceListing] = []
    for group in row_groups(_all_rows(opened, names, listings)):
        writer.write(group)
    return tuple(listings)


def _all_rows(
    sources: Sequence[Source], names: Sequence[str], listings: list[SourceListing]
) -> Iterator[ManifestRow]:
    """Rows of all sources; appends a source's listing after its last row."""
    for source, name in zip(sources, names, strict=True):
        notes, tally, place = ListingNotes(), _Tally(), source.place
        try:
            for row in place.layout.rows(place.folder, name, source.options, notes):
                tally.add(row)
                yield row if place.layout.header_patient else replace(row, header_patient=False)
        except OSError as error:
            raise InputError(
                f"{error.filename or place.folder}: cannot be read: {error.strerror}: check the "
                "permissions of the source"
            ) from error
        if tally.files == 0:
            missing = notes.count(NoteKind.ROWS_WITHOUT_FILE)
            named = f"; its sheet names {missing} missing files" if missing else ""
            reasons = notes.summary().ignored()
            ignored = f"; ignored: {reasons}" if reasons else ""
            raise InputError(
                f"{source.shown}: contains no image file{named}{ignored}: check the path of the "
                "source"
            )
        listings.append(_listing(source, name, tally, notes))


def _listing(source: Source, name: str, tally: _Tally, notes: ListingNotes) -> SourceListing:
    layout = source.place.layout
    without = tally.findings.pop(None, 0)
    tally.splits.pop(None, None)
    return SourceListing(
        name=name,
        layout=layout.name,
        title=layout.title,
        home=layout.home,
        licence=layout.licence,
        path=source.shown,
        files=tally.files,
        findings={str(finding): count for finding, count in tally.findings.most_common()},
        without_finding=without,
        views=dict(tally.views.most_common()),
        published_splits={str(split): count for split, count in tally.splits.most_common()},
        with_patient=tally.with_patient,
        with_mask=tally.with_mask,
        notes=notes.summary(),
    )


def _check_apart(sources: Sequence[Source]) -> None:
    """Refuse a folder twice or inside another: its images would be listed twice.

    Sheets may share a folder if each takes only the files it names.
    """
    listed: list[tuple[Path, bool, Path]] = []
    for source in sources:
        place = source.place
        root, whole = place.layout.territory(place.folder, source.options)
        here = (root.resolve(), whole, place.folder.resolve())
        for there in listed:
            inner, outer = sorted((here[0], there[0]), key=lambda p: len(p.parts), reverse=True)
            same = here[2] == there[2]
            if same or ((here[1] or there[1]) and inner.is_relative_to(outer)):
                raise UsageError(
                    f"sources: {inner} is given twice, or lies inside {outer}, so images would be "
                    "listed twice: remove one, or give each CSV of one folder the option "
                    "files_without_row = 'count'"
                )
        listed.append(here)


def _names(sources: Sequence[Source]) -> tuple[str, ...]:
    """A unique name for each source: the given one, the layout's, or the folder's."""
    taken: set[str] = set()
    for source in sources:
        if source.name is None:
            continue
        if not source.name.strip() or ":" in source.name:
            raise UsageError(
                f"sources: the name {source.name!r} must not be empty or contain a colon"
            )
        if source.name.casefold() in taken:
            raise UsageError(
                f"sources: the name {source.name!r} is given twice: give each source its own"
            )
        taken.add(source.name.casefold())
    names: list[str] = []
    for source in sources:
        name, place = source.name, source.place
        if name is None:
            base = place.layout.name
            if place.layout.generic:
                base = name_of_folder(place.folder) or base
            base = base.replace(":", "-").strip() or place.layout.name
            name, number = base, 2
            while name.casefold() in taken:
                name, number = f"{base}-{number}", number + 1
            taken.add(name.casefold())
        names.append(name)
    return tuple(names)
