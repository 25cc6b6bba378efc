"""Ingest: from folders of images to an images table and a rejects table."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ConfigDict

from pulmospark import chunks
from pulmospark.chunks.shared_store import SharedStore
from pulmospark.chunks.work_list import reads_of
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.core import files, hashing, schemas
from pulmospark.core.errors import InputError
from pulmospark.core.progress import Progress
from pulmospark.core.provenance import provenance
from pulmospark.core.pseudonyms import Salt, own_salt, read_salt
from pulmospark.core.records import Record
from pulmospark.core.schemas import RejectReason
from pulmospark.data.ingest.incremental import Already, compare, hashes
from pulmospark.data.ingest.rows import image_row, reject_row, rejects_of
from pulmospark.imaging.image import images_from_bytes
from pulmospark.imaging.read_ahead import Fetched, begun, fetch_stored_ahead
from pulmospark.imaging.rejection import Rejected
from pulmospark.layouts.manifest import SourceListing, write_manifest
from pulmospark.layouts.walk import absolute
from pulmospark.spark.engine_choice import workers_of
from pulmospark.store.archives import outermost
from pulmospark.store.light_parts import light_copies, whole_of
from pulmospark.store.uri import StoreUri

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LOG = logging.getLogger(__name__)

PIXELS_VERSION = 5
"""Raised whenever the same file and settings give other pixels or facts: old parts are then
unused."""

SALT_FILE = "salt.key"
"""secret that identifiers are hashed with, next to the tables, readable only by its owner;
deleting it makes the hashes of the run irreversible"""


class IngestResult(Record):
    """The result of an ingest; counts are of the current table."""

    model_config = ConfigDict(frozen=True)

    tables: Path
    images: int
    rejects: int
    files: int
    """files seen: images + rejects, a file of several frames counted once"""
    already: int
    """files that an earlier run had ingested"""
    formats: dict[str, int]
    rejects_by_reason: dict[str, int]
    burned_in: int = 0
    """images with burned-in text, according to their DICOM header"""
    sources: tuple[SourceListing, ...]


@dataclass(frozen=True)
class IngestWork:
    """Reads, decodes and standardises the files of a chunk of the manifest."""

    settings: IngestSettings
    salt: Salt | None = None
    """key for the hashes of identifiers in DICOM headers; ``None``: they are dropped"""
    columns: Sequence[str] | None = None

    def key(self, chunk: pa.Table) -> str:
        """The settings and the chunk's rows, which hold each file's size and time."""
        return hashing.value_id([_settings_key(self.settings, self.salt), chunk.to_pylist()])

    def rejects(self, rows: pa.Table, detail: str) -> Mapping[str, pa.Table]:
        """Rows of ``rejects``, for files that end the worker which reads them."""
        return rejects_of(rows, RejectReason.ENDED_ITS_WORKER, detail)

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``images`` and of ``rejects``; each file gives rows of one of the two."""
        return self.work_on(chunk, fetch_stored_ahead(chunk.to_pylist()))

    def prefetch(self, chunk: pa.Table) -> Iterator[Fetched]:
        """Begin to read files; returns when the first group is there."""
        return begun(fetch_stored_ahead(chunk.to_pylist()))

    def work_on(self, chunk: pa.Table, fetched: Iterator[Fetched]) -> Mapping[str, pa.Table]:
        """As a call, from files that are being read."""
        images: list[dict[str, Any]] = []
        rejects: list[dict[str, Any]] = []
        listed_hashes = hashes(chunk).view(np.int64).tolist()
        for (row, data), listed in zip(fetched, listed_hashes, strict=True):
            if data is None:
                rejects.append(reject_row(row, None, row["problem"], "found while listing"))
                continue
            standard_images = (
                data
                if isinstance(data, Rejected)
                else images_from_bytes(data, self.settings, self.salt)
            )
            if isinstance(standard_images, Rejected):
                rejects.append(
                    reject_row(
                        row,
                        standard_images.image_id,
                        standard_images.reason,
                        standard_images.detail,
                    )
                )
            else:
                cropped, guess = self.settings.crop != "none", self.settings.guess_view
                images += [
                    {**image_row(row, image, cropped=cropped, guess_view=guess), "listed": listed}
                    for image in standard_images
                ]
        return {
            "images": pa.Table.from_pylist(images, schema=schemas.IMAGES),
            "rejects": pa.Table.from_pylist(rejects, schema=schemas.REJECTS),
        }


def ingest(
    sources: Sequence[SourceSettings],
    settings: IngestSettings,
    target: Path,
    workers: chunks.Workers | SparkSession | None,
    *,
    store: SharedStore | None = None,
    quiet: bool = False,
) -> IngestResult:
    """Build the tables ``target/images`` and ``target/rejects`` from folders of images.

    Files are listed once. Those already in ``target``, unchanged and with the same settings and
    metadata, are not read again; rows of missing files are removed. Both tables appear
    atomically; a killed run resumes.

    Args:
        sources: the data sets.
        settings: of the standard image.
        target: folder of the tables.
        workers: run the chunks; a Spark session: its executors; ``None``: this process.
        store: of a run in a store: workers on other machines write there, and pixels stay there.
        quiet: show no progress.

    Raises:
        InputError: a folder is missing, has no known layout, or contains no file.
        SourceUnavailableError: a machine cannot reach the images.
        PlatformError: an executor lacks the package, the images or the output's folder.
    """
    here = [source.path for source in sources if isinstance(source.path, Path)]
    roots = [outermost(str(absolute(path))) for path in here]
    workers = workers_of(workers)
    workers.check(reads=roots, folder=store.work if store else target.parent)
    work = target.with_name(f".{target.name}.work")
    with files.disk_errors(target):
        work.mkdir(parents=True, exist_ok=True)
        manifest = work / "manifest.parquet"
        listings = write_manifest(sources, manifest)
        seen = pq.read_metadata(manifest).num_rows
        if not seen:
            raise InputError(
                f"{', '.join(str(source.path) for source in sources)}: contains no image file: "
                "check the path and the layout"
            )
        kept = _kept_key(target, settings, salt := _salt(settings, target))
        already = compare(manifest, target, work / "kept") if kept else Already([manifest], [], [])
        todo, count = _to_read(already, seen)
        with Progress("ingest", count, "files", quiet=quiet or not count) as progress:
            parts = chunks.run_chunks(
                workers.executor_for(count).sharing(store),
                IngestWork(settings, salt),
                todo,
                work / "parts",
                progress,
                reads=[*roots, *map(outermost, reads_of(todo))],
                tables=store.published(target) if store else None,
            )
        key = kept or _settings_key(settings, salt)
        made_with = _MadeWith(listings, settings, key, seen - count, in_store=store is not None)
        result = _publish(target, manifest, parts, already, made_with)
        if result.files != seen:
            raise InputError(
                f"{target}: {result.files} rows for {seen} files: two sources list the same "
                "file; name each folder once"
            )
        shutil.rmtree(work)
    return result


def _parts_here(parts: Sequence[chunks.Part], folder: Path) -> dict[str, list[Path]]:
    """Parts by their table; of those that workers left in a store, light copies in a folder."""
    here: dict[str, list[Path]] = {}
    for name in dict.fromkeys(part.table for part in parts):
        places = [part.place for part in parts if part.table == name]
        stored = [place for place in places if isinstance(place, StoreUri)]
        paths = [place for place in places if isinstance(place, Path)]
        here[name] = [*paths, *light_copies(stored, folder)]
    return here


def _to_read(already: Already, seen: int) -> tuple[list[chunks.Chunk], int]:
    """The chunks of files that are not ingested yet, and how many files they have."""
    todo = chunks.listed_chunks(already.pending)
    count = sum(chunk.rows for chunk in todo)
    _LOG.info("%d files listed, %d new or changed, in %d chunks", seen, count, len(todo))
    return todo, count


def _salt(settings: IngestSettings, target: Path) -> Salt:
    """The salt in the settings, or the run's own, next to the tables."""
    if settings.salt_path is not None:
        return read_salt(settings.salt_path)
    return own_salt(target.with_name(SALT_FILE))


def _kept_key(target: Path, settings: IngestSettings, salt: Salt | None) -> str | None:
    """The key of the rows in ``target``, if they may stay; ``None``: all are read again.

    Another salt, as on another machine, changes the rows of DICOM files alone.
    """
    record = target / "ingest.json"
    # Without its tables the record is useless: someone deleted them to start again.
    whole = all(chunks.parts_of(target / name) for name in ("images", "rejects"))
    if not whole or not record.is_file():
        return None
    values = files.read_json(record)
    if values.get("key") == (key := _settings_key(settings, salt)):
        return key
    if values.get("unsalted") != _settings_key(settings, None):
        return None
    if "dicom" in values["result"]["formats"]:
        _LOG.warning(
            "%s: identifiers were hashed with another salt, which is not here: all files are read "
            "again; name its file with ingest.salt_path to read only new ones",
            target,
        )
        return None
    return str(values["key"])


def _settings_key(settings: IngestSettings, salt: Salt | None) -> str:
    """What the rows of a file depend on; of the salt only its fingerprint."""
    values = settings.model_dump(mode="json", exclude={"salt_path"})
    return hashing.value_id([PIXELS_VERSION, values, salt.fingerprint if salt else None])


@dataclass(frozen=True)
class _MadeWith:
    """What the record of an ingest says of it."""

    listings: tuple[SourceListing, ...]
    settings: IngestSettings
    key: str
    """of the rows"""
    not_read: int
    """files that an earlier run had ingested"""
    in_store: bool
    """whether the tables are published in a store"""


def _publish(
    target: Path,
    manifest: Path,
    parts: Sequence[chunks.Part],
    already: Already,
    made_with: _MadeWith,
) -> IngestResult:
    here = _parts_here(parts, manifest.parent / "light")
    with files.whole_folder(target) as aside:
        for name, schema, kept in (
            ("images", schemas.IMAGES, already.images),
            ("rejects", schemas.REJECTS, already.rejects),
        ):
            whole = [*kept, *here.get(name, ())]
            light = any(isinstance(whole_of(part), StoreUri) for part in whole)
            stored = made_with.in_store
            chunks.publish_table(whole, aside / name, schema, light=light, in_store=stored)
        manifest.replace(aside / "manifest.parquet")
        formats = _count(aside / "images", "format")
        reasons = _count(aside / "rejects", "reason")
        images, rejects = sum(formats.values()), sum(reasons.values())
        beyond = _sum(aside / "images", "frame", lambda frame: pc.greater(frame, 1))
        result = IngestResult(
            tables=target,
            images=images,
            rejects=rejects,
            files=images + rejects - beyond,
            already=made_with.not_read,
            formats=formats,
            rejects_by_reason=reasons,
            burned_in=_sum(aside / "images", "burned_in", lambda burned: burned),
            sources=made_with.listings,
        )
        files.write_json(
            aside / "ingest.json",
            {
                "key": made_with.key,
                "unsalted": _settings_key(made_with.settings, None),
                "result": result.model_dump(mode="json"),
                "provenance": provenance(made_with.settings.model_dump(mode="json")),
            },
        )
    return result


def _count(table: Path, column: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for part in chunks.parts_of(table):
        counts.update(chunks.read_part(part, columns=[column]).column(0).to_pylist())
    return dict(sorted(counts.items()))


def _sum(table: Path, column: str, chosen: Callable[[pa.ChunkedArray], Any]) -> int:
    """Number of rows of a table that a column selects; null does not."""
    columns = (chunks.read_part(part, [column]).column(0) for part in chunks.parts_of(table))
    return sum(int(pc.sum(chosen(values)).as_py() or 0) for values in columns)


def read_ingest(target: Path) -> IngestResult:
    """The result of the last ingest into ``target``.

    Raises:
        InputError: there is none.
    """
    if not (target / "ingest.json").is_file():
        raise InputError(f"{target}: not ingested yet: run `pulmospark ingest` first")
    result = IngestResult.model_validate(files.read_json(target / "ingest.json")["result"])
    return result.model_copy(update={"tables": target})  # the folder may have been moved
