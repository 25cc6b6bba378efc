"""Download, check and unpack data sets that are available by plain https."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ConfigDict

from pulmospark.core import files
from pulmospark.core.archive import unpack
from pulmospark.core.download import Bounds, Progress, download
from pulmospark.core.errors import InputError, PlatformError, UsageError
from pulmospark.core.records import Record
from pulmospark.layouts.base import Layout
from pulmospark.layouts.registry import LAYOUTS, find

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class FetchResult(Record):
    """A downloaded data set; recorded next to the folder as ``NAME.fetch.json``."""

    model_config = ConfigDict(frozen=True)

    layout: str
    url: str
    folder: Path
    sha256: str
    """of the archive"""
    checked: bool
    """whether the hash was known before: given, or from an earlier download"""
    files: int
    size_bytes: int
    """unpacked"""
    licence: str
    fetched_at: datetime
    already: bool = False
    """it was there, and nothing was downloaded"""


def fetchable() -> tuple[Layout, ...]:
    """The layouts whose data set can be downloaded."""
    return tuple(layout for layout in LAYOUTS if layout.download is not None)


def fetch_data_set(
    name: str,
    out: Path,
    bounds: Bounds,
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> FetchResult:
    """Download a data set into ``out/NAME``; the folder appears atomically.

    GitHub builds the archives from a branch that may grow, so no hash is published. The first
    download records its hash; later ones into the same place, and those with ``sha256``, must
    match.

    Args:
        name: of its layout.
        out: folder for data sets; created if missing.
        bounds: most bytes and seconds of the download.
        sha256: expected hash of the archive.
        progress: called with the bytes so far and the total.

    Raises:
        UsageError: the data set is unknown or cannot be downloaded, or the hash is invalid.
        PlatformError: no network, no space, over a limit, or a wrong hash.
        InputError: the archive is damaged or is not the data set.
    """
    layout, sha256 = _checked(name, sha256)
    folder, record = out / layout.name, out / f"{layout.name}.fetch.json"
    earlier = _earlier(record)
    if folder.is_dir() and earlier is not None:
        return _already(folder, earlier, sha256)
    if folder.exists():
        raise PlatformError(f"{folder}: already exists: download elsewhere with --out")
    expected = sha256 or (earlier.sha256 if earlier else None)
    archive = out / f".{layout.name}.zip"
    assert layout.download is not None
    digest = download(layout.download, archive, bounds, sha256=expected, progress=progress)
    with files.whole_folder(folder) as aside:
        unpacked = unpack(archive, aside, inside_one_folder=True)
        if layout.recognises(aside) <= 0:
            raise InputError(
                f"{layout.download}: the archive does not have the layout {layout.name} (looked "
                f"for {layout.looked_for}): see {layout.home}"
            )
    archive.unlink(missing_ok=True)
    result = FetchResult(
        layout=layout.name,
        url=layout.download,
        folder=folder,
        sha256=digest,
        checked=expected is not None,
        files=unpacked.files,
        size_bytes=unpacked.size_bytes,
        licence=layout.licence,
        fetched_at=datetime.now(UTC),
    )
    files.write_json(record, result.model_dump(mode="json"))
    return result


def _checked(name: str, sha256: str | None) -> tuple[Layout, str | None]:
    """The layout of a name, and a hash in lower case.

    Raises:
        UsageError: as `fetch_data_set`.
    """
    layout = find(name)
    if layout.download is None:
        known = ", ".join(downloadable.name for downloadable in fetchable())
        raise UsageError(
            f"{layout.name}: cannot be downloaded, see {layout.home}; choose from {known}"
        )
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise UsageError(f"--sha256 is {sha256[:80]!r}, must have 64 hexadecimal digits")
    return layout, None if sha256 is None else sha256.lower()


def _already(folder: Path, earlier: FetchResult, sha256: str | None) -> FetchResult:
    """The result for a folder that is there.

    Raises:
        PlatformError: it is from another archive than the one asked for.
    """
    if sha256 not in (None, earlier.sha256):
        raise PlatformError(
            f"{folder}: is from an archive with SHA-256 {earlier.sha256}, not {sha256}: "
            "remove the folder, or download elsewhere with --out"
        )
    return earlier.model_copy(update={"already": True, "folder": folder})


def _earlier(record: Path) -> FetchResult | None:
    return FetchResult.model_validate(files.read_json(record)) if record.is_file() else None
