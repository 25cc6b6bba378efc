"""What the tables of an output hold already, as hashes: 8 bytes per file and image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pulmospark import chunks
from pulmospark.chunks.parquet_files import Place, open_parquet
from pulmospark.core import schemas
from pulmospark.core.arrays import Hashes
from pulmospark.core.schemas import RejectReason
from pulmospark.data.ingest.incremental import PASSING, hashes, pending_rows
from pulmospark.data.ingest.rows import file_of, frame_of
from pulmospark.lake.table import find_table
from pulmospark.store.delta import delta_errors
from pulmospark.store.uri import StoreUri

SCHEMAS = {
    "predictions": schemas.PREDICTIONS,
    "rejects": schemas.REJECTS,
    "repeats": schemas.REPEATS,
}
"""the tables of an output that grows"""

_READ_AGAIN = {
    *PASSING,
    # Depend on the model and on what was allowed, which the table does not hold.
    RejectReason.NOT_A_PHANTOM.value,
    RejectReason.OTHER_BODY_PART.value,
}
FILE = ["uri", "size_bytes", "modified_ns"]
"""columns that identify a file as it was when it was read, wherever it was named"""

_REJECT_KEY = [*FILE, "reason"]


@dataclass(frozen=True)
class ScoredBefore:
    """Files and images that an output has of one model.

    Attributes:
        versions: of each table; -1: there is none yet.
        files: of scored and rejected files that need not be read, their path, size and time.
        images: ids of the images that this model has scored.
        rejects: files with the reason of their reject.
    """

    versions: dict[str, int]
    files: Hashes = field(repr=False)
    images: Hashes = field(repr=False)
    rejects: Hashes = field(repr=False)

    def unscored(self, manifest: Place, target: Path) -> list[Place]:
        """The rows of a list of files that are not known, as a list of their own.

        Args:
            manifest: list of files (``core.schemas.MANIFEST``).
            target: for the new list.

        Returns:
            One list, or none if all are known.
        """
        with open_parquet(manifest) as file:
            keys = [
                hashes(file.read_row_group(index, columns=FILE, use_threads=False), FILE)
                for index in range(file.num_row_groups)
            ]
        return pending_rows(manifest, ~np.isin(np.concatenate(keys), self.files), target)

    def unscored_chunks(self, of_images: Sequence[chunks.Chunk]) -> list[chunks.Chunk]:
        """The chunks of images tables in which an image is not known."""
        return [
            chunk
            for chunk in of_images
            if not np.isin(
                hashes(chunks.read_chunk(chunk, ["image_id"]), ["image_id"]), self.images
            ).all()
        ]


def scored_before(out: Path | StoreUri, model_id: str, since: datetime | None) -> ScoredBefore:
    """Read what an output holds of a model, from its tables' newest versions.

    Args:
        out: folder of the output, or its address; need not exist.
        model_id: of the bundle.
        since: only what was scored at or after this time counts; ``None``: all.

    Raises:
        PlatformError: deltalake is missing.
        SourceUnavailableError: the store fails.
    """
    versions: dict[str, int] = {}
    files, images, rejects = [_none()], [_none()], [_none()]
    chosen = pc.field("model_id") == model_id
    if since is not None:
        chosen &= pc.field("predicted_at") >= since
    for rows in _rows(out, "predictions", [*FILE, "image_id"], versions, chosen):
        files += _file_hashes(rows)
        images.append(hashes(rows, ["image_id"]))
    known = np.concatenate(images)
    for rows in _rows(out, "repeats", [*FILE, "image_id"], versions):
        of_known = rows.filter(pa.array(np.isin(hashes(rows, ["image_id"]), known)))
        files += _file_hashes(of_known)
    for rows in _rows(out, "rejects", _REJECT_KEY, versions):
        rejects.append(reject_hashes(rows))
        if since is None:
            passing = pc.is_in(rows["reason"], pa.array(sorted(_READ_AGAIN)))
            files.append(hashes(rows.filter(pc.invert(passing)), FILE))
    return ScoredBefore(versions, np.concatenate(files), known, np.concatenate(rejects))


def reject_hashes(rows: pa.Table) -> Hashes:
    """A hash of each reject's file and reason; (n,)."""
    return hashes(rows, _REJECT_KEY)


def _none() -> Hashes:
    return np.zeros(0, dtype=np.uint64)


def _file_hashes(rows: pa.Table) -> list[Hashes]:
    """Of the rows' own ``uri``, and of the file of those that name a frame."""
    of_frames = [file_of(uri) for uri in rows["uri"].to_pylist() if frame_of(uri) is not None]
    if not of_frames:
        return [hashes(rows, FILE)]
    frames = rows.filter(pa.array([frame_of(uri) is not None for uri in rows["uri"].to_pylist()]))
    files = frames.set_column(frames.schema.get_field_index("uri"), "uri", pa.array(of_frames))
    return [hashes(rows, FILE), hashes(files, FILE)]


def _rows(
    out: Path | StoreUri,
    table: str,
    columns: Sequence[str],
    versions: dict[str, int],
    chosen: pc.Expression | None = None,
) -> Iterator[pa.Table]:
    """Rows of a table, batch by batch, in its own schema; notes its version."""
    place = out / table
    delta = find_table(place)
    versions[table] = -1 if delta is None else int(delta.version())
    if delta is None:
        return
    with delta_errors(place):
        dataset = delta.to_pyarrow_dataset()
        there = [name for name in columns if name in dataset.schema.names]
        schema = pa.schema([SCHEMAS[table].field(name) for name in columns])
        for batch in dataset.to_batches(columns=there, filter=chosen):
            if batch.num_rows:
                yield from chunks.regrouped(
                    [pa.Table.from_batches([batch])], schema, batch.num_rows
                )
