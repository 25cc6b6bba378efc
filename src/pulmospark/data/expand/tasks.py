"""Expansion on the executors: from a row group of the plan to rows with pixels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from pulmospark.augment.augmenter import AUGMENT_VERSION, Augmenter
from pulmospark.augment.operations import Operation, to_json
from pulmospark.chunks.carried import Carry
from pulmospark.chunks.parquet_files import Place, open_whole, place_of
from pulmospark.chunks.parts import parts_of
from pulmospark.config.augment import AugmentSettings
from pulmospark.core import hashing, schemas
from pulmospark.core.arrays import Pixels
from pulmospark.data.ingest.pixels import square
from pulmospark.store.light_parts import whole_of
from pulmospark.store.uri import StoreUri


@dataclass(frozen=True)
class ExpandWork:
    """Makes the rows that a chunk of the plan lists.

    Attributes:
        images: folder of the images table, or its address.
        settings: of the augmentation.
        seed: of the expansion.
        columns: of the plan; all.
    """

    images: str
    settings: AugmentSettings
    seed: int
    columns: Sequence[str] | None = None

    def carried(self, carry: Carry) -> ExpandWork:
        """The same work, reading pixels where light parts say that they are.

        Args:
            carry: not used: the parts are in the store.
        """
        del carry
        wholes = map(whole_of, parts_of(Path(self.images)))
        folders = {str(whole.parent) for whole in wholes if isinstance(whole, StoreUri)}
        return replace(self, images=folders.pop() if len(folders) == 1 else self.images)

    def key(self, chunk: pa.Table) -> str:
        """The settings, each source image with its place and its file's time, and the draws."""
        settings = self.settings.model_dump(mode="json")
        draws = chunk["draw"].to_numpy()
        # Draws of one image are consecutive: its first row in the chunk stands for all.
        first = np.flatnonzero(np.diff(draws, prepend=-2) != 1)
        parents = chunk.take(pa.array(first)).to_pydict()
        return hashing.value_id([AUGMENT_VERSION, settings, self.seed, draws.tolist(), parents])

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``expanded``."""
        augmenter = Augmenter(self.settings, self.seed)
        ids, draws = chunk["image_id"].to_pylist(), chunk["draw"].to_pylist()
        done: list[tuple[Operation, ...]] = []
        pixels: Pixels | None = None
        with _one_thread():
            for row, image in enumerate(_parents(place_of(self.images), chunk)):
                if pixels is None:
                    pixels = np.empty((chunk.num_rows, *image.shape), np.uint8)
                if draws[row]:
                    pixels[row], operations = augmenter(image, ids[row], draws[row])
                else:
                    pixels[row], operations = image, ()
                done.append(operations)
        if pixels is None:
            return {}
        return {"expanded": _rows(chunk, pixels, [to_json(operation) for operation in done])}


def child_id(parent_id: str, operations: str) -> str:
    """``image_id`` of an augmented copy: from its image's id and the operations."""
    return hashing.bytes_id(f"{AUGMENT_VERSION}\0{parent_id}\0{operations}".encode())


def _rows(chunk: pa.Table, pixels: Pixels, operations: Sequence[str]) -> pa.Table:
    ids, uris = chunk["image_id"].to_pylist(), chunk["uri"].to_pylist()
    draws = chunk["draw"].to_pylist()
    own: dict[str, Any] = {
        "image_id": [
            child_id(parent, applied) if draw else parent
            for parent, applied, draw in zip(ids, operations, draws, strict=True)
        ],
        "uri": [
            f"{uri}#draw-{draw}" if draw else uri for uri, draw in zip(uris, draws, strict=True)
        ],
        "parent_id": [parent if draw else None for parent, draw in zip(ids, draws, strict=True)],
        "parent_uri": [uri if draw else None for uri, draw in zip(uris, draws, strict=True)],
        "operations": operations,
        "reason": pa.nulls(len(ids), pa.string()),
        "pixels": _binary(pixels),
    }
    columns = [own.get(name, chunk[name] if name not in own else None) for name in _NAMES]
    return pa.table(columns, schema=schemas.EXPANDED)


_NAMES = schemas.EXPANDED.names


def _binary(pixels: Pixels) -> pa.Array:
    """Images as a column, without copying them."""
    size = int(np.prod(pixels.shape[1:]))
    ends = np.arange(len(pixels) + 1, dtype=np.int32) * np.int32(size)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(pixels.reshape(-1))]
    return pa.Array.from_buffers(pa.binary(), len(pixels), buffers)


def _parents(images: Place, chunk: pa.Table) -> Iterator[Pixels]:
    """The source image's pixels (side, side) of each row; each row group is read once."""
    places = zip(*(chunk[name].to_pylist() for name in ("part", "row_group", "row")), strict=True)
    for (part, row_group), stretch in groupby(places, key=lambda place: place[:2]):
        with open_whole(images / part) as file:
            column = file.read_row_group(row_group, columns=["pixels"])["pixels"]
        for _, _, row in stretch:
            yield square(column[row], part)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keep OpenCV from using the cores of the other workers."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
