"""What executors do to predict: films, or rows of an images table, to predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pulmospark.core import content, tables
from pulmospark.core.errors import InputError
from pulmospark.core.pseudonyms import Salt
from pulmospark.core.settings import IngestSettings
from pulmospark.core.tables import View
from pulmospark.data.rows import image_row, reject_row
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.film import read_films
from pulmospark.scoring.engine import EngineSpec, open_engine
from pulmospark.scoring.predict_inputs import IMAGE_COLUMNS

Floats = npt.NDArray[np.float64]

CAUTIONS = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("view", pa.string(), nullable=False),  # a View that is no frontal one
    ]
)
"""One row a film that was scored though it seems to be none of the kind the model knows."""

_COPIED = ("image_id", "uri", "source", "patient_id", "scan_id")
_ODD_VIEWS = frozenset({View.LATERAL.value, View.AXIAL.value})


def softmax(logits: Floats, temperature: float) -> Floats:
    """Probabilities softmax(logits / T), (n, k); finite for logits of any size.

    As ``evaluation.calibration.apply_temperature``, without the seconds that a worker would
    spend on importing SciPy.
    """
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Scorer:
    """A bundle's network with all that turns its logits into predictions; plain values."""

    engine: EngineSpec
    classes: tuple[str, ...]
    temperature: float
    model_id: str
    predicted_at: datetime

    def key(self) -> list[str]:
        """What the predictions depend on."""
        return [self.model_id, self.engine.engine_id]

    def tables(
        self, rows: Sequence[Mapping[str, Any]], pixels: npt.NDArray[np.uint8]
    ) -> dict[str, pa.Table]:
        """Rows of ``predictions`` and of ``cautions``.

        Args:
            rows: ``image_id``, ``uri``, ``source``, ``patient_id``, ``scan_id``, ``finding`` and
                ``view`` of each film.
            pixels: (n, size, size) of the films.

        Raises:
            InputError: the network gives something that is no number.
        """
        if not rows:
            return {}
        found = open_engine(self.engine).run(pixels).logits
        if found is None:
            raise ValueError("the engine gives no logits")
        logits = found.astype(np.float64)
        if not (finite := np.isfinite(logits).all(axis=1)).all():
            uri = rows[int(np.argmin(finite))]["uri"]
            raise InputError(f"{uri}: the network gives no finite logits: the bundle is of no use")
        chances = softmax(logits, self.temperature)
        names = [self.classes[place] for place in chances.argmax(axis=1)]
        known = {name.casefold(): name for name in self.classes}
        predictions = [
            {
                **{name: row[name] for name in _COPIED},
                "label": known.get((row["finding"] or "").casefold()),
                "prediction": name,
                "probability": chance,
                "logits": logit,
                "model_id": self.model_id,
                "predicted_at": self.predicted_at,
            }
            for row, name, chance, logit in zip(
                rows, names, chances.tolist(), logits.tolist(), strict=True
            )
        ]
        odd = [row for row in rows if row["view"] in _ODD_VIEWS]
        return {
            "predictions": pa.Table.from_pylist(predictions, schema=tables.PREDICTIONS),
            "cautions": pa.Table.from_pylist(odd, schema=CAUTIONS),
        }


@dataclass(frozen=True)
class FilesWork:
    """Files of a chunk of the manifest to predictions, or rejects."""

    scorer: Scorer
    settings: IngestSettings
    """of the bundle's standard image"""
    salt: Salt | None = None
    """what patient numbers of DICOM headers are hashed with; ``None``: they are left out"""
    columns: Sequence[str] | None = None

    def key(self, chunk: pa.Table) -> str:
        """The network and the chunk's rows, which hold each file's size and time."""
        return content.value_id(
            [
                "files",
                *self.scorer.key(),
                self.settings.ct_window,
                self.salt.fingerprint if self.salt else None,
                chunk.to_pylist(),
            ]
        )

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``predictions``, ``cautions`` and ``rejects``."""
        films: list[dict[str, Any]] = []
        pixels: list[bytes] = []
        rejects: list[dict[str, Any]] = []
        for row in chunk.to_pylist():
            if row["problem"]:
                rejects.append(reject_row(row, None, row["problem"], "found while listing"))
                continue
            found = read_films(row["uri"], self.settings, self.salt)
            if isinstance(found, Rejected):
                rejects.append(reject_row(row, found.image_id, found.reason, found.detail))
                continue
            films += [image_row(row, film) for film in found]
            pixels += [film.pixels for film in found]
        return {
            **self.scorer.tables(films, _stacked(pixels, self.settings.size)),
            "rejects": pa.Table.from_pylist(rejects, schema=tables.REJECTS),
        }


@dataclass(frozen=True)
class ImagesWork:
    """Rows of an images table to predictions."""

    scorer: Scorer
    size: int
    """side of the bundle's standard image, pixels"""
    columns: Sequence[str] = IMAGE_COLUMNS

    def key(self, chunk: pa.Table) -> str:
        """The network and the rows with their pixels."""
        rows = chunk.drop_columns(["pixels"]).to_pylist()
        pixels = content.bytes_id(b"".join(flat or b"" for flat in chunk["pixels"].to_pylist()))
        return content.value_id(["images", *self.scorer.key(), rows, pixels])

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``predictions`` and ``cautions``."""
        pixels = chunk["pixels"].to_pylist()
        for flat in pixels:
            if flat is None or len(flat) != self.size**2:
                side = f"{len(flat or b'') ** 0.5:.0f}"
                raise InputError(
                    f"the images table has films of {side} x {side} pixels, and the bundle takes "
                    f"{self.size} x {self.size}: give the files themselves, or ingest them with "
                    f"--set ingest.size={self.size}"
                )
        rows = chunk.drop_columns(["pixels"]).to_pylist()
        return self.scorer.tables(rows, _stacked(pixels, self.size))


def _stacked(pixels: Sequence[bytes], size: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(pixels), np.uint8).reshape(-1, size, size)
