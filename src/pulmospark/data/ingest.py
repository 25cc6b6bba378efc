"""Ingest: folders of films in, an images table and a rejects table out."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict
from pyspark.sql import SparkSession

from pulmospark.core import content, files, limits, tables
from pulmospark.core.errors import InputError
from pulmospark.core.progress import Progress
from pulmospark.core.provenance import provenance
from pulmospark.core.settings import IngestSettings, SourceSettings
from pulmospark.core.tables import View
from pulmospark.data.already import COPIED, Already, compare
from pulmospark.imaging.film import Film, read_film
from pulmospark.layouts.manifest import SourceListing, write_manifest
from pulmospark.spark import chunks

PIXELS_VERSION = 1
"""Raised whenever the same file and settings give other pixels: old parts are then unused."""


class IngestResult(BaseModel):
    """What an ingest did; counts are of the table as it now stands."""

    model_config = ConfigDict(frozen=True)

    tables: Path
    images: int
    rejects: int
    files: int
    """files seen: images + rejects"""
    already: int
    """files that an earlier run had ingested"""
    formats: dict[str, int]
    rejects_by_reason: dict[str, int]
    sources: tuple[SourceListing, ...]


@dataclass(frozen=True)
class IngestWork:
    """Reads, decodes and standardises the files of a chunk of the manifest."""

    settings: IngestSettings
    columns: Sequence[str] | None = None

    def key(self, chunk: pa.Table) -> str:
        """The settings and the chunk's rows, which hold each file's size and time."""
        return content.value_id(
            [PIXELS_VERSION, self.settings.model_dump(mode="json"), chunk.to_pylist()]
        )

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``images`` and of ``rejects``; each file gives one row of the two."""
        images: list[dict[str, Any]] = []
        rejects: list[dict[str, Any]] = []
        for row in chunk.to_pylist():
            if row["problem"]:
                rejects.append(_reject(row, None, row["problem"], "found while listing"))
                continue
            film = read_film(row["uri"], self.settings)
            if isinstance(film, Film):
                images.append(_image(row, film, cropped=self.settings.crop != "none"))
            else:
                rejects.append(_reject(row, film.image_id, film.reason, film.detail))
        return {
            "images": pa.Table.from_pylist(images, schema=tables.IMAGES),
            "rejects": pa.Table.from_pylist(rejects, schema=tables.REJECTS),
        }


def ingest(
    sources: Sequence[SourceSettings],
    settings: IngestSettings,
    target: Path,
    spark: SparkSession,
    *,
    quiet: bool = False,
) -> IngestResult:
    """Make the tables ``target/images`` and ``target/rejects`` from folders of films.

    Files are listed once. Those that ``target`` already holds, unchanged and with the same
    settings and metadata, are not read again; those that are gone lose their rows. The tables
    appear together, whole or not at all; a killed run goes on where it was.

    Args:
        sources: the data sets.
        settings: of the standard image.
        target: folder of the tables.
        spark: the session.
        quiet: show no progress.

    Raises:
        InputError: a folder is missing, has no known layout, or holds no file.
    """
    work = target.with_name(f".{target.name}.work")
    with files.disk_errors(target):
        work.mkdir(parents=True, exist_ok=True)
        manifest = work / "manifest.parquet"
        listings = write_manifest(sources, manifest)
        seen = pq.read_metadata(manifest).num_rows
        if not seen:
            raise InputError(
                f"{', '.join(str(source.path) for source in sources)}: no image file was found; "
                "check the path and the layout"
            )
        already = (
            compare(manifest, target, work / "kept")
            if _same_settings(target, settings)
            else Already([manifest], [], [])
        )
        todo = chunks.chunks_of(already.pending)
        count = sum(chunk.rows for chunk in todo)
        with Progress("ingest", count, "files", quiet=quiet or not count) as progress:
            parts = chunks.run_chunks(spark, IngestWork(settings), todo, work / "parts", progress)
        result = _publish(
            target,
            manifest=manifest,
            parts=parts,
            already=already,
            listings=listings,
            settings=settings,
            not_read=seen - count,
        )
        if result.files != seen:
            raise InputError(
                f"{target}: {result.files} rows for {seen} files seen: two sources list the same "
                "file; name each folder once"
            )
        shutil.rmtree(work)
    return result


def _same_settings(target: Path, settings: IngestSettings) -> bool:
    record = target / "ingest.json"
    # Without its tables the record is of no use: someone has thrown them away to start anew.
    whole = all(chunks.parts_of(target / name) for name in ("images", "rejects"))
    if not whole or not record.is_file():
        return False
    told = files.read_json(record)
    return bool(told.get("key") == _settings_key(settings))


def _settings_key(settings: IngestSettings) -> str:
    return content.value_id([PIXELS_VERSION, settings.model_dump(mode="json")])


def _publish(
    target: Path,
    *,
    manifest: Path,
    parts: Sequence[chunks.Part],
    already: Already,
    listings: tuple[SourceListing, ...],
    settings: IngestSettings,
    not_read: int,
) -> IngestResult:
    with files.whole_folder(target) as aside:
        for name, schema, kept in (
            ("images", tables.IMAGES, already.images),
            ("rejects", tables.REJECTS, already.rejects),
        ):
            new = [part.path for part in parts if part.table == name]
            chunks.link_parts([*kept, *new], aside / name)
            if not chunks.parts_of(aside / name):
                chunks.write_empty(schema, aside / name)
        manifest.replace(aside / "manifest.parquet")
        formats = _count(aside / "images", "format")
        reasons = _count(aside / "rejects", "reason")
        images, rejects = sum(formats.values()), sum(reasons.values())
        result = IngestResult(
            tables=target,
            images=images,
            rejects=rejects,
            files=images + rejects,
            already=not_read,
            formats=formats,
            rejects_by_reason=reasons,
            sources=listings,
        )
        files.write_json(
            aside / "ingest.json",
            {
                "key": _settings_key(settings),
                "result": result.model_dump(mode="json"),
                "provenance": provenance(settings.model_dump(mode="json")),
            },
        )
    return result


def _count(table: Path, column: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for part in chunks.parts_of(table):
        counts.update(pq.read_table(part, columns=[column]).column(0).to_pylist())
    return dict(sorted(counts.items()))


def read_ingest(target: Path) -> IngestResult:
    """The result that the last ingest into ``target`` left.

    Raises:
        InputError: there is none.
    """
    if not (target / "ingest.json").is_file():
        raise InputError(f"{target}: nothing there yet: run `pulmospark ingest` first")
    return IngestResult.model_validate(files.read_json(target / "ingest.json")["result"])


def _image(row: Mapping[str, Any], film: Film, *, cropped: bool) -> dict[str, Any]:
    measured = row["view"] == View.UNKNOWN.value and film.view is not None
    return {
        **{name: row[name] for name in COPIED},
        # A mask is of the whole film: it fits no cut one.
        "mask_uri": None if cropped else row["mask_uri"],
        "image_id": film.image_id,
        "view": film.view.value if measured and film.view else row["view"],
        "view_measured": measured,
        "format": film.format,
        "height": film.height,
        "width": film.width,
        "pixels": film.pixels,
        "phash": film.phash,
        "parent_id": None,
    }


def _reject(
    row: Mapping[str, Any], image_id: str | None, reason: str, detail: str
) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("uri", "source", "size_bytes", "modified_ns")},
        "image_id": image_id,
        "reason": str(reason),
        "detail": detail[: limits.DETAIL_CHARS_MAX],
    }
