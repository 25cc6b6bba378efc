"""The service behind all doors: REST, page and batch jobs today, a DICOM node next.

A door gives files; :meth:`Service.predict` has them scored by the one queue and entered into the
one ledger, and returns what they are to be answered.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool

import pulmospark
from pulmospark.config.serve import ServeSettings
from pulmospark.core import serve_limits
from pulmospark.core.arrays import Floats
from pulmospark.core.errors import PulmosparkError, UsageError
from pulmospark.core.hashing import bytes_id
from pulmospark.core.machine import cores
from pulmospark.core.provenance import now_utc
from pulmospark.core.pseudonyms import own_salt
from pulmospark.inference.batch.tasks import Answers
from pulmospark.inference.engine.softmax import softmax
from pulmospark.serve import worklist
from pulmospark.serve.audit_log import AuditLog
from pulmospark.serve.errors import ServiceError
from pulmospark.serve.kept_files import KeptFiles
from pulmospark.serve.ledger import Ledger
from pulmospark.serve.metrics import ServeMetrics
from pulmospark.serve.results import Origin, Result, results_of
from pulmospark.serve.room import Room
from pulmospark.serve.scoring_queue import FileOutcome, ScoringQueue
from pulmospark.serve.served_model import ServedModel, open_model
from pulmospark.serve.uploads import Uploaded

_TRIM_EVERY = 64
"""requests after which the worklist is trimmed"""
_IN_FLIGHT = 2 * serve_limits.SERVE_QUEUE_IMAGES
"""files of one request that wait in the queue at once, so that others come in between"""


@dataclass(frozen=True)
class Wanted:
    """What a request asks for."""

    request: str
    source: str
    """``rest``, ``page``, ``open-inference`` ..."""
    heatmap: bool = False
    store: bool = True
    key: str | None = None
    """``Idempotency-Key``"""


class Service:
    """The service; one for each process and state folder.

    Args:
        settings: of the service.

    Raises:
        PlatformError: no space, no right to write to the state folder, or it is damaged.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.ledger = Ledger(settings.state)
        self.images = KeptFiles(settings.state / "images")
        self.heat = KeptFiles(settings.state / "heat_maps")
        self._sweep()
        salt = own_salt(settings.state / "salt")
        self.metrics = ServeMetrics()
        self.audit = AuditLog(settings.state / "audit")
        self.queue = ScoringQueue(settings.workers or cores(), salt)
        self._model: ServedModel | None = None
        self._problem: PulmosparkError | None = None
        self._opening = threading.Lock()
        self._room = Room()
        self._since_trim = 0
        self.on_open: list[Callable[[], None]] = []
        """called when a model is open"""

    def _sweep(self) -> None:
        """Remove files that were kept for a request which a kill left unanswered."""
        ledger = self.ledger.read()
        for kept, query in (
            (self.images, "SELECT id FROM images"),
            (self.heat, "SELECT id FROM results"),
        ):
            files = set(kept.ids())
            if files:
                kept.drop(files - {row[0] for row in ledger.execute(query)})

    @property
    def model(self) -> ServedModel:
        """The served model.

        Raises:
            ServiceError: 503, it is being opened or could not be.
        """
        if self._model is not None:
            return self._model
        if self._problem is not None:
            raise ServiceError(503, f"the model could not be opened: {self._problem.message}")
        raise ServiceError(503, "the model is being opened", retry_after_s=1)

    @property
    def is_ready(self) -> bool:
        """Whether there is a model that answers."""
        return self._model is not None

    def open_model(self, bundle: Any) -> ServedModel:
        """Open a bundle, and serve it from then on; requests in progress end with the earlier one.

        Raises:
            PulmosparkError: it cannot be opened; the earlier one stays.
        """
        with self._opening:
            try:
                opened = open_model(
                    bundle, self.settings.state / "engines", self.queue.workers, self.settings
                )
            except PulmosparkError as error:
                if self._model is None:
                    self._problem = error
                raise
            self._model, self._problem = opened, None
            self.metrics.serves(opened.facts.name, opened.facts.digest)
            for react in self.on_open:
                react()
            return opened

    async def predict(self, files: AsyncIterator[Uploaded], wanted: Wanted) -> dict[str, Any]:
        """Score files and enter their results; a ``responses.PredictAnswer`` as JSON.

        Args:
            files: of the request, one after the other.
            wanted: what it asks for.

        Raises:
            ServiceError: it cannot be answered.
            PlatformError: the disk is full.
        """
        with self._room.request():
            return await self._predict(files, wanted)

    async def _predict(self, files: AsyncIterator[Uploaded], wanted: Wanted) -> dict[str, Any]:
        model = self.model
        if wanted.heatmap:
            await run_in_threadpool(_check_heat_maps, model)
        begun = time.perf_counter()
        at = now_utc().isoformat(timespec="milliseconds")
        waiting: list[tuple[Uploaded, Future[FileOutcome]]] = []
        digest = hashlib.sha256()
        results: list[Result] = []
        kept: dict[str, int] = {}

        async def take_first() -> None:
            upload, future = waiting.pop(0)
            outcome = await asyncio.wrap_future(future)
            file_id = outcome.file_id or bytes_id(upload.data)
            digest.update(file_id.encode())
            stored = wanted.store and outcome.rejected is None
            origin = Origin(upload.name, wanted.source, at)
            seconds = time.perf_counter() - begun
            results.extend(
                results_of(outcome, model.facts, origin, file_id, seconds=seconds, stored=stored)
            )
            if stored:
                self.images.put(file_id, upload.data)
                kept[file_id] = len(upload.data)

        async for upload in files:
            await self._room.take(len(upload.data))
            future = self._submit(upload, model, wanted)
            self._room.free_when_done(len(upload.data), future)
            waiting.append((upload, future))
            if len(waiting) >= _IN_FLIGHT:
                await take_first()
        while waiting:
            await take_first()
        key = None if wanted.key is None else bytes_id(wanted.key.encode())
        entry = worklist.Entry(
            wanted.request, key, digest.hexdigest(), wanted.source, model.facts.digest, results
        )
        bodies = await self._entered(entry, kept)
        self.metrics.scored(bodies)
        return {
            "request": wanted.request,
            "results": bodies,
            "model": model.facts.named(),
            "not_a_medical_device": pulmospark.NOT_A_MEDICAL_DEVICE,
        }

    def _submit(self, upload: Uploaded, model: ServedModel, wanted: Wanted) -> Future[FileOutcome]:
        if upload.rejected is None:
            return self.queue.submit(upload.data, model, wants_heat=wanted.heatmap)
        done: Future[FileOutcome] = Future()
        done.set_result(FileOutcome((), upload.rejected))
        return done

    async def _entered(self, entry: worklist.Entry, kept: dict[str, int]) -> list[Any]:
        for result in entry.results:
            if result.heat is not None and kept:
                self.heat.put(result.id, result.heat.png)
        try:
            await asyncio.wrap_future(
                self.ledger.write(lambda connection: worklist.enter(connection, entry, kept))
            )
        except worklist.RepeatedKeyError:
            return self.earlier(entry)
        self._since_trim += 1
        if self._since_trim >= _TRIM_EVERY:
            self._since_trim = 0
            await self.trim()
        return [result.body for result in entry.results]

    def earlier(self, entry: worklist.Entry) -> list[Any]:
        """The results of an earlier request with the same key.

        Raises:
            ServiceError: 422, that one sent something else.
        """
        assert entry.key is not None
        before = worklist.earlier(self.ledger.read(), entry.key)
        if before is None or before[1] != entry.content:
            raise ServiceError(
                422, "Idempotency-Key: was sent with other files before: choose a new one"
            )
        return before[2]

    async def trim(self) -> None:
        """Remove the oldest results and images beyond what is kept."""
        settings = self.settings
        removed = await asyncio.wrap_future(
            self.ledger.write(
                lambda connection: worklist.trim(
                    connection, settings.results_kept, settings.stored_bytes
                )
            )
        )
        self.drop(removed)

    def tensors(self, model: ServedModel, answers: Answers) -> dict[str, Floats]:
        """Outputs of the network by name, (n, ...), as the Open Inference Protocol has them."""
        if not np.isfinite(answers.logits).all():
            raise ServiceError(500, "the network's logits are not finite: the bundle is unusable")
        outputs = {
            "probabilities": softmax(answers.logits, model.scorer.temperature),
            "logits": answers.logits,
        }
        if answers.distances is not None:
            outputs["distances"] = answers.distances
        return outputs

    async def enter_tensors(self, request: str, model: ServedModel, images: int) -> None:
        """Enter a request of tensors in the ledger; it has no results."""
        entry = worklist.Entry(request, None, "", "open-inference", model.facts.digest, (), images)
        await asyncio.wrap_future(
            self.ledger.write(lambda connection: worklist.enter(connection, entry, {}))
        )

    def drop(self, removed: worklist.Removed) -> None:
        """Remove the files of what left the worklist."""
        self.images.drop(removed.images)
        self.heat.drop(removed.results)

    def close(self) -> None:
        """Answer what waits, and close the ledger."""
        self.queue.close()
        self.ledger.close()
        self.audit.close()


def _check_heat_maps(model: ServedModel) -> None:
    """Refuse a request for heat maps that the network does not have."""
    try:
        model.heat_maps.open(0)
    except UsageError as error:
        raise ServiceError(501, f"no heat maps: {error.message}") from error
