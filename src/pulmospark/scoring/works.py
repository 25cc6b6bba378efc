"""What executors do with a chunk: features, scores and predictions."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pulmospark.core import content, tables
from pulmospark.core.tables import Split
from pulmospark.data.cohort import Part, in_part, read_cohort
from pulmospark.scoring.engine import EngineSpec, open_engine

Array = npt.NDArray[np.float64]


def pixels_of(chunk: pa.Table, size: int) -> npt.NDArray[np.uint8]:
    """The ``pixels`` column as one array, uint8 (n, size, size)."""
    column = chunk["pixels"].combine_chunks()
    flat = np.concatenate([np.frombuffer(x.as_buffer(), np.uint8) for x in column])
    return flat.reshape(-1, size, size)


def _lists(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1), kind))


@dataclass(frozen=True)
class FeatureWork:
    """Images to deep features of a frozen network."""

    engine: EngineSpec
    size: int
    columns: Sequence[str] = ("image_id", "uri", "pixels")

    def key(self, chunk: pa.Table) -> str:
        """The network and the images."""
        return content.value_id([self.engine.engine_id, _pixels_id(chunk), *_ids(chunk)])

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``features``."""
        _, features = open_engine(self.engine).run(pixels_of(chunk, self.size))
        if features is None:
            raise ValueError("the engine gives no features")
        return {
            "features": pa.table(
                [chunk["image_id"], chunk["uri"], _lists(features, pa.float32())],
                schema=tables.FEATURES,
            )
        }


@dataclass(frozen=True)
class HeadWork:
    """Deep features to the logits of several heads.

    Attributes:
        heads: name, weights (classes x width) and bias of each; plain tuples, for they travel.
    """

    heads: tuple[tuple[str, tuple[tuple[float, ...], ...], tuple[float, ...]], ...]
    columns: Sequence[str] = ("image_id", "uri", "features")

    def key(self, chunk: pa.Table) -> str:
        """The heads and the images."""
        return content.value_id([_heads_id(self.heads), *_ids(chunk)])

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``scores``, one a film and head."""
        flat = chunk["features"].combine_chunks().flatten().to_numpy()
        features = flat.reshape(chunk.num_rows, -1).astype(np.float64)
        made = []
        for name, weights, bias in self.heads:
            logits = features @ np.asarray(weights).T + np.asarray(bias)
            made.append(_scores(chunk, name, logits))
        return {"scores": pa.concat_tables(made)}


@dataclass(frozen=True)
class ScoreWork:
    """Images to the logits of one network, for the films that a fold tests or validates on.

    Attributes:
        engine: the network.
        size: side of the images, pixels.
        model: its name in the scores table.
        cohort: folder of the cohort.
        cohort_id: of the cohort; a worker that has read another from the folder reads it anew.
        fold: whose films.
        columns: of the images table that are read.
    """

    engine: EngineSpec
    size: int
    model: str
    cohort: str
    cohort_id: str
    fold: int | None
    columns: Sequence[str] = ("image_id", "uri", "pixels")

    def key(self, chunk: pa.Table) -> str:
        """The network, the cohort's rows of interest and the images."""
        mask = self._wanted(chunk)
        seen = [_pixels_id(chunk), *_ids(chunk)]
        return content.value_id(
            [self.engine.engine_id, self.model, mask.astype(int).tolist(), *seen]
        )

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``scores``."""
        chunk = chunk.filter(pa.array(self._wanted(chunk)))
        if not chunk.num_rows:
            return {}
        logits, _ = open_engine(self.engine).run(pixels_of(chunk, self.size))
        if logits is None:
            raise ValueError("the engine gives no logits")
        return {"scores": _scores(chunk, self.model, logits.astype(np.float64))}

    def _wanted(self, chunk: pa.Table) -> npt.NDArray[np.bool_]:
        wanted = _scored_uris(self.cohort, self.cohort_id, self.fold)
        return np.asarray([uri in wanted for uri in chunk["uri"].to_pylist()], dtype=np.bool_)


@functools.lru_cache(maxsize=2)
def _scored_uris(cohort: str, cohort_id: str, fold: int | None) -> frozenset[str]:
    del cohort_id  # it only tells the cohorts apart that lay in one folder
    rows = read_cohort(Path(cohort))
    mask = in_part(rows, Part(Split.VALIDATION, fold)) | in_part(rows, Part(Split.TEST, fold))
    return frozenset(rows.filter(pa.array(mask))["uri"].to_pylist())


@functools.lru_cache(maxsize=2)
def _heads_id(heads: Any) -> str:
    return content.value_id(heads)


def _ids(chunk: pa.Table) -> list[list[str]]:
    return [chunk["image_id"].to_pylist(), chunk["uri"].to_pylist()]


def _pixels_id(chunk: pa.Table) -> str:
    """The same file gives other pixels where the ingest's settings are others."""
    digest = hashlib.sha256()
    for film in chunk["pixels"]:
        digest.update(film.as_buffer())
    return digest.hexdigest()


def _scores(chunk: pa.Table, model: str, logits: Array) -> pa.Table:
    return pa.table(
        [
            chunk["image_id"],
            chunk["uri"],
            pa.array([model] * chunk.num_rows, pa.string()),
            _lists(logits, pa.float64()),
        ],
        schema=tables.SCORES,
    )
