"""The executors' work on candidate pairs of near copies: overlay their thumbnails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from pulmospark.chunks.carried import Carry
from pulmospark.core import hashing, schemas
from pulmospark.core.arrays import Pixels
from pulmospark.data.duplicates.alignment import overlay_correlation
from pulmospark.data.duplicates.fingerprints import SMALL_SIDE
from pulmospark.store.folders import file_here


@dataclass(frozen=True)
class OverlayWork:
    """From candidate pairs to the correlation of their overlaid images.

    Attributes:
        small: file of the thumbnails, in the order of ``uri``.
        small_id: of the file's content.
        distance: bits up to which pairs are compared; those further apart are skipped.
    """

    small: str
    small_id: str
    distance: int
    columns: Sequence[str] | None = None

    def carried(self, carry: Carry) -> OverlayWork:
        """See :class:`pulmospark.chunks.carried.Carrying`."""
        return replace(self, small=carry(self.small))

    def key(self, chunk: pa.Table) -> str:
        """The pictures and the pairs."""
        return hashing.value_id(["overlay", self.small_id, self.distance, chunk.to_pydict()])

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``copies``."""
        chunk = chunk.filter(pa.array(chunk["distance"].to_numpy() <= self.distance))
        pairs = zip(chunk["first"].to_pylist(), chunk["second"].to_pylist(), strict=True)
        with file_here(self.small).open("rb") as small:
            correlations = [
                overlay_correlation(_picture(small, first), _picture(small, second))
                for first, second in pairs
            ]
        rows = chunk.append_column("correlation", pa.array(correlations, pa.float32()))
        return {"copies": rows.select(schemas.COPIES.names).cast(schemas.COPIES)}


def _picture(small: BinaryIO, image: int) -> Pixels:
    # Read, not mapped: what was mapped counts as the worker's memory, and it reads all over.
    size = SMALL_SIDE * SMALL_SIDE
    small.seek(image * size)
    return np.frombuffer(small.read(size), np.uint8).reshape(SMALL_SIDE, SMALL_SIDE)
