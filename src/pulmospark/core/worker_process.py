"""Processes on this machine that work for this one; importing this module imports no library.

So they can be started first, and import what they need while this process does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection, Pipe
from typing import IO

from pulmospark.core import limits, machine
from pulmospark.core.python_path import SAFE_PATH

_MAIN = "from pulmospark.chunks.local_worker import main; main()"
"""not ``-m``: messages name the classes of the module, which would then be ``__main__``"""
_TAIL_BYTES = 4096


class WorkerProcess:
    """A process with a connection for each of its threads."""

    def __init__(self, threads: int, preload: tuple[str, ...]) -> None:
        self._preload = preload
        pairs = [Pipe() for _ in range(threads)]
        self.connections: list[Connection] = [ours for ours, _ in pairs]
        theirs = [their for _, their in pairs]
        numbers = [their.fileno() for their in theirs]
        # What C libraries and a crash write there is shown only if the process ends.
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", _MAIN),
                *(",".join(map(str, numbers)), ",".join(preload)),
            ],
            pass_fds=numbers,
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
            env={**os.environ, **machine.ONE_THREAD, SAFE_PATH: "1"},
            start_new_session=True,  # Ctrl-C is for the driver, which ends the job
        )
        for their in theirs:
            their.close()

    def alive(self) -> WorkerProcess:
        """This worker, or another if it has ended."""
        if self._process.poll() is None and not self._errors.closed:
            return self
        self.end()
        return WorkerProcess(len(self.connections), self._preload)

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """End the process, and close what belongs to it."""
        self.kill()
        self._errors.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.close()

    def last_words(self) -> str:
        """How the process has ended."""
        code = self._process.wait()
        if code < 0:
            return signal.Signals(-code).name
        if self._errors.closed:
            return f"exit status {code}"
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(size - _TAIL_BYTES, 0))
        lines = self._errors.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), f"exit status {code}")
        return last.strip()[:200]


def start_workers(slots: int | None = None, preload: Sequence[str] = ()) -> list[WorkerProcess]:
    """Start processes that have so many threads together.

    Args:
        slots: their number; ``None``: one for each core.
        preload: modules that they import at once, or ``module:function`` to call one without
            arguments.
    """
    slots = slots or machine.cores()
    sizes = [
        min(limits.LOCAL_THREADS_MAX, slots - start)
        for start in range(0, slots, limits.LOCAL_THREADS_MAX)
    ]
    return [WorkerProcess(size, tuple(preload)) for size in sizes]
