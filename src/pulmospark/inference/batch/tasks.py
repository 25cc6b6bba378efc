"""The executors' part of a prediction: from images, or rows of an images table, to predictions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pulmospark.config.ingest import IngestSettings
from pulmospark.core import hashing, limits, schemas
from pulmospark.core.arrays import Floats, Pixels
from pulmospark.core.errors import InputError
from pulmospark.core.prefetch import ahead
from pulmospark.core.pseudonyms import Salt
from pulmospark.core.schemas import RejectReason
from pulmospark.data.ingest.pixels import pixels_of
from pulmospark.data.ingest.rows import facts_row, reject_row, rejects_of
from pulmospark.imaging.rejection import Rejected
from pulmospark.inference.batch.cautions import NO_CHECKS, PHANTOM_DETAIL, Checks
from pulmospark.inference.batch.inputs import FACT_COLUMNS, IMAGE_COLUMNS
from pulmospark.inference.batch.read_ahead import Fetched, fetch, fetch_ahead
from pulmospark.inference.engine.softmax import softmax
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.spark.task_cores import task_cores

_COPIED = ("image_id", "uri", "source", "patient_id", "scan_id")


class Answers(NamedTuple):
    """A network's output for images, float64."""

    logits: Floats
    """(n, classes), before the temperature"""
    distances: Floats | None
    """(n,) from the training images; ``None``: not assessable"""

    @classmethod
    def joined(cls, batches: Sequence[Answers]) -> Answers:
        """Concatenate the answers of batches, in order."""
        distances = [batch.distances for batch in batches if batch.distances is not None]
        return cls(
            np.concatenate([batch.logits for batch in batches]),
            np.concatenate(distances) if distances else None,
        )


@dataclass(frozen=True)
class Scorer:
    """A bundle's network with what turns its logits into predictions; plain values."""

    engine: EngineSpec
    classes: tuple[str, ...]
    temperature: float
    model_id: str
    predicted_at: datetime
    checks: Checks = NO_CHECKS

    def key(self) -> list[str]:
        """What the predictions depend on."""
        return [self.model_id, self.engine.engine_id]

    @property
    def at_once(self) -> int:
        """A good batch size for this engine, images."""
        return limits.SCORING_BATCH if self.engine.kind == "openvino" else limits.SCORING_BATCH_GPU

    def run(self, pixels: Pixels) -> Answers:
        """Run the network on standard images (n, size, size)."""
        # Inside, as all that only workers need: the driver sends this class, and no more.
        from pulmospark.inference.engine.open_engine import open_engine  # noqa: PLC0415

        logits, features = open_engine(self.engine, task_cores()).run(pixels)
        if logits is None:
            raise ValueError("the engine has no logits output")
        distance = self.checks.opened()
        if distance is None or features is None:
            return Answers(logits.astype(np.float64), None)
        return Answers(logits.astype(np.float64), distance.of(features))

    def predictions(self, rows: Sequence[Mapping[str, Any]], answers: Answers) -> pa.Table:
        """Rows of ``predictions``.

        Args:
            rows: ``image_id``, ``uri``, ``source``, ``patient_id``, ``scan_id`` and ``finding`` of
                each image, and the keys that :meth:`Checks.cautions` takes.
            answers: of the network for these images.

        Raises:
            InputError: a logit is not finite.
        """
        logits = answers.logits
        if not (finite := np.isfinite(logits).all(axis=1)).all():
            uri = rows[int(np.argmin(finite))]["uri"]
            raise InputError(f"{uri}: the network's logits are not finite: the bundle is unusable")
        probabilities = softmax(logits, self.temperature)
        names = [self.classes[place] for place in probabilities.argmax(axis=1)]
        known = {name.casefold(): name for name in self.classes}
        distances = [None] * len(rows) if answers.distances is None else answers.distances.tolist()
        predictions = [
            {
                **{name: row[name] for name in _COPIED},
                "label": known.get((row["finding"] or "").casefold()),
                "prediction": name,
                "probability": probability,
                "logits": logit,
                "cautions": self.checks.cautions(row, distance),
                "distance": distance,
                "model_id": self.model_id,
                "predicted_at": self.predicted_at,
            }
            for row, name, probability, logit, distance in zip(
                rows, names, probabilities.tolist(), logits.tolist(), distances, strict=True
            )
        ]
        return pa.Table.from_pylist(predictions, schema=schemas.PREDICTIONS)


@dataclass
class _Batch:
    """Images of one network run, with the rejects among them."""

    images: list[dict[str, Any]] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)
    rejects: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class FilesWork:
    """Files of a chunk of the manifest to predictions, or rejects."""

    scorer: Scorer
    settings: IngestSettings
    """of the bundle's standard image"""
    salt: Salt | None = None
    """used to hash patient numbers of DICOM headers; ``None``: they are omitted"""
    inbox: str | None = None
    """folder from which files may disappear at any time; ``None``: an archive"""
    phantoms_only: bool = False
    """reject images that are not phantoms"""
    columns: Sequence[str] | None = None

    def rejects(self, rows: pa.Table, detail: str) -> Mapping[str, pa.Table]:
        """Rows of ``rejects``, for files that crash the worker reading them."""
        return rejects_of(rows, RejectReason.ENDED_ITS_WORKER, detail)

    def key(self, chunk: pa.Table) -> str:
        """Hash of the network and the chunk's rows, which include each file's size and time."""
        return hashing.value_id(
            [
                "files",
                *self.scorer.key(),
                self.settings.model_dump(mode="json", exclude={"salt_path"}),
                self.phantoms_only,
                self.salt.fingerprint if self.salt else None,
                chunk.to_pylist(),
            ]
        )

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``predictions`` and ``rejects``.

        Holds in memory a few batches of standard images, whatever the size of the chunk, and the
        bytes of a group of files (``limits.FETCH_BYTES``) or of one file.
        """
        images: list[dict[str, Any]] = []
        rejects: list[dict[str, Any]] = []
        answers: list[Answers] = []
        for batch in self._decoded(chunk.to_pylist()):
            rejects += batch.rejects
            if batch.images:
                images += batch.images
                answers.append(self.scorer.run(np.stack(batch.pixels)))
        tables = {"rejects": pa.Table.from_pylist(rejects, schema=schemas.REJECTS)}
        if images:
            tables["predictions"] = self.scorer.predictions(images, Answers.joined(answers))
        return tables

    def _decoded(self, rows: list[dict[str, Any]]) -> Iterator[_Batch]:
        if self.scorer.engine.kind == "openvino" and task_cores() == 1:
            # Network and decoder share a core: taking turns, they do not evict each other's cache.
            return self._batches(fetch_ahead(rows, self.inbox))
        return ahead(self._batches(fetch(rows, self.inbox)), limits.SCORING_BATCHES_AHEAD)

    def _batches(self, files: Iterable[Fetched]) -> Iterator[_Batch]:
        batch = _Batch()
        for row, data in files:
            self._add(row, data, batch)
            if len(batch.images) >= self.scorer.at_once:
                yield batch
                batch = _Batch()
        yield batch

    def _add(self, row: dict[str, Any], data: bytes | Rejected | None, batch: _Batch) -> None:
        if data is None:
            batch.rejects.append(reject_row(row, None, row["problem"], "found while listing"))
            return
        from pulmospark.imaging.image import images_from_bytes  # noqa: PLC0415 - see Scorer.run

        decoded = (
            data
            if isinstance(data, Rejected)
            else images_from_bytes(data, self.settings, self.salt)
        )
        if isinstance(decoded, Rejected):
            batch.rejects.append(reject_row(row, decoded.image_id, decoded.reason, decoded.detail))
            return
        if self.phantoms_only and not all(image.phantom for image in decoded):
            reason = RejectReason.NOT_A_PHANTOM
            batch.rejects.append(reject_row(row, decoded[0].image_id, reason, PHANTOM_DETAIL))
            return
        batch.images += [facts_row(row, image) for image in decoded]
        batch.pixels += [image.pixels for image in decoded]


@dataclass(frozen=True)
class ImagesWork:
    """Rows of an images table to predictions."""

    scorer: Scorer
    size: int
    """side of the bundle's standard image, pixels"""
    columns: Sequence[str] = (*IMAGE_COLUMNS, *FACT_COLUMNS)

    def key(self, chunk: pa.Table) -> str:
        """Hash of the network and the rows with their pixels."""
        rows = chunk.drop_columns(["pixels"]).to_pylist()
        digest = hashlib.sha256()
        for flat in chunk["pixels"]:
            digest.update(flat.as_buffer() or b"")
        return hashing.value_id(["images", *self.scorer.key(), rows, digest.hexdigest()])

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``predictions``; copies one batch of pixels at a time."""
        step = self.scorer.at_once
        column = chunk["pixels"]
        answers = [
            self.scorer.run(pixels_of(column.slice(at, step), self.size))
            for at in range(0, chunk.num_rows, step)
        ]
        rows = chunk.drop_columns(["pixels"]).to_pylist()
        if not rows:
            return {}
        return {"predictions": self.scorer.predictions(rows, Answers.joined(answers))}
