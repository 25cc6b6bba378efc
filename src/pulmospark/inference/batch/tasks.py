"""The executors' part of a prediction: from images, or rows of an images table, to predictions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa

from pulmospark.chunks.carried import Carry
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import hashing, limits, schemas
from pulmospark.core.arrays import Floats, Pixels, Singles
from pulmospark.core.errors import InputError
from pulmospark.core.prefetch import ahead
from pulmospark.core.pseudonyms import Salt
from pulmospark.core.schemas import RejectReason
from pulmospark.data.ingest.pixels import pixels_of
from pulmospark.data.ingest.rows import facts_row, reject_row, rejects_of
from pulmospark.imaging.placement import Fit
from pulmospark.imaging.read_ahead import Fetched, begun, fetch, fetch_ahead
from pulmospark.imaging.rejection import Rejected
from pulmospark.inference.batch.cautions import NO_CHECKS, PHANTOM_DETAIL, Checks
from pulmospark.inference.batch.inputs import FACT_COLUMNS, IMAGE_COLUMNS
from pulmospark.inference.engine.softmax import softmax
from pulmospark.inference.engine.spec import Engine, EngineSpec
from pulmospark.inference.explain.files import COLUMNS as HEAT_COLUMNS
from pulmospark.inference.explain.files import HeatFiles
from pulmospark.inference.explain.prepare import open_maps
from pulmospark.inference.explain.seen import Seen, seen, seen_row
from pulmospark.spark.task_cores import task_cores
from pulmospark.store.uri import is_store_uri

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
    heat: HeatFiles | None = None
    """writes the heat maps of scored images; ``None``: they were not requested"""

    def carried(self, carry: Carry) -> Scorer:
        """The same scorer, with its files where workers find them."""
        heat, checks = self.heat, self.checks
        if heat is not None:
            heat = replace(heat, maps=replace(heat.maps, engine=heat.maps.engine.carried(carry)))
        if checks.distances is not None:
            checks = replace(checks, distances=carry(checks.distances))
        return replace(self, engine=self.engine.carried(carry), heat=heat, checks=checks)

    def key(self) -> list[str]:
        """What the predictions depend on."""
        heat = [] if self.heat is None else self.heat.key()
        return [self.model_id, self.engine.engine_id, *heat]

    @property
    def at_once(self) -> int:
        """A good batch size for this engine, images."""
        return limits.SCORING_BATCH if self.engine.kind == "openvino" else limits.SCORING_BATCH_GPU

    def run(self, pixels: Pixels, engine: Engine | None = None) -> Answers:
        """Run the network on standard images (n, size, size).

        Args:
            pixels: of the images.
            engine: opened from ``self.engine``; ``None``: the one that this process shares.
        """
        # Inside, as all that only workers need: the driver sends this class, and no more.
        from pulmospark.inference.engine.open_engine import open_engine  # noqa: PLC0415

        logits, features = (engine or open_engine(self.engine, task_cores())).run(pixels)
        if logits is None:
            raise ValueError("the engine has no logits output")
        return self._answers(logits, features)

    def score(self, rows: Sequence[dict[str, Any]], images: Sequence[Seen]) -> Answers:
        """Run the network on images, and write their heat maps if they were requested.

        Args:
            rows: of the images; receive the columns of heat maps.
            images: one or more.
        """
        pixels = np.stack([image.pixels for image in images])
        if self.heat is None:
            return self.run(pixels)
        source = open_maps(self.heat.maps, task_cores())
        if self.heat.maps.scores:  # one run gives logits and maps
            output = source.run(pixels)
            answers = self._answers(output.logits, output.features)
        else:
            answers = self.run(pixels)
            output = source.run(pixels, answers.logits.argmax(axis=1))
        ids = [row["image_id"] for row in rows]
        written = self.heat.write(ids, images, output, source.method)
        for row, columns in zip(rows, written, strict=True):
            row.update(columns)
        return answers

    def _answers(self, logits: Singles, features: Singles | None) -> Answers:
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
                **{name: row.get(name) for name in (*HEAT_COLUMNS, "size_bytes", "modified_ns")},
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
    seen: list[Seen] = field(default_factory=list)
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

    def carried(self, carry: Carry) -> Self:
        """See :class:`pulmospark.chunks.carried.Carrying`."""
        return replace(self, scorer=self.scorer.carried(carry))

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
        return self.work_on(chunk, self._fetched(chunk))

    def prefetch(self, chunk: pa.Table) -> Iterator[Fetched]:
        """Begin to read files; returns when the first group is there."""
        return begun(self._fetched(chunk))

    def work_on(self, chunk: pa.Table, fetched: Iterator[Fetched]) -> Mapping[str, pa.Table]:
        """As a call, from files that are being read."""
        del chunk
        images: list[dict[str, Any]] = []
        rejects: list[dict[str, Any]] = []
        answers: list[Answers] = []
        for batch in self._decoded(fetched):
            rejects += batch.rejects
            if batch.images:
                images += batch.images
                answers.append(self.scorer.score(batch.images, batch.seen))
        tables = {"rejects": pa.Table.from_pylist(rejects, schema=schemas.REJECTS)}
        if images:
            tables["predictions"] = self.scorer.predictions(images, Answers.joined(answers))
        return tables

    @property
    def _takes_turns(self) -> bool:
        """Network and decoder share a core: taking turns, they do not evict each other's cache."""
        return self.scorer.engine.kind == "openvino" and task_cores() == 1

    def _fetched(self, chunk: pa.Table) -> Iterator[Fetched]:
        rows = chunk.to_pylist()
        stored = any(is_store_uri(row["uri"]) for row in rows)
        if self._takes_turns or stored:
            return fetch_ahead(rows, self.inbox)
        return fetch(rows, self.inbox)

    def _decoded(self, fetched: Iterator[Fetched]) -> Iterator[_Batch]:
        batches = self._batches(fetched)
        return batches if self._takes_turns else ahead(batches, limits.SCORING_BATCHES_AHEAD)

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
        # Inside: the decoders; see `Scorer.run`.
        from pulmospark.imaging.image import images_from_bytes  # noqa: PLC0415

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
        batch.seen += [seen(image) for image in decoded]


@dataclass(frozen=True)
class ImagesWork:
    """Rows of an images table to predictions."""

    scorer: Scorer
    size: int
    """side of the bundle's standard image, pixels"""
    fit: Fit = "stretch"
    """how the images were made square"""
    cropped: bool = False
    """the images were cropped before"""
    columns: Sequence[str] = (*IMAGE_COLUMNS, *FACT_COLUMNS)

    def carried(self, carry: Carry) -> Self:
        """See :class:`pulmospark.chunks.carried.Carrying`."""
        return replace(self, scorer=self.scorer.carried(carry))

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
        rows = chunk.drop_columns(["pixels"]).to_pylist()
        if not rows:
            return {}
        answers = []
        for at in range(0, len(rows), step):
            batch = rows[at : at + step]
            images = [
                seen_row(row, pixels, self.fit, cropped=self.cropped)
                for row, pixels in zip(
                    batch, pixels_of(column.slice(at, step), self.size), strict=True
                )
            ]
            answers.append(self.scorer.score(batch, images))
        return {"predictions": self.scorer.predictions(rows, Answers.joined(answers))}
