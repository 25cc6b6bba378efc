"""Write epochs as TensorBoard scalars while training is running."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pulmospark.core import files
from pulmospark.training.distributed import read_epochs
from pulmospark.training.results import ModelRecord
from pulmospark.training.training_folder import EPOCHS

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TAGS = {
    "loss": "loss/train",
    "validation_loss": "loss/validation",
    "accuracy": "accuracy/train",
    "validation_accuracy": "accuracy/validation",
    "learning_rate": "learning_rate",
    "images_per_s": "images_per_s",
}
"""field of an epoch -> tag of the scalar; what stands before the slash is one card"""
OBJECTIVE = "objective"
"""tag of a logistic regression's loss, by iteration"""

_POLL_S = 1.0
_SUFFIX = ".pulmospark"


class Follower:
    """Writes each epoch soon after the training has recorded it; one folder per model.

    Replaces event files of earlier training runs.

    Args:
        work: folder with one subfolder per model, where its training records its epochs.
        target: folder of the run's event files.
    """

    def __init__(self, work: Path, target: Path) -> None:
        self._work, self._target = work, target
        self._files: dict[str, SummaryWriter] = {}
        self._done: dict[str, int] = {}
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True, name="tensorboard")
        # Epoch files of an earlier training run are ignored until they change.
        self._stale = {path: _stamp(path) for path in self._epoch_files()}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for file in self._files.values():
            file.close()
        if self._error is not None and kind is None:
            raise self._error

    def finish(self, models: Iterable[ModelRecord]) -> None:
        """Write what was missed: afterwards all models are complete."""
        self._ended.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        for model in models:
            self._epochs(model.name, list(model.history))
            for step, value in enumerate(model.objective, start=1):
                self._write(model.name, {OBJECTIVE: value}, step)

    def _follow(self) -> None:
        try:
            while not self._ended.wait(_POLL_S):
                for path in self._epoch_files():
                    if self._stale.get(path) != _stamp(path):
                        self._epochs(path.parent.name, read_epochs(path.parent))
        except BaseException as error:  # noqa: BLE001 - raised in finish() or __exit__()
            self._error = error

    def _epochs(self, name: str, history: list[dict[str, Any]]) -> None:
        if len(history) < self._done.get(name, 0):  # another training run has started
            self._files.pop(name).close()
            self._done[name] = 0
        for epoch in history[self._done.get(name, 0) :]:
            scalars = {tag: epoch[key] for key, tag in TAGS.items() if epoch.get(key) is not None}
            self._write(name, scalars, int(epoch["epoch"]))
        self._done[name] = len(history)

    def _write(self, name: str, values: Mapping[str, float], step: int) -> None:
        """Write a model's values of a step; they are on disk when the call ends."""
        folder = self._target / name
        with files.disk_errors(folder):
            if name not in self._files:
                self._files[name] = _new_file(folder)
            for tag, value in values.items():
                self._files[name].add_scalar(tag, value, step)
            self._files[name].flush()

    def _epoch_files(self) -> list[Path]:
        return sorted(self._work.glob(f"*/{EPOCHS}"))


def _new_file(folder: Path) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"events.out.tfevents.*{_SUFFIX}"):
        old.unlink()
    return SummaryWriter(folder, filename_suffix=_SUFFIX)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return facts.st_mtime_ns, facts.st_size
