"""What executors do to predict: films, or rows of an images table, to predictions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pulmospark.core import content, limits, tables
from pulmospark.core.errors import InputError
from pulmospark.core.pseudonyms import Salt
from pulmospark.core.settings import IngestSettings
from pulmospark.core.tables import RejectReason, View
from pulmospark.data.rows import film_row, reject_row, rejects_of
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.film import films_from_bytes
from pulmospark.scoring.ahead import ahead
from pulmospark.scoring.engine import EngineSpec, open_engine
from pulmospark.scoring.fetch import Fetched, fetch, fetch_ahead
from pulmospark.scoring.predict_inputs import IMAGE_COLUMNS
from pulmospark.scoring.softmax import Floats, softmax
from pulmospark.spark.task import task_cores

CAUTIONS = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),  # absolute path (and #frame-<n>)
        pa.field("image_id", pa.string(), nullable=False),  # of the film's row in predictions
        pa.field("view", pa.string(), nullable=False),  # a View that is no frontal one
    ]
)
"""One row a film that was scored though it seems to be none of the kind the model knows."""

_COPIED = ("image_id", "uri", "source", "patient_id", "scan_id")
_ODD_VIEWS = frozenset({View.LATERAL.value, View.AXIAL.value})


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

    @property
    def at_once(self) -> int:
        """Films that are well handed over together."""
        return limits.SCORING_BATCH if self.engine.kind == "openvino" else limits.SCORING_BATCH_GPU

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
        return self.answers(rows, self.logits(pixels)) if rows else {}

    def logits(self, pixels: npt.NDArray[np.uint8]) -> Floats:
        """(n, classes), before the temperature, of standard images (n, size, size)."""
        found = open_engine(self.engine, task_cores()).run(pixels).logits
        if found is None:
            raise ValueError("the engine gives no logits")
        return found.astype(np.float64)

    def answers(self, rows: Sequence[Mapping[str, Any]], logits: Floats) -> dict[str, pa.Table]:
        """What :meth:`tables` gives, from logits that were calculated before.

        Raises:
            InputError: a logit is no number.
        """
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


@dataclass
class _Batch:
    """Films that the network runs on at once, and what was rejected among them."""

    films: list[dict[str, Any]] = field(default_factory=list)
    pixels: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    rejects: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class FilesWork:
    """Files of a chunk of the manifest to predictions, or rejects."""

    scorer: Scorer
    settings: IngestSettings
    """of the bundle's standard image"""
    salt: Salt | None = None
    """what patient numbers of DICOM headers are hashed with; ``None``: they are left out"""
    inbox: str | None = None
    """folder from which files may be taken away at any time; ``None``: an archive"""
    columns: Sequence[str] | None = None

    def rejects(self, rows: pa.Table, detail: str) -> Mapping[str, pa.Table]:
        """Rows of ``rejects``, of files that end the worker which reads them."""
        return rejects_of(rows, RejectReason.ENDED_ITS_WORKER, detail)

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
        """Rows of ``predictions``, ``cautions`` and ``rejects``.

        Memory holds a few batches of standard images, whatever the size of the chunk, and the
        bytes of a group of files (``limits.FETCH_BYTES``) or of one.
        """
        films: list[dict[str, Any]] = []
        rejects: list[dict[str, Any]] = []
        logits: list[Floats] = []
        for batch in self._decoded(chunk.to_pylist()):
            rejects += batch.rejects
            if batch.films:
                films += batch.films
                logits.append(self.scorer.logits(np.stack(batch.pixels)))
        answers = self.scorer.answers(films, np.concatenate(logits)) if films else {}
        return {**answers, "rejects": pa.Table.from_pylist(rejects, schema=tables.REJECTS)}

    def _decoded(self, rows: list[dict[str, Any]]) -> Iterator[_Batch]:
        if self.scorer.engine.kind == "openvino" and task_cores() == 1:
            # Network and decoder share the core: in turns they leave each other the cache.
            return self._batches(fetch_ahead(rows, self.inbox))
        return ahead(self._batches(fetch(rows, self.inbox)), limits.SCORING_BATCHES_AHEAD)

    def _batches(self, files: Iterable[Fetched]) -> Iterator[_Batch]:
        batch = _Batch()
        for row, data in files:
            self._add(row, data, batch)
            if len(batch.films) >= self.scorer.at_once:
                yield batch
                batch = _Batch()
        yield batch

    def _add(self, row: dict[str, Any], data: bytes | Rejected | None, batch: _Batch) -> None:
        if data is None:
            batch.rejects.append(reject_row(row, None, row["problem"], "found while listing"))
            return
        found = (
            data
            if isinstance(data, Rejected)
            else films_from_bytes(data, self.settings, self.salt)
        )
        if isinstance(found, Rejected):
            batch.rejects.append(reject_row(row, found.image_id, found.reason, found.detail))
            return
        batch.films += [film_row(row, film) for film in found]
        batch.pixels += [film.pixels for film in found]


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
        digest = hashlib.sha256()
        for flat in chunk["pixels"]:
            digest.update(flat.as_buffer() or b"")
        return content.value_id(["images", *self.scorer.key(), rows, digest.hexdigest()])

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``predictions`` and ``cautions``; a batch of pixels is copied at a time."""
        step = self.scorer.at_once
        column = chunk["pixels"]
        logits = [
            self.scorer.logits(self._pixels(column.slice(at, step)))
            for at in range(0, chunk.num_rows, step)
        ]
        rows = chunk.drop_columns(["pixels"]).to_pylist()
        return self.scorer.answers(rows, np.concatenate(logits)) if rows else {}

    def _pixels(self, column: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
        films = [flat.as_buffer() for flat in column]
        for film in films:
            if film is None or film.size != self.size**2:
                side = f"{(film.size if film is not None else 0) ** 0.5:.0f}"
                raise InputError(
                    f"the images table has films of {side} x {side} pixels, and the bundle takes "
                    f"{self.size} x {self.size}: give the files themselves, or ingest them with "
                    f"--set ingest.size={self.size}"
                )
        return np.frombuffer(b"".join(films), np.uint8).reshape(-1, self.size, self.size)
