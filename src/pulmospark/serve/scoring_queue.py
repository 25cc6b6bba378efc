"""One queue of files for all doors, and the threads that decode and score them in batches.

A worker takes what waits, decodes it and runs the network, as a task of batch scoring does on its
core: with the same reader, engine and arithmetic, so that the numbers are the same to the last
digit. It never waits for a batch to fill: a single image starts at once, and under load the queue
fills the batches by itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pulmospark.core import serve_limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.pseudonyms import Salt
from pulmospark.core.schemas import Modality, RejectReason, View
from pulmospark.data.ingest.rows import facts_row
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.image import StandardImage, images_from_bytes
from pulmospark.inference.batch.cautions import PHANTOM_DETAIL
from pulmospark.inference.batch.tasks import Answers
from pulmospark.layouts.base import ManifestRow
from pulmospark.serve.heat_maps import HeatMapFile
from pulmospark.serve.served_model import ServedModel

_ROW = asdict(
    ManifestRow(
        uri="upload",
        source="upload",
        patient_id=None,
        study_id=None,
        scan_id=None,
        slice_index=None,
        finding=None,
        view=View.UNKNOWN,
        modality=Modality.UNKNOWN,
        age=None,
        sex=None,
        mask_uri=None,
        published_split=None,
        size_bytes=0,
        modified_ns=0,
        problem=None,
    )
)
"""what a listing would know of an upload: nothing"""


@dataclass(frozen=True, eq=False)
class ScoredImage:
    """One image of a file with its prediction."""

    facts: dict[str, Any]
    """columns of ``data.ingest.rows.facts_row``"""
    prediction: dict[str, Any]
    """a row of ``core.schemas.PREDICTIONS``"""
    heat: HeatMapFile | None


@dataclass(frozen=True, eq=False)
class FileOutcome:
    """A file's images, or the reason why there is none."""

    images: Sequence[ScoredImage]
    rejected: Rejected | None

    @property
    def file_id(self) -> str | None:
        """SHA-256 of the file's bytes, where scoring has taken it; ``None``: it has not."""
        if self.rejected is not None:
            return self.rejected.image_id
        facts = self.images[0].facts
        # A frame's id is not its file's.
        return None if facts["frame"] is not None else str(facts["image_id"])


@dataclass(eq=False)
class _File:
    data: bytes
    model: ServedModel
    wants_heat: bool
    outcome: Future[FileOutcome] = field(default_factory=Future)
    images: list[StandardImage] = field(default_factory=list)


@dataclass(eq=False)
class _Tensor:
    pixels: Pixels
    model: ServedModel
    outcome: Future[Answers] = field(default_factory=Future)


class ScoringQueue:
    """Files that wait, and the threads that score them.

    Args:
        workers: number of threads; each model has as many engines.
        salt: what identifiers of DICOM headers are hashed with.
    """

    def __init__(self, workers: int, salt: Salt) -> None:
        self._salt = salt
        self._waiting: deque[_File | _Tensor] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self.workers = workers
        self._threads = [
            threading.Thread(target=self._work, args=(place,), name=f"score-{place}", daemon=True)
            for place in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, data: bytes, model: ServedModel, *, wants_heat: bool = False
    ) -> Future[FileOutcome]:
        """Have a file decoded and scored.

        Args:
            data: the file's bytes.
            model: that scores it, whatever is served when its turn comes.
            wants_heat: make a heat map of each image as well.
        """
        waiting = _File(data, model, wants_heat)
        self._add(waiting)
        return waiting.outcome

    def submit_pixels(self, pixels: Pixels, model: ServedModel) -> Future[Answers]:
        """Have standard images, (n, size, size), run through a model's network."""
        waiting = _Tensor(pixels, model)
        self._add(waiting)
        return waiting.outcome

    def _add(self, waiting: _File | _Tensor) -> None:
        with self._changed:
            if self._is_closed:
                waiting.outcome.cancel()
                return
            self._waiting.append(waiting)
            self._changed.notify()

    def __len__(self) -> int:
        """Files that no worker has taken yet."""
        return len(self._waiting)

    def close(self) -> None:
        """Score what waits, and end the threads."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self, place: int) -> None:
        while (first := self._take()) is not None:
            batch: list[_File | _Tensor] = [first]
            try:
                if isinstance(first, _Tensor):
                    engine = first.model.engines[place]
                    first.outcome.set_result(first.model.scorer.run(first.pixels, engine))
                else:
                    _answer(self._decoded_batch(first, batch), first.model, place)
            except BaseException as error:  # noqa: BLE001 - for those who wait; the thread lives
                for waiting in batch:
                    if not waiting.outcome.done():
                        waiting.outcome.set_exception(error)

    def _take(self) -> _File | _Tensor | None:
        """What waits longest; ``None``: the queue is closed."""
        with self._changed:
            while not self._waiting:
                if self._is_closed:
                    return None
                self._changed.wait()
            return self._waiting.popleft()

    def _take_more(self, model: ServedModel) -> _File | None:
        """The next file of the same model, if one waits."""
        with self._changed:
            if not self._waiting or self._waiting[0].model is not model:
                return None
            if isinstance(self._waiting[0], _Tensor):
                return None
            more = self._waiting.popleft()
            assert isinstance(more, _File)
            return more

    def _decoded_batch(self, first: _File, batch: list[_File | _Tensor]) -> list[_File]:
        """Decode a file, and those that have come meanwhile; rejects are answered at once."""
        decoded_files: list[_File] = []
        images = 0
        file: _File | None = first
        while file is not None:
            decoded = _decoded(file.data, file.model, self._salt)
            if isinstance(decoded, Rejected):
                file.outcome.set_result(FileOutcome((), decoded))
            else:
                file.images = decoded
                images += len(decoded)
                decoded_files.append(file)
            if images >= serve_limits.SERVE_QUEUE_IMAGES:
                break
            file = self._take_more(first.model)
            if file is not None:
                batch.append(file)
        return decoded_files


def _answer(files: Sequence[_File], model: ServedModel, place: int) -> None:
    """Score decoded files."""
    images = [image for file in files for image in file.images]
    if not images:
        return
    step, engine = model.scorer.at_once, model.engines[place]
    answers = Answers.joined(
        [
            model.scorer.run(np.stack([image.pixels for image in images[at : at + step]]), engine)
            for at in range(0, len(images), step)
        ]
    )
    facts = [facts_row(_ROW, image) for image in images]
    rows = model.scorer.predictions(facts, answers).to_pylist()
    at = 0
    for file in files:
        scored = [
            ScoredImage(
                facts[number],
                rows[number],
                model.heat_maps.of(place, image) if file.wants_heat else None,
            )
            for number, image in enumerate(file.images, at)
        ]
        at += len(scored)
        file.outcome.set_result(FileOutcome(scored, None))


def _decoded(data: bytes, model: ServedModel, salt: Salt) -> list[StandardImage] | Rejected:
    decoded = images_from_bytes(data, model.reading, salt)
    if isinstance(decoded, Rejected) or not model.phantoms_only:
        return decoded
    if all(image.phantom for image in decoded):
        return decoded
    return Rejected(RejectReason.NOT_A_PHANTOM, PHANTOM_DETAIL, decoded[0].image_id)
