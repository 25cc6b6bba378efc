"""The folder that the processes of a training share: one that all see, or one in a store.

The driver leaves the start and the listings there, the processes their state, checkpoint and
result. Where machines share only a store, each process works in a copy of the folder, which the
task that started it fetches before, and whose results it puts back while the process runs. So
neither the driver nor the processes deal with the store.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pulmospark.chunks.carried import Carry
from pulmospark.chunks.parquet_files import Place, state_of
from pulmospark.core import files, store_limits
from pulmospark.core.errors import SourceUnavailableError
from pulmospark.core.hashing import value_id
from pulmospark.core.machine import cache_folder
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.folders import upload
from pulmospark.store.light_parts import whole_of
from pulmospark.store.store import in_parallel, open_store
from pulmospark.store.uri import StoreUri, is_store_uri, parse_uri

PLAN = "plan.json"
START, CHECKPOINT, TRAINED = (
    "start.safetensors",
    "checkpoint.safetensors",
    "trained.safetensors",
)
LISTINGS = ("images-trained", "images-validated")
"""folders that the driver writes and the processes map into memory"""
EPOCHS, STANDING = "epochs.jsonl", "standing.json"
DEAD = "dead"
REPORTS = "rank-"
"""begins the names of a process's reports: ``rank-0.done``, ``rank-0.error``"""
_STATE = (CHECKPOINT, TRAINED, EPOCHS, STANDING)
_COPIES = "trainings"
"""folder of the cache with the copies that processes work in"""


class TrainingFolder:
    """The folder of one training, which all processes see; for the driver.

    Attributes:
        folder: of the driver.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def plan(self) -> str:
        """Where processes find the plan."""
        return str(self.folder / PLAN)

    def part(self, place: Place) -> str:
        """Where processes find a part of an images table."""
        return str(place)

    def begin(self) -> None:
        """Remove the reports of an earlier run's processes."""
        for pattern in (f"{REPORTS}*", EPOCHS, STANDING):
            for path in self.folder.glob(pattern):
                path.unlink()

    def put(self) -> None:
        """Leave what the processes begin with."""

    def look(self) -> None:
        """Bring how far the processes are."""

    def end(self) -> None:
        """Bring what the processes left."""


class StoredTrainingFolder(TrainingFolder):
    """The same where processes do not see the driver's folder.

    Attributes:
        folder: of the driver.
        address: of what the processes share.
        carry: puts files that only the driver has; the same for the trainings of all folds.
    """

    def __init__(self, folder: Path, address: StoreUri, carry: Carry) -> None:
        super().__init__(folder)
        self.address, self.carry = address, carry
        self._store = open_store(address)
        self._looked = 0.0

    @property
    def plan(self) -> str:
        """Address of the plan."""
        return str(self.address / PLAN)

    def part(self, place: Place) -> str:
        """Address of a part with its pixels; one that is only here is put into the store."""
        return self.carry(str(whole_of(place) if isinstance(place, Path) else place))

    def begin(self) -> None:
        """Bring checkpoint and result of an earlier run, of whatever machine.

        Raises:
            SourceUnavailableError: the store fails.
        """
        super().begin()
        listed = _keys_below(self.address)
        earlier = [n for n in listed if n.startswith(REPORTS) or n in {EPOCHS, STANDING}]
        in_parallel(self._store.delete, [(self.address / name).key for name in earlier])
        resumed = [name for name in (CHECKPOINT, TRAINED) if name in listed]
        _save_all(self.address, resumed, self.folder)

    def put(self) -> None:
        """Put the driver's files.

        Raises:
            SourceUnavailableError: the store fails.
        """
        listings = [
            f"{name}/{p.name}" for name in LISTINGS for p in (self.folder / name).iterdir()
        ]
        names = [n for n in (*listings, START, CHECKPOINT, PLAN) if (self.folder / n).is_file()]
        upload(self.address, [(self.folder / n, (self.address / n).key) for n in names])

    def look(self) -> None:
        """Bring how far the processes are, at most once in ``store_limits.LOG_LOOK_S``.

        Where the store fails nothing is brought: it is only shown.
        """
        if time.monotonic() - self._looked < store_limits.LOG_LOOK_S:
            return
        self._looked = time.monotonic()
        for name in (EPOCHS, STANDING):
            with contextlib.suppress(ObjectMissingError, SourceUnavailableError):
                files.write_bytes(self.folder / name, self._store.get((self.address / name).key))

    def end(self) -> None:
        """Bring reports, epochs and result.

        Raises:
            SourceUnavailableError: the store fails.
        """
        left = {TRAINED, EPOCHS, STANDING}
        names = [n for n in _keys_below(self.address) if n.startswith(REPORTS) or n in left]
        _save_all(self.address, names, self.folder)


class ProcessFolder:
    """The folder that a process works in; for the task that starts it.

    Attributes:
        folder: of the process.
        put_s: seconds between two calls of :meth:`put`; ``None``: there is nothing to put.
    """

    put_s: float | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self) -> None:
        """Put what the process has written since."""


class CopiedProcessFolder(ProcessFolder):
    """A copy of a training's folder in a store, for one process.

    Attributes:
        folder: the copy.
        address: of the training's folder.
    """

    put_s = store_limits.LOG_LOOK_S

    def __init__(self, folder: Path, address: StoreUri) -> None:
        super().__init__(folder)
        self.address = address
        self._known: dict[str, tuple[int, int]] = {}

    def fetch(self, reports: str) -> None:
        """Copy what the driver put; reports of an earlier attempt of this process go.

        Raises:
            SourceUnavailableError: the store fails.
            PlatformError: no space, or no right to write in this machine's cache.
        """
        store = open_store(self.address)
        listed = _keys_below(self.address)
        earlier = [(self.address / name).key for name in listed if name.startswith(reports)]
        in_parallel(store.delete, earlier)
        with files.disk_errors(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)  # of a killed process
            for name in LISTINGS:
                (self.folder / name).mkdir(parents=True)
        needed = {PLAN, START, CHECKPOINT, *LISTINGS}
        names = [name for name in listed if name.partition("/")[0] in needed]
        _save_all(self.address, names, self.folder)
        self._known = self._written()

    def put(self) -> None:
        """Put what has changed: the reports last, because they say that all else is there.

        Where the process removes a file meanwhile, the next call puts the rest.

        Raises:
            SourceUnavailableError: the store fails.
        """
        written = self._written()
        changed = [name for name, facts in written.items() if self._known.get(name) != facts]
        with contextlib.suppress(FileNotFoundError):
            for names in (
                [name for name in changed if not name.startswith(REPORTS)],
                [name for name in changed if name.startswith(REPORTS)],
            ):
                upload(self.address, [(self.folder / n, (self.address / n).key) for n in names])
            self._known = written

    def _written(self) -> dict[str, tuple[int, int]]:
        states = {}
        for path in self.folder.iterdir():
            if path.name in _STATE or path.name.startswith(REPORTS):
                with contextlib.suppress(FileNotFoundError):  # rank 0 removes its checkpoint
                    states[path.name] = state_of(path)
        return states


@contextlib.contextmanager
def process_folder(plan: str, rank: str) -> Iterator[ProcessFolder]:
    """The folder of a process, whose last results are put at the end.

    Args:
        plan: path or address, as :attr:`TrainingFolder.plan` gives it.
        rank: of the process.

    Raises:
        SourceUnavailableError: the store fails.
        PlatformError: no space, or no right to write in this machine's cache.
    """
    if not is_store_uri(plan):
        yield ProcessFolder(Path(plan).parent)
        return
    address = parse_uri(plan).parent
    folder = cache_folder() / _COPIES / value_id([str(address), rank])[:32]
    copied = CopiedProcessFolder(folder, address)
    try:
        copied.fetch(f"{REPORTS}{rank}.")
        try:
            yield copied
        finally:
            copied.put()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keys_below(address: StoreUri) -> list[str]:
    """Keys of the objects below an address, relative to it."""
    start = len(address.prefix)
    return [stored.uri.key[start:] for stored in open_store(address).list(address.prefix)]


def _save_all(address: StoreUri, names: Sequence[str], folder: Path) -> None:
    store = open_store(address)

    def save(name: str) -> None:
        with files.whole_file(folder / name) as aside:
            store.save((address / name).key, aside)

    with files.disk_errors(folder):
        in_parallel(save, names)
