"""Standard images of a run by their id, each read from its row group alone."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pulmospark.chunks.parts import parts_of
from pulmospark.core.arrays import Pixels
from pulmospark.data.ingest.pixels import square


class RunImages:
    """An images table to look images up in.

    Args:
        images: the table. Only its ids are held, 64 bytes for each.
    """

    def __init__(self, images: Path) -> None:
        self._groups: list[tuple[Path, int]] = []
        self._starts: list[int] = []
        ids: list[pa.Array] = []
        rows = 0
        for part in parts_of(images):
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    column = file.read_row_group(group, columns=["image_id"])["image_id"]
                    self._groups.append((part, group))
                    self._starts.append(rows)
                    rows += len(column)
                    ids.extend(column.chunks)
        self._ids = pa.chunked_array(ids, pa.string())

    def pixels(self, image_id: str) -> Pixels | None:
        """uint8 (size, size); ``None``: the table lacks the image.

        Raises:
            InputError: the image's pixels make no square.
        """
        row = pc.index(self._ids, pa.scalar(image_id)).as_py()
        if row < 0:
            return None
        place = bisect_right(self._starts, row) - 1
        part, group = self._groups[place]
        with pq.ParquetFile(part) as file:
            column = file.read_row_group(group, columns=["pixels"])["pixels"]
        return square(column[row - self._starts[place]], part)
