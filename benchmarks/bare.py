"""The bare loops: the same work in two plain processes, without Spark; nothing is kept."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import pyarrow.parquet as pq
import simplejpeg

from benchmarks.common import PROCESSES
from pulmospark.chunks import Chunk, read_chunk, write_part
from pulmospark.config.ingest import IngestSettings
from pulmospark.data.ingest.ingest import IngestWork
from pulmospark.data.ingest.pixels import pixels_of
from pulmospark.imaging.decode import Decoded, decode
from pulmospark.imaging.image import StandardImage, read_image
from pulmospark.imaging.standardise import standardise
from pulmospark.inference.engine.open_engine import open_engine
from pulmospark.inference.engine.spec import EngineSpec

Item = TypeVar("Item")
_FILES_AT_ONCE = 64
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextlib.contextmanager
def pool() -> Iterator[Pool]:
    """Fresh Python processes with one thread each, as Spark's workers have."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        made = multiprocessing.get_context("spawn").Pool(PROCESSES)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    with made:
        yield made


def count(workers: Pool, work: Callable[[Item], int], items: Sequence[Item], at_once: int) -> int:
    """Do ``work`` on all items, each process taking ``at_once`` when it is free."""
    return sum(workers.imap_unordered(work, items, chunksize=at_once))


def run_files(workers: Pool, work: Callable[[str], int], paths: Sequence[str]) -> int:
    """A work on files, ``_FILES_AT_ONCE`` at a time."""
    return count(workers, work, paths, _FILES_AT_ONCE)


def lean_pixels(path: str, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The least that gives the standard image of a grey JPEG: scaled decoding, one resize.

    Gives what :func:`pulmospark.imaging.standardise.standardise` gives wherever the scaled
    side is a whole number of pixels, up to a third above ``size``: 1024 to 224, say.
    """
    return lean_decoded(Path(path).read_bytes(), size)


def lean_decoded(data: bytes, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """See :func:`lean_pixels`."""
    grey = simplejpeg.decode_jpeg(data, "GRAY", min_height=size, min_width=size, strict=True)
    small: np.ndarray[Any, np.dtype[np.uint8]] = cv2.resize(
        grey[:, :, 0], (size, size), interpolation=cv2.INTER_LINEAR
    )
    return small


def lean(path: str, size: int) -> int:
    """Scaled decoding and one resize."""
    return int(lean_pixels(path, size).shape == (size, size))


def careful(path: str, size: int) -> int:
    """As pulmospark decodes: header, limits and damage are looked at."""
    found = decode(Path(path).read_bytes(), at_least=size)
    if not isinstance(found, Decoded):
        return 0
    return int(standardise(found.grey, size, "stretch", found.extent).shape == (size, size))


def whole(path: str, size: int) -> int:
    """All that pulmospark does with a file: with its SHA-256, perceptual hash and view."""
    return int(isinstance(read_image(path, IngestSettings(size=size)), StandardImage))


def written(chunk: Chunk, size: int, folder: str) -> int:
    """What a Spark task of ingest does with its chunk, the written part with it."""
    with pq.ParquetFile(chunk.path) as file:
        rows = file.read_row_group(chunk.row_group)
    made = IngestWork(IngestSettings(size=size))(rows)
    for name, table in made.items():
        if table.num_rows:
            write_part(table, Path(folder) / f"{name}-{chunk.row_group}.parquet")
    return chunk.rows


def written_rows(chunk: Chunk, size: int, folder: str) -> int:
    """The same for some rows of a list of files."""
    made = IngestWork(IngestSettings(size=size))(read_chunk(chunk))
    for name, table in made.items():
        if table.num_rows:
            write_part(table, Path(folder) / f"{name}-{chunk.row_group}-{chunk.first}.parquet")
    return chunk.rows


def file_works(size: int) -> dict[str, Callable[[str], int]]:
    """The bare loops over files, the leanest first."""
    return {
        "bare: decode and resize": partial(lean, size=size),
        "bare: decode with checks, and resize": partial(careful, size=size),
        "bare: whole image (hashes and view, too)": partial(whole, size=size),
    }


def features(chunk: Chunk, spec: EngineSpec) -> int:
    """The engine on a row group of an images table."""
    with pq.ParquetFile(chunk.path) as file:
        rows = file.read_row_group(chunk.row_group, columns=["pixels"])
    found = open_engine(spec).run(pixels_of(rows["pixels"], spec.size)).features
    return 0 if found is None else len(found)
