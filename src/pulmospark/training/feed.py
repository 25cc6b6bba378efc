"""Feed: from the images table to arrays, without the JVM and without a copy on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from pulmospark.data.cohort import Part, in_part, read_cohort

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Films:
    """Standard images and their classes.

    Attributes:
        pixels: uint8 (n, size, size), grey.
        labels: int64 (n,), index into the experiment's classes.
    """

    pixels: Pixels
    labels: Labels


def load_films(
    images: Path,
    cohort: Path,
    part: Part,
    classes: tuple[str, ...],
    *,
    size: int,
    shard: int = 0,
    shards: int = 1,
) -> Films:
    """Read one process's share of a part: every ``shards``-th film, from the ``shard``-th on.

    Films are dealt out one by one, in the order of their paths, so that every process has a
    like mixture of classes and sources. Memory: size x size bytes a film of the share.

    Args:
        images: the images table.
        cohort: folder of the cohort.
        part: which films.
        classes: names in the order of the labels.
        size: side of the standard image, pixels.
        shard: which share, from 0.
        shards: how many shares.
    """
    rows = read_cohort(cohort)
    chosen = rows.filter(in_part(rows, part))
    uris = chosen["uri"].to_pylist()[shard::shards]
    names = chosen["label"].to_pylist()[shard::shards]
    index = {name: number for number, name in enumerate(classes)}
    place = {uri: number for number, uri in enumerate(uris)}
    pixels = np.zeros((len(uris), size, size), dtype=np.uint8)
    found = 0
    for file in sorted(images.glob("*.parquet")):
        with pq.ParquetFile(file) as parquet:
            for group in range(parquet.num_row_groups):
                wanted = parquet.read_row_group(group, columns=["uri"])["uri"].to_pylist()
                here = [(row, place[uri]) for row, uri in enumerate(wanted) if uri in place]
                if not here:
                    continue
                column = parquet.read_row_group(group, columns=["pixels"])["pixels"]
                for row, target in here:
                    flat = np.frombuffer(column[row].as_buffer(), dtype=np.uint8)
                    pixels[target] = flat.reshape(size, size)
                found += len(here)
    if found != len(uris):
        raise ValueError(f"{found} of {len(uris)} films of the cohort are in the images table")
    return Films(pixels, np.asarray([index[name] for name in names], dtype=np.int64))
