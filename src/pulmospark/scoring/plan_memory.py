"""Memory of the driver, its JVM and the Python workers below it, watched while they work."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import Literal, Self

import psutil

Kind = Literal["driver", "jvm", "worker"]

_EVERY_S = 0.2


class MemoryWatch:
    """Highest resident memory of each kind of process while the ``with`` block runs.

    Workers on other machines are not seen. A process's memory is what is resident of it,
    shared pages included.
    """

    def __init__(self) -> None:
        self._peaks: dict[int, tuple[Kind, int]] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def peak(self, kind: Kind) -> int | None:
        """Bytes of the largest process of a kind; ``None`` where none was seen."""
        found = [size for told, size in self._peaks.values() if told == kind]
        return max(found, default=None)

    def _watch(self) -> None:
        root = psutil.Process()
        while not self._done.wait(_EVERY_S):
            for process, kind in processes_of(root).items():
                with contextlib.suppress(psutil.Error):
                    before = self._peaks.get(process.pid, (kind, 0))[1]
                    self._peaks[process.pid] = (
                        kind,
                        max(before, int(process.memory_info().rss)),
                    )


def processes_of(root: psutil.Process) -> dict[psutil.Process, Kind]:
    """A driver's processes by kind; Python below a JVM is a worker, or the daemon of workers."""
    found: dict[psutil.Process, Kind] = {root: "driver"}
    kinds: dict[int, Kind] = {}
    with contextlib.suppress(psutil.Error):
        for process in root.children(recursive=True):  # children come after their parents
            with contextlib.suppress(psutil.Error):
                if process.name() == "java":
                    found[process] = kinds[process.pid] = "jvm"
                elif process.ppid() in kinds:
                    found[process] = kinds[process.pid] = "worker"
    return found
