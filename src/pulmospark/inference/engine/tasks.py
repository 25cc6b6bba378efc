"""The executors' work on a chunk: features, scores and predictions."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pulmospark.chunks.carried import Carry
from pulmospark.chunks.parts import read_part
from pulmospark.core import hashing, schemas
from pulmospark.core.arrays import Floats, Hashes, Mask
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import Part, in_part, read_cohort
from pulmospark.data.ingest.pixels import pixels_of
from pulmospark.inference.engine.open_engine import open_engine
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.store.folders import file_here


def _lists(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1), kind))


@dataclass(frozen=True)
class FeatureWork:
    """Images to deep features of a frozen network."""

    engine: EngineSpec
    size: int
    columns: Sequence[str] = ("image_id", "uri", "pixels")

    def carried(self, carry: Carry) -> Self:
        """See :class:`pulmospark.chunks.carried.Carrying`."""
        return replace(self, engine=self.engine.carried(carry))

    def key(self, chunk: pa.Table) -> str:
        """Hash of the network and the images."""
        return hashing.value_id([self.engine.engine_id, _pixels_id(chunk), *_ids(chunk)])

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``features``."""
        _, features = open_engine(self.engine).run(pixels_of(chunk["pixels"], self.size))
        if features is None:
            raise ValueError("the engine has no features output")
        return {
            "features": pa.table(
                [chunk["image_id"], chunk["uri"], _lists(features, pa.float32())],
                schema=schemas.FEATURES,
            )
        }


@dataclass(frozen=True)
class ChosenFeatureWork(FeatureWork):
    """Deep features of selected images; the others of a chunk are skipped."""

    chosen: str = ""
    """Parquet file with the column ``uri``"""
    chosen_id: str = ""

    def carried(self, carry: Carry) -> Self:
        """See :class:`pulmospark.chunks.carried.Carrying`."""
        return replace(super().carried(carry), chosen=carry(self.chosen))

    def key(self, chunk: pa.Table) -> str:
        """The network, the images and the selection."""
        return hashing.value_id([super().key(chunk), self.chosen_id])

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``features``."""
        rows = chunk.filter(pc.is_in(chunk["uri"], _chosen(self.chosen, self.chosen_id)))
        return super().__call__(rows) if rows.num_rows else {}


@functools.lru_cache(maxsize=2)
def _chosen(path: str, _chosen_id: str) -> pa.Array:
    return read_part(file_here(path), ["uri"])["uri"].combine_chunks()


@dataclass(frozen=True)
class HeadWork:
    """Deep features to the logits of several heads.

    Attributes:
        heads: name, weights (classes x width) and bias of each; plain tuples, since they are sent
            to the workers.
    """

    heads: tuple[tuple[str, tuple[tuple[float, ...], ...], tuple[float, ...]], ...]
    columns: Sequence[str] = ("image_id", "uri", "features")

    def key(self, chunk: pa.Table) -> str:
        """Hash of the heads and the images."""
        return hashing.value_id([_heads_id(self.heads), *_ids(chunk)])

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``scores``, one per image and head."""
        flat = chunk["features"].combine_chunks().flatten().to_numpy()
        features = flat.reshape(chunk.num_rows, -1).astype(np.float64)
        tables = []
        for name, weights, bias in self.heads:
            logits = features @ np.asarray(weights).T + np.asarray(bias)
            tables.append(_scores(chunk, name, logits))
        return {"scores": pa.concat_tables(tables)}


@dataclass(frozen=True)
class ScoreWork:
    """Images to the logits of one network, for a fold's test and validation images.

    Attributes:
        engine: the network.
        size: side of the images, pixels.
        model: its name in the scores table.
        scored: file with the fold's images, from :func:`write_scored`; memory-mapped, since a
            set of all names would grow with the archive.
        cohort_id: of the cohort; part of the cache key of the opened file.
        columns: read from the images table.
    """

    engine: EngineSpec
    size: int
    model: str
    scored: str
    cohort_id: str
    columns: Sequence[str] = ("image_id", "uri", "pixels")

    def carried(self, carry: Carry) -> ScoreWork:
        """See :class:`pulmospark.chunks.carried.Carrying`."""
        return replace(self, engine=self.engine.carried(carry), scored=carry(self.scored))

    def key(self, chunk: pa.Table) -> str:
        """Hash of the network, the fold's images and the chunk's images."""
        mask = self._wanted(chunk)
        seen = [_pixels_id(chunk), *_ids(chunk)]
        return hashing.value_id(
            [self.engine.engine_id, self.model, mask.astype(int).tolist(), *seen]
        )

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``scores``."""
        chunk = chunk.filter(pa.array(self._wanted(chunk)))
        if not chunk.num_rows:
            return {}
        logits, _ = open_engine(self.engine).run(pixels_of(chunk["pixels"], self.size))
        if logits is None:
            raise ValueError("the engine has no logits output")
        return {"scores": _scores(chunk, self.model, logits.astype(np.float64))}

    def _wanted(self, chunk: pa.Table) -> Mask:
        scored = open_scored(self.scored, self.cohort_id)
        hashed = hashed_uris(chunk["uri"])
        places = np.searchsorted(scored, hashed)
        return np.asarray(scored[np.minimum(places, len(scored) - 1)] == hashed, dtype=np.bool_)


def write_scored(cohort: Path, fold: int | None, target: Path) -> None:
    """Write the hashes of a fold's test and validation images: uint64 (n,), ascending, a .npy.

    Among ten million images, two share a hash in one of 370,000 cohorts; an extra image is scored
    then.
    """
    rows = read_cohort(cohort)
    mask = in_part(rows, Part(Split.VALIDATION, fold)) | in_part(rows, Part(Split.TEST, fold))
    hashed = np.unique(hashed_uris(rows.filter(pa.array(mask))["uri"]))
    # Without images, a hash that matches none saves a special case.
    np.save(target, hashed if len(hashed) else np.zeros(1, np.uint64))


def hashed_uris(uris: pa.ChunkedArray) -> Hashes:
    """A hash of each path, uint64 (n,), never 0."""
    digests = (hashlib.blake2b(uri.encode(), digest_size=8).digest() for uri in uris.to_pylist())
    return np.maximum(np.frombuffer(b"".join(digests), np.uint64), np.uint64(1))


@functools.lru_cache(maxsize=2)
def open_scored(path: str, cohort_id: str) -> Hashes:
    """The file from :func:`write_scored`, (n,), memory-mapped."""
    del cohort_id  # distinguishes cohorts whose files have the same name
    hashes: Hashes = np.load(file_here(path), mmap_mode="r")
    return hashes


@functools.lru_cache(maxsize=2)
def _heads_id(heads: Any) -> str:
    return hashing.value_id(heads)


def _ids(chunk: pa.Table) -> list[list[str]]:
    return [chunk["image_id"].to_pylist(), chunk["uri"].to_pylist()]


def _pixels_id(chunk: pa.Table) -> str:
    """The same file has other pixels under other ingest settings."""
    digest = hashlib.sha256()
    for image in chunk["pixels"]:
        digest.update(image.as_buffer())
    return digest.hexdigest()


def _scores(chunk: pa.Table, model: str, logits: Floats) -> pa.Table:
    return pa.table(
        [
            chunk["image_id"],
            chunk["uri"],
            pa.array([model] * chunk.num_rows, pa.string()),
            _lists(logits, pa.float64()),
        ],
        schema=schemas.SCORES,
    )
