"""The functions that Spark sends to its Python workers.

They close over frozen dataclasses of plain values, never over an estimator or a model; each
worker opens its engine at the first image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from pulmospark.core.arrays import Floats, Pixels, Reals, Singles
from pulmospark.inference.batch.cautions import NO_CHECKS, Checks
from pulmospark.inference.engine.open_engine import open_engine
from pulmospark.inference.engine.softmax import softmax
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.ml.image_reader import ImageReader, ImagesRead

BLOCK_IMAGES = 64
"""images per engine run: 3 MB at 224 x 224"""

SCORED = (
    "raw array<double>, probability array<double>, prediction double, cautions array<string>, "
    "distance double"
)
"""output of :func:`scorer` per row; all null where there is no image"""

_SCORED_COLUMNS = ["raw", "probability", "prediction", "cautions", "distance"]


class OnColumns(Protocol):
    """A function of batches of columns, for an iterator pandas UDF."""

    def __call__(self, batches: Iterator[tuple[pd.Series[Any], ...]], /) -> Iterator[Any]:
        """The result of each batch, with rows in the same order."""
        ...


@dataclass(frozen=True)
class LinearHead:
    """A linear layer with a temperature; plain tuples, because it is serialised.

    Attributes:
        weights: (classes, width).
        bias: (classes,).
        temperature: logits are divided by it.
    """

    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]
    temperature: float = 1.0

    def scores(self, features: Reals) -> Floats:
        """Logits over the temperature, (n, classes), of features (n, width)."""
        logits = features.astype(np.float64) @ np.asarray(self.weights).T + np.asarray(self.bias)
        return np.asarray(logits / self.temperature)


def standardiser(reader: ImageReader) -> OnColumns:
    """Cells to standard images: bytes of size x size uint8, null where there is no image."""

    def standardised(batches: Iterator[tuple[pd.Series, ...]]) -> Iterator[pd.Series]:
        for batch in batches:
            images: list[bytes | None] = [None] * len(batch[0])
            for read in _blocks(reader, batch):
                for place, image in zip(read.places, read.pixels, strict=True):
                    images[place] = image.tobytes()
            yield pd.Series(images, dtype=object)

    return standardised


def featurizer(reader: ImageReader, engine: EngineSpec) -> OnColumns:
    """Cells to deep features: float32 (width,), null where there is no image."""

    def featurized(batches: Iterator[tuple[pd.Series, ...]]) -> Iterator[pd.Series]:
        for batch in batches:
            rows: list[Singles | None] = [None] * len(batch[0])
            for read in _blocks(reader, batch):
                for place, row in zip(read.places, _features(engine, read.pixels), strict=True):
                    rows[place] = row
            yield pd.Series(rows, dtype=object)

    return featurized


def scorer(
    reader: ImageReader, engine: EngineSpec, head: LinearHead, checks: Checks = NO_CHECKS
) -> OnColumns:
    """Cells to raw scores, probabilities, the index of the most probable class, and cautions."""

    def scored(batches: Iterator[tuple[pd.Series, ...]]) -> Iterator[pd.DataFrame]:
        for batch in batches:
            rows: list[tuple[Any, ...]] = [(None,) * len(_SCORED_COLUMNS)] * len(batch[0])
            for read in _blocks(reader, batch):
                features = _features(engine, read.pixels)
                raw = head.scores(features)
                best = raw.argmax(axis=1).astype(float)
                distance = checks.opened()
                distances: Sequence[float | None] = [None] * len(raw)
                if distance is not None:
                    distances = distance.of(features).tolist()
                cautions = [
                    checks.cautions(facts, value)
                    for facts, value in zip(read.facts, distances, strict=True)
                ]
                results = zip(raw, softmax(raw), best, cautions, distances, strict=True)
                for place, row in zip(read.places, results, strict=True):
                    rows[place] = row
            yield pd.DataFrame(rows, columns=_SCORED_COLUMNS)

    return scored


def head_scorer(head: LinearHead) -> Callable[[Iterator[pd.Series]], Iterator[pd.Series]]:
    """Deep features (arrays) to raw scores."""

    # Spark passes a single column directly, not as a tuple.
    def scored(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        for features in batches:
            rows = list(head.scores(np.stack(list(features)))) if len(features) else []
            yield pd.Series(rows, dtype=object)

    return scored


def _blocks(reader: ImageReader, columns: Sequence[Iterable[Any]]) -> Iterator[ImagesRead]:
    """The rows that are images, in blocks; their places refer to all rows."""
    cells = list(zip(*columns, strict=True))
    for start in range(0, len(cells), BLOCK_IMAGES):
        read = reader.read(cells[start : start + BLOCK_IMAGES])
        if read.places:
            yield read._replace(places=[start + place for place in read.places])


def _features(engine: EngineSpec, pixels: Pixels) -> Singles:
    features = open_engine(engine).run(pixels).features
    if features is None:
        raise ValueError("the engine returns no features")
    return features
