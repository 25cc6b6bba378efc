"""A sample of the images to be scored, evenly spaced over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, Protocol

import numpy as np

from pulmospark.chunks.work_list import Chunk, read_chunk
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits, machine
from pulmospark.core.arrays import Pixels
from pulmospark.core.hashing import bytes_id, value_id


class Sample(Protocol):
    """Images that a precision is checked on."""

    @property
    def content_id(self) -> str:
        """SHA-256 that changes with the images."""
        ...

    def pixels(self) -> Pixels:
        """(n, size, size); unreadable images are excluded."""
        ...


@dataclass(frozen=True)
class GivenSample:
    """Standard images that are already in memory."""

    images: Pixels

    @property
    def content_id(self) -> str:
        """Of the pixels."""
        return bytes_id(self.images.tobytes())

    def pixels(self) -> Pixels:
        """The images, (n, size, size)."""
        return self.images


@dataclass(frozen=True)
class ListedSample:
    """Images of a manifest and of images tables, read on demand.

    Reads on this machine, with all its cores. Holds in memory the sample, one image per core, and
    one row group.

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

    def pixels(self) -> Pixels:
        """See :class:`Sample`."""
        files, rows = self._places()
        listed = _rows(self.manifest, files, ["uri", "problem"])
        uris = [row["uri"] for row in listed if not row["problem"]]
        pixels = read_pixels(uris, self.settings)
        size = self.settings.size
        pixels += [
            row["pixels"]
            for row in _rows(self.images, rows, ["pixels"])
            if row["pixels"] is not None and len(row["pixels"]) == size**2
        ]
        return np.frombuffer(b"".join(pixels), np.uint8).reshape(-1, size, size)

    def _places(self) -> tuple[list[int], list[int]]:
        """Positions of the images in the manifest and in the images tables, evenly spaced."""
        files, rows = (
            sum(chunk.rows for chunk in chunks) for chunks in (self.manifest, self.images)
        )
        count = min(self.count, files + rows)
        places = np.unique(np.linspace(0, files + rows - 1, count).round()).astype(int).tolist()
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
        yield from rows.take([place - int(starts[number]) for place in within]).to_pylist()


def read_pixels(uris: Sequence[str], settings: IngestSettings) -> list[bytes]:
    """Standard images of files, read on all cores; files that are not images are excluded."""
    # Inside: the decoders, which a call without a check does not need.
    from pulmospark.imaging.image import StandardImage, read_image  # noqa: PLC0415

    read = partial(read_image, settings=settings)
    with ThreadPoolExecutor(machine.cores(), thread_name_prefix="sample") as pool:
        return [
            image.pixels.tobytes()
            for image in pool.map(read, uris)
            if isinstance(image, StandardImage)
        ]
