"""TensorBoard's event files: the course of a training, readable while it goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pulmospark.core import files

TAGS = {
    "loss": "loss/train",
    "validation_loss": "loss/validation",
    "accuracy": "accuracy/train",
    "validation_accuracy": "accuracy/validation",
    "learning_rate": "learning_rate",
    "films_per_s": "films_per_s",
}
"""field of an epoch -> tag of the scalar; what stands before the slash is one card"""
OBJECTIVE = "objective"
"""tag of a logistic regression's loss, by iteration"""
_ENDING = ".pulmospark"


class EventFile:
    """The event file of one model; earlier ones of this program's in its folder give way.

    It is written through TensorBoard's own record writer, without its thread: each scalar is
    on disk when the call ends.

    Args:
        folder: of the model.

    Raises:
        EnvironmentProblem: no space, or no right to write there.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.record_writer import (  # noqa: PLC0415 - an extra
            RecordWriter,
        )

        with files.disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.glob(f"events.out.tfevents.*{_ENDING}"):
                old.unlink()
            path = folder / f"events.out.tfevents.{time.time_ns()}{_ENDING}"
            self._file = path.open("wb")
        self._folder = folder
        self._writer: Any = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")

    def epoch(self, told: Mapping[str, Any]) -> None:
        """Write what an epoch has told."""
        found = {tag: told[key] for key, tag in TAGS.items() if told.get(key) is not None}
        self.scalars(found, int(told["epoch"]))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write values of a step.

        Args:
            values: tag -> value.
            step: epoch or iteration, from 1.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415

        told = [Summary.Value(tag=tag, simple_value=float(value)) for tag, value in values.items()]
        self._write(step=step, summary=Summary(value=told))

    def _write(self, **what: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415

        with files.disk_errors(self._folder):
            self._writer.write(Event(wall_time=time.time(), **what).SerializeToString())
            self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
