"""Images of a split: their places in the images table, and reading them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pulmospark.chunks.parquet_files import Place, open_unchanging, whole_place
from pulmospark.core.arrays import Ints, Pixels
from pulmospark.core.errors import InputError
from pulmospark.data.cohort.table import Part, in_part, read_cohort
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.prefetch import prefetched
from pulmospark.store.uri import StoreUri

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Batch:
    """Some images.

    Attributes:
        pixels: uint8 (n, size, size), grey.
        labels: int64 (n,), index into the experiment's classes.
        keys: n unique names of the images, independent of their location.
    """

    pixels: Pixels
    labels: Ints
    keys: list[str]


@dataclass(frozen=True)
class Piece:
    """The images of a split in one row group.

    Attributes:
        path: of the Parquet file, or its address.
        group: number of the row group.
        rows: int64 (n,), places within the row group, rising.
        images: int64 (n,), places of the same images within the listing.
        group_rows: of the whole row group.
    """

    path: Place
    group: int
    rows: Ints
    images: Ints
    group_rows: int


@dataclass(frozen=True)
class Listing:
    """The images of a split, in the order of their paths, and the places of their pixels.

    Attributes:
        size: side of the standard image, pixels.
        labels: int64 (n,).
        keys: n ids of the images.
        pieces: in the order of the files' names; each image is in one.
    """

    size: int
    labels: Ints
    keys: pa.ChunkedArray
    pieces: tuple[Piece, ...]

    @property
    def image_bytes(self) -> int:
        """Bytes of one image's pixels."""
        return self.size * self.size

    def counts(self, classes: int) -> tuple[int, ...]:
        """Images of each class."""
        return tuple(int(n) for n in np.bincount(self.labels, minlength=classes))

    def batch(self, images: Ints, pixels: Pixels) -> Batch:
        """A batch of images (n,) of the listing with their pixels (n, h, w)."""
        keys = self.keys.take(pa.array(images)).to_pylist()
        return Batch(pixels, self.labels[images], keys)


def list_images(
    images: Path, cohort: Path, parts: Iterable[Part], classes: tuple[str, ...], *, size: int
) -> list[Listing]:
    """List the images of several splits, reading the table's ``uri`` column once.

    Memory: about 150 bytes per image of the cohort.

    Args:
        images: the images table.
        cohort: folder of the cohort.
        parts: which images.
        classes: names in the order of the labels.
        size: side of the standard image, pixels.

    Raises:
        InputError: the images table lacks images of the cohort.
    """
    rows = read_cohort(cohort)
    groups = list(_groups(images))
    empty = pa.chunked_array([], pa.string())
    uris = pa.chunked_array([c for _, _, u in groups for c in u.chunks], pa.string())
    lists = []
    for part in parts:
        chosen = rows.filter(pa.array(in_part(rows, part)))
        places = pc.index_in(uris, value_set=chosen["uri"]) if len(uris) else empty
        pieces = tuple(_pieces(groups, places))
        if (here := sum(len(piece.images) for piece in pieces)) != chosen.num_rows:
            raise InputError(
                f"{images}: {here} of {chosen.num_rows} images of the cohort are in the images "
                "table: rerun `pulmospark split`"
            )
        labels = pc.index_in(chosen["label"], value_set=pa.array(classes, pa.string()))
        lists.append(
            Listing(size, np.asarray(labels.to_numpy(), np.int64), chosen["image_id"], pieces)
        )
    return lists


def read_piece(piece: Piece, size: int) -> Pixels:
    """The pixels of a piece's images, uint8 (n, size, size), in its order.

    Raises:
        InputError: an image has another size.
    """
    with open_unchanging(whole_place(piece.path)) as file:
        column = file.read_row_group(piece.group, columns=["pixels"])["pixels"]
    blocks = [_block(chunk, size, piece.path) for chunk in column.chunks]
    whole = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    return whole[piece.rows]


def read_pieces(pieces: Sequence[Piece], size: int) -> Iterator[Pixels]:
    """The pixels of each piece, uint8 (n, size, size), as :func:`read_piece`; read ahead.

    Raises:
        InputError: an image has another size.
        ObjectMissingError: a part is gone.
        SourceUnavailableError: the store fails.
    """
    return over_pieces(lambda piece: read_piece(piece, size), pieces, size)


def over_pieces(
    read: Callable[[Piece], Answer], pieces: Sequence[Piece], size: int
) -> Iterator[Answer]:
    """What is read of each piece, in order.

    Where pixels lie in a store, pieces are read ahead in threads; holds at most
    ``limits.STORE_AHEAD_BYTES`` that were not taken yet, or one row group.

    Args:
        read: reads a piece, with its whole row group.
        pieces: what is read.
        size: side of the standard image, pixels.

    Raises:
        ObjectMissingError: a part is gone.
        SourceUnavailableError: the store fails.
    """
    paths = dict.fromkeys(piece.path for piece in pieces)
    if not any(isinstance(whole_place(path), StoreUri) for path in paths):
        yield from map(read, pieces)
        return
    held = ((piece, piece.group_rows * size * size) for piece in pieces)
    for answer in prefetched(read, held):
        if isinstance(answer, ObjectMissingError):
            raise answer
        yield answer


def _groups(images: Path) -> Iterator[tuple[Path, int, pa.ChunkedArray]]:
    """Every row group of a table, with the paths of its images."""
    for path in sorted(images.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield path, group, file.read_row_group(group, columns=["uri"])["uri"]


def _pieces(
    groups: list[tuple[Path, int, pa.ChunkedArray]], places: pa.ChunkedArray
) -> Iterator[Piece]:
    start = 0
    for path, group, uris in groups:
        listed = places.slice(start, len(uris))
        start += len(uris)
        here = np.flatnonzero(pc.is_valid(listed).to_numpy())
        if len(here):
            images = pc.drop_null(listed).to_numpy().astype(np.int64)
            yield Piece(path, group, here, images, len(uris))


def _block(chunk: pa.Array, size: int, path: Place) -> Pixels:
    """A column's values as one array, without copying them."""
    wide = pa.types.is_large_binary(chunk.type)
    _, ends, data = chunk.buffers()
    offsets = np.frombuffer(ends, np.int64 if wide else np.int32)
    offsets = offsets[chunk.offset : chunk.offset + len(chunk) + 1]
    if chunk.null_count or (np.diff(offsets) != size * size).any():
        raise InputError(
            f"{path}: contains images of other than {size} x {size} pixels: rerun `pulmospark "
            "ingest`"
        )
    flat = np.frombuffer(data, np.uint8) if len(chunk) else np.zeros(0, np.uint8)
    return flat[offsets[0] : offsets[-1]].reshape(-1, size, size)
