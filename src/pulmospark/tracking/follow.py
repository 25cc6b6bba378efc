"""A training's epochs as TensorBoard's scalars, while it goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pulmospark.tracking.events import OBJECTIVE, EventFile
from pulmospark.training.distributed import read_epochs
from pulmospark.training.rank import EPOCHS
from pulmospark.training.records import ModelRecord

_POLL_S = 1.0


class Follower:
    """Writes each epoch soon after a training has told of it; a model has a folder.

    Args:
        work: folder in which each model's training tells of its epochs, in a folder each.
        target: folder of the run's event files.
    """

    def __init__(self, work: Path, target: Path) -> None:
        self._work, self._target = work, target
        self._files: dict[str, EventFile] = {}
        self._done: dict[str, int] = {}
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True, name="tensorboard")
        # What an earlier training has left is not this one's.
        self._stale = {path: _stamp(path) for path in self._told()}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        for file in self._files.values():
            file.close()
        if self._error is not None and error is None:
            raise self._error

    def finish(self, models: Iterable[ModelRecord]) -> None:
        """Write what was not seen on the way: all models are then told in full."""
        self._ended.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        for model in models:
            self._epochs(model.name, list(model.history))
            for step, value in enumerate(model.objective, start=1):
                self._file(model.name).scalars({OBJECTIVE: value}, step)

    def _follow(self) -> None:
        try:
            while not self._ended.wait(_POLL_S):
                for path in self._told():
                    if self._stale.get(path) != _stamp(path):
                        self._epochs(path.parent.name, read_epochs(path.parent))
        except BaseException as error:  # noqa: BLE001 - raised where the training is waited for
            self._error = error

    def _epochs(self, name: str, history: list[dict[str, Any]]) -> None:
        if len(history) < self._done.get(name, 0):  # another training begins there
            self._files.pop(name).close()
            self._done[name] = 0
        for epoch in history[self._done.get(name, 0) :]:
            self._file(name).epoch(epoch)
        self._done[name] = len(history)

    def _file(self, name: str) -> EventFile:
        if name not in self._files:
            self._files[name] = EventFile(self._target / name)
        return self._files[name]

    def _told(self) -> list[Path]:
        return sorted(self._work.glob(f"*/{EPOCHS}"))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size
