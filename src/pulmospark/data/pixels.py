"""Pixels of a few films of an images table, read without the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from pulmospark.spark.chunks import parts_of


def pixels_of_some(images: Path, uris: set[str]) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Path and pixels of the given films; reads only row groups that contain one.

    Args:
        images: the images table.
        uris: of the films.

    Yields:
        ``uri``, and uint8 (size, size).
    """
    for part in parts_of(images):
        with pq.ParquetFile(part) as file:
            for group in range(file.num_row_groups):
                names = file.read_row_group(group, columns=["uri"])["uri"].to_pylist()
                here = [index for index, uri in enumerate(names) if uri in uris]
                if not here:
                    continue
                column = file.read_row_group(group, columns=["pixels"])["pixels"]
                for index in here:
                    flat = np.frombuffer(column[index].as_buffer(), dtype=np.uint8)
                    side = int(flat.size**0.5)
                    yield names[index], flat.reshape(side, side)
