"""Small trees and their listing, for the tests of the layouts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pulmospark.config.source import SourceSettings
from pulmospark.layouts.manifest import SourceListing, write_manifest

Row = dict[str, Any]


def plant(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files by their path below ``root``; text as UTF-8."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def listed(
    path: Path,
    out: Path,
    *,
    layout: str | None = None,
    name: str | None = None,
    options: Mapping[str, str] | None = None,
) -> tuple[SourceListing, list[Row]]:
    """The listing of one source and the rows of its manifest."""
    source = SourceSettings(path=path, layout=layout, name=name, options=dict(options or {}))
    target = out / "manifest.parquet"
    (listing,) = write_manifest([source], target)
    rows: list[Row] = pq.read_table(target).to_pylist()
    assert listing.files == len(rows)
    return listing, rows


def by_name(rows: list[Row]) -> dict[str, Row]:
    """Rows by the name of their file."""
    return {Path(row["uri"]).name: row for row in rows}
