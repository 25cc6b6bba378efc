"""Data sets that can be had by plain https, fetched, checked and unpacked."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ConfigDict

from pulmospark.core import files
from pulmospark.core.archive import unpack
from pulmospark.core.content import file_id
from pulmospark.core.download import Bounds, Told, download
from pulmospark.core.errors import EnvironmentProblem, InputError, UsageError
from pulmospark.core.records import Record
from pulmospark.layouts.base import Layout
from pulmospark.layouts.registry import LAYOUTS, find

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class FetchResult(Record):
    """What a fetch brought; kept beside the folder as ``NAME.fetch.json``."""

    model_config = ConfigDict(frozen=True)

    layout: str
    url: str
    folder: Path
    sha256: str
    """of the archive"""
    checked: bool
    """whether that hash was known before: given, or of an earlier fetch"""
    files: int
    size_bytes: int
    """unpacked"""
    licence: str
    fetched_at: datetime
    already: bool = False
    """it was there, and nothing was fetched"""


def fetchable() -> tuple[Layout, ...]:
    """The layouts whose data set can be fetched."""
    return tuple(layout for layout in LAYOUTS if layout.download is not None)


def fetch_data_set(
    name: str,
    out: Path,
    bounds: Bounds,
    *,
    sha256: str | None = None,
    told: Told | None = None,
) -> FetchResult:
    """Fetch a data set into ``out/NAME``; the folder appears whole or not at all.

    The archives are made by GitHub of a branch that may grow: no hash of them is published.
    The first fetch keeps the hash of what came; a later one into the same place, and one with
    ``sha256``, has to bring the same.

    Args:
        name: of its layout.
        out: folder for data sets; made where it is missing.
        bounds: most bytes and seconds of the download.
        sha256: what the archive has to hash to.
        told: called with the bytes there and the bytes in all.

    Raises:
        UsageError: the data set is not known or cannot be fetched, or the hash is none.
        EnvironmentProblem: no network, no space, over a limit, or another content.
        InputError: the archive is damaged or is not of the data set.
    """
    layout = find(name)
    if layout.download is None:
        known = ", ".join(one.name for one in fetchable())
        raise UsageError(
            f"{layout.name}: cannot be fetched, see {layout.home}; those that can be are {known}"
        )
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise UsageError(f"--sha256 is {sha256[:80]!r}, and a SHA-256 has 64 hexadecimal digits")
    sha256 = sha256.lower() if sha256 is not None else None
    folder, record = out / layout.name, out / f"{layout.name}.fetch.json"
    earlier = _earlier(record)
    if folder.is_dir() and earlier is not None:
        if sha256 not in (None, earlier.sha256):
            raise EnvironmentProblem(
                f"{folder}: is of an archive with SHA-256 {earlier.sha256}, and {sha256} is asked "
                "for: take the folder away, or fetch elsewhere"
            )
        return earlier.model_copy(update={"already": True, "folder": folder})
    if folder.exists():
        raise EnvironmentProblem(f"{folder}: stands in the way: fetch elsewhere with --out")
    expected = (sha256 or (earlier.sha256 if earlier else None)) or None
    archive = out / f".{layout.name}.zip"
    if not (archive.is_file() and expected is not None and file_id(archive) == expected):
        found = download(layout.download, archive, bounds, sha256=expected, told=told)
    else:
        found = expected
    with files.whole_folder(folder) as aside:
        held = unpack(archive, aside, inside_one_folder=True)
        if layout.recognises(aside) <= 0:
            raise InputError(
                f"{layout.download}: what came is not laid out as {layout.name} (looked for "
                f"{layout.looked_for}): see {layout.home}"
            )
    archive.unlink(missing_ok=True)
    result = FetchResult(
        layout=layout.name,
        url=layout.download,
        folder=folder,
        sha256=found,
        checked=expected is not None,
        files=held.files,
        size_bytes=held.size_bytes,
        licence=layout.licence,
        fetched_at=datetime.now(UTC),
    )
    files.write_json(record, result.model_dump(mode="json"))
    return result


def _earlier(record: Path) -> FetchResult | None:
    return FetchResult.model_validate(files.read_json(record)) if record.is_file() else None
