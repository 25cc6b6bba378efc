"""Sources as they are listed: on this machine, or a sheet or archive that lies in a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pulmospark.config.source import SourceSettings
from pulmospark.core import mirror_limits
from pulmospark.core.errors import InputError
from pulmospark.core.store_uri import StoreUri, below, place_of_text
from pulmospark.layouts.archived import is_archived
from pulmospark.layouts.datasets.csv_table import SHEET_ENDS
from pulmospark.layouts.registry import Recognition, place_of
from pulmospark.store.archives import ArchivePath, archive_folder, is_archive
from pulmospark.store.folders import fetch_file


@dataclass(frozen=True)
class Source:
    """A source whose folder or sheet is on this machine, or an archive in a store.

    Attributes:
        place: its folder and layout.
        name: as configured; ``None``: the layout's, or the folder's.
        options: of the layout.
        address: of the sheet of which ``place`` is a copy.
    """

    place: Recognition
    name: str | None
    options: Mapping[str, str]
    address: StoreUri | None = None

    @property
    def shown(self) -> str:
        """Where the source is, as in records."""
        return str(self.address or self.place.folder)


def open_source(settings: SourceSettings) -> Source:
    """Find a source and its layout; a sheet in a store is copied to this machine's cache once, and
    of an archive there the directory is read.

    Raises:
        UsageError: the layout is unknown.
        InputError: there is no such folder or object, or it is no sheet and no zip.
        LayoutError: no layout matches.
        SourceUnavailableError: the store fails.
    """
    uri, options = settings.path, settings.options
    if isinstance(uri, Path):
        place = place_of(uri, settings.layout, options)
        return Source(place, settings.name, options)
    if is_archived(str(uri)) or is_archive(uri.name):
        folder = str(uri) if is_archived(str(uri)) else archive_folder(str(uri))
        return Source(
            place_of(ArchivePath(folder), settings.layout, options), settings.name, options
        )
    if not uri.name.lower().endswith(SHEET_ENDS):
        raise InputError(
            f"{uri}: of the sources in a store only a zip archive, or a CSV or TSV whose cells "
            "are addresses or names below it, can be read: give its address, or copy the data "
            "set to a disk"
        )
    named = options.get("root")
    root = uri.parent if named is None else below(uri.parent, place_of_text(named))
    options = {**options, "root": str(root)}
    path = fetch_file(uri, bytes_max=mirror_limits.SHEET_BYTES_MAX)
    return Source(place_of(path, settings.layout, options), settings.name, options, uri)
