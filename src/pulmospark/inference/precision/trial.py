"""A trial of engines on a sample: what workers do for a check, and how it is handed to them."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.chunks import chunks_of, read_part, run_chunks
from pulmospark.chunks.executor import Executor
from pulmospark.chunks.local import ThisProcess
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import hashing, limits
from pulmospark.core.arrays import Floats, Pixels
from pulmospark.core.progress import Progress
from pulmospark.inference.engine.openvino_compile import capabilities
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.inference.precision.sample import standard_pixels
from pulmospark.models.bundle.feature_distance import open_distance
from pulmospark.spark.task_cores import task_cores


class EngineAnswers(NamedTuple):
    """What an engine answers to the readable images of a sample."""

    logits: Floats
    """(n, classes), before the temperature"""
    distances: Floats
    """(n,) from the training images; all 0 where they are not assessable"""
    milliseconds: float
    """processor time of an image, median; other work on the machine hardly changes it"""


@dataclass(frozen=True)
class TrialWork:
    """Images of a sample to the answers of engines.

    Attributes:
        engines: to run. Those that this processor cannot run have no answers. The last one stays
            open for the scoring.
        settings: of the standard image.
        distances: file with the statistics of the training images; ``None``: not assessable.
        columns: read from the sample.
    """

    engines: tuple[EngineSpec, ...]
    settings: IngestSettings
    distances: str | None = None
    columns: Sequence[str] | None = None

    def key(self, chunk: pa.Table) -> str:
        """Hash of the engines and the images."""
        digest = hashlib.sha256()
        for pixels in chunk["pixels"]:
            digest.update(pixels.as_buffer() or b"")
        ids = [engine.engine_id for engine in self.engines]
        return hashing.value_id([*ids, chunk["uri"].to_pylist(), digest.hexdigest()])

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """A table of answers for each engine, in the order of the images that can be read."""
        pixels = standard_pixels(chunk, self.settings)
        return {
            spec.engine_id: self._answers(spec, pixels)
            for spec in self.engines
            if len(pixels) and _runs_here(spec)
        }

    def rejects(self, rows: pa.Table, detail: str) -> Mapping[str, pa.Table]:
        """Nothing, for images that end the worker reading them: the scoring will reject them."""
        del rows, detail
        return {}

    def _answers(self, spec: EngineSpec, pixels: Pixels) -> pa.Table:
        # Inside, as all that only workers need.
        from pulmospark.inference.engine.open_engine import (  # noqa: PLC0415
            new_engine,
            open_engine,
        )

        stays = spec == self.engines[-1]
        engine = (open_engine if stays else new_engine)(spec, task_cores())
        distance = None if self.distances is None else open_distance(self.distances)
        step = spec.batch if spec.kind == "openvino" else limits.SCORING_BATCH_GPU
        batches = []
        for batch in np.split(pixels, range(step, len(pixels), step)):
            begun = time.thread_time()
            logits, features = engine.run(batch)
            milliseconds = (time.thread_time() - begun) * 1000 / len(batch)
            if logits is None or (features is None and distance is not None):
                raise ValueError("the engine lacks a required output")
            far = np.zeros(len(batch))
            if distance is not None and features is not None:
                far = distance.of(features)
            batches.append(
                pa.table(
                    {
                        "logits": logits.astype(np.float64).tolist(),
                        "distance": far,
                        "milliseconds": np.full(len(batch), milliseconds),
                    }
                )
            )
        return pa.concat_tables(batches)


def _runs_here(spec: EngineSpec) -> bool:
    return spec.kind == "torch" or spec.precision.upper() in capabilities()


def run_trial(work: TrialWork, sample: pa.Table, executor: Executor) -> dict[str, EngineAnswers]:
    """Run engines on a sample, on all slots of an executor.

    Args:
        work: the engines.
        sample: rows of :data:`pulmospark.inference.precision.sample.SCHEMA`.
        executor: of this machine's workers. With workers elsewhere, whose processors may differ,
            this process does it.

    Returns:
        By ``engine_id``, without engines that this processor cannot run; empty where no image can
        be read.

    Raises:
        PulmosparkError: a worker could not run an engine.
    """
    if not sample.num_rows:
        return {}
    executor = executor if executor.is_here else ThisProcess()
    with tempfile.TemporaryDirectory(prefix="pulmospark-") as name:
        listed = Path(name) / "sample.parquet"
        pq.write_table(sample, listed)
        most = min(executor.slots, sample.num_rows // limits.PARITY_TASK_IMAGES)
        todo = [piece for whole in chunks_of([listed]) for piece in whole.cut(max(most, 1))]
        parts = run_chunks(executor, work, todo, Path(name) / "parts", Progress("", 0, quiet=True))
        tables: dict[str, list[pa.Table]] = {}
        for part in parts:
            tables.setdefault(part.table, []).append(read_part(part.place))
    return {name: _joined(pa.concat_tables(pieces)) for name, pieces in tables.items()}


def _joined(rows: pa.Table) -> EngineAnswers:
    return EngineAnswers(
        np.array(rows["logits"].to_pylist()),
        rows["distance"].to_numpy(),
        float(np.median(rows["milliseconds"].to_numpy())),
    )
