"""A sample of the images to be scored, evenly spaced over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from pulmospark.chunks.work_list import Chunk, read_chunk
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.hashing import bytes_id, value_id

SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("size_bytes", pa.int64()),
        ("pixels", pa.binary()),
    ]
)
"""of a sample: files to read, and the pixels of images that are standard images already"""


class Sample(Protocol):
    """Images that a precision is checked on."""

    @property
    def settings(self) -> IngestSettings:
        """How files are read."""
        ...

    @property
    def content_id(self) -> str:
        """SHA-256 that changes with the images."""
        ...

    def rows(self) -> pa.Table:
        """Rows of :data:`SCHEMA`; reads no file."""
        ...


@dataclass(frozen=True)
class GivenSample:
    """Standard images (n, size, size) that are already in memory."""

    images: Pixels

    @property
    def settings(self) -> IngestSettings:
        """Of images of this size."""
        return IngestSettings(size=self.images.shape[1])

    @property
    def content_id(self) -> str:
        """Of the pixels."""
        return bytes_id(self.images.tobytes())

    def rows(self) -> pa.Table:
        """See :class:`Sample`."""
        pixels = [{"pixels": image.tobytes()} for image in self.images]
        return pa.Table.from_pylist(pixels, schema=SCHEMA)


@dataclass(frozen=True)
class ListedSample:
    """Images of a manifest and of images tables.

    Holds in memory the rows of the sample, and one row group.

    Attributes:
        manifest: chunks of files to be scored.
        images: chunks of images tables.
        settings: size and fit.
        count: maximum number of images.
    """

    manifest: Sequence[Chunk]
    images: Sequence[Chunk]
    settings: IngestSettings
    count: int = limits.PARITY_IMAGES

    @property
    def content_id(self) -> str:
        """Hash of the files' names, sizes and times, and of the rows' ids; reads no image."""
        files, rows = self._places()
        listed = _rows(self.manifest, files, ["uri", "size_bytes", "modified_ns"])
        known = _rows(self.images, rows, ["uri", "image_id"])
        return value_id([self.settings.model_dump(), list(listed), list(known)])

    def rows(self) -> pa.Table:
        """See :class:`Sample`."""
        files, rows = self._places()
        listed = _rows(self.manifest, files, ["uri", "size_bytes", "problem"])
        known = _rows(self.images, rows, ["uri", "pixels"])
        kept = [row for row in listed if not row["problem"]]
        kept += [row for row in known if len(row["pixels"] or b"") == self.settings.size**2]
        return pa.Table.from_pylist(kept, schema=SCHEMA)

    def _places(self) -> tuple[list[int], list[int]]:
        """Positions of the images in the manifest and in the images tables, evenly spaced."""
        files, rows = (
            sum(chunk.rows for chunk in chunks) for chunks in (self.manifest, self.images)
        )
        count = min(self.count, files + rows)
        spaced = np.linspace(0, files + rows - 1, count).round().astype(int)
        places = sorted(set(spaced.tolist()))  # `np.unique` would import masked arrays
        return [p for p in places if p < files], [p - files for p in places if p >= files]


def _rows(
    chunks: Sequence[Chunk], places: Iterable[int], columns: list[str]
) -> Iterator[dict[str, Any]]:
    """The rows at these positions (ascending) over all chunks; reads one row group at a time."""
    starts = np.cumsum([0, *(chunk.rows for chunk in chunks)])
    index = lambda place: int(np.searchsorted(starts, place, side="right")) - 1  # noqa: E731
    for number, within in groupby(places, key=index):
        chunk = chunks[number]
        rows = read_chunk(chunk, columns)
        # Not `take`: it imports pyarrow's compute functions, a twentieth of a second.
        for place in within:
            at = place - int(starts[number])
            yield {name: rows[name][at].as_py() for name in columns}


def standard_pixels(rows: pa.Table, settings: IngestSettings) -> Pixels:
    """Standard images of rows of :data:`SCHEMA`, (n, size, size); unreadable ones are excluded.

    Holds a few files and all the images in memory.
    """
    # Inside: the decoders, which a call without a check does not need.
    from pulmospark.imaging.image import StandardImage, image_from_bytes  # noqa: PLC0415
    from pulmospark.imaging.read_ahead import fetch_stored_ahead  # noqa: PLC0415

    listed = rows.append_column("problem", pa.nulls(len(rows))).to_pylist()
    read = fetch_stored_ahead([row for row in listed if row["pixels"] is None])
    decoded = (image_from_bytes(data, settings) for _, data in read if isinstance(data, bytes))
    pixels = [image.pixels for image in decoded if isinstance(image, StandardImage)]
    size = settings.size
    known = b"".join(row["pixels"] for row in listed if row["pixels"] is not None)
    return np.concatenate(
        [
            np.array(pixels, np.uint8).reshape(-1, size, size),
            np.frombuffer(known, np.uint8).reshape(-1, size, size),
        ]
    )
