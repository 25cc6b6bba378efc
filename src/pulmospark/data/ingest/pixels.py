"""Pixels of an images table: of a chunk, of a row, or of a few images without the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pulmospark.chunks.parquet_files import open_whole
from pulmospark.chunks.parts import parts_of
from pulmospark.core.arrays import Pixels
from pulmospark.core.errors import InputError


def pixels_of_some(images: Path, uris: set[str]) -> Iterator[tuple[str, Pixels]]:
    """Path and pixels of the images asked for; only row groups that hold one are read.

    Args:
        images: the images table.
        uris: of the images.

    Yields:
        ``uri``, and uint8 (size, size).
    """
    for part in parts_of(images):
        with open_whole(part) as file:
            for group in range(file.num_row_groups):
                names = file.read_row_group(group, columns=["uri"])["uri"].to_pylist()
                here = [index for index, uri in enumerate(names) if uri in uris]
                if not here:
                    continue
                column = file.read_row_group(group, columns=["pixels"])["pixels"]
                for index in here:
                    yield names[index], square(column[index], part)


def square(cell: pa.Scalar, part: object) -> Pixels:
    """The image of a row of the column ``pixels``, uint8 (side, side), without copying it.

    Args:
        cell: the row's value.
        part: file that it is of, for the message.

    Raises:
        InputError: its pixels make no square.
    """
    flat = np.frombuffer(cell.as_buffer(), np.uint8)
    side = math.isqrt(flat.size)
    if not side or side * side != flat.size:
        raise InputError(
            f"{part}: an image has {flat.size} pixels, which is not a square number: run "
            "`pulmospark ingest` again"
        )
    return flat.reshape(side, side)


def pixels_of(column: pa.ChunkedArray, size: int) -> Pixels:
    """The images of a column ``pixels`` as one array, uint8 (n, size, size).

    Raises:
        InputError: an image has another size.
    """
    buffers = [cell.as_buffer() for cell in column]
    for buffer in buffers:
        if buffer is None or buffer.size != size**2:
            side = f"{(buffer.size if buffer is not None else 0) ** 0.5:.0f}"
            raise InputError(
                f"the images table has images of {side} x {side} pixels, and the bundle takes "
                f"{size} x {size}: give the files themselves, or ingest them with "
                f"--set ingest.size={size}"
            )
    return np.frombuffer(b"".join(buffers), np.uint8).reshape(-1, size, size)
