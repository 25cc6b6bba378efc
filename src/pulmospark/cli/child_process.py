"""Runs the rest of a command in a child process, so that a crash there is an error of one line."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator

from pulmospark.core.errors import InputError

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GC_OBJECTS = 50_000
"""new objects between two garbage collections; Python's default is 700"""


class CommandLine:
    """Marks a run of the command line that has its process to itself; click's ``obj``."""


def can_continue_in_child(context_object: object) -> bool:
    """Whether the rest of the command may run in a fork of this process.

    Not within another program, whose threads and buffers a fork would break.
    """
    return isinstance(context_object, CommandLine) and threading.active_count() == 1


def continue_in_child(image: str) -> None:
    """Return in a child process; this one waits for it, and exits with its status.

    A fork, before anything large is imported, costs milliseconds, where a worker process would
    import everything a second time. Signals that would end this process go to the child.

    Args:
        image: named in the error, should the child crash.

    Raises:
        SystemExit: the child has ended.
        InputError: a signal has ended it: a decoder crashed, or there was not enough memory.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if child == 0:
        os.setsid()  # Ctrl-C reaches it through the parent alone: once
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        # Inside, because it imports pydantic, which the help is spared.
        from pulmospark.core.machine import ONE_THREAD

        os.environ.update(ONE_THREAD)
        # Collecting while imports fill the memory, and at the end, is a sixth of the time.
        gc.set_threshold(_GC_OBJECTS)
        atexit.register(gc.freeze)
        return
    with _forwarding(child) as forwarded:
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        raise SystemExit(code)
    if -code in forwarded:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    name = signal.Signals(-code).name
    raise InputError(
        f"{image}: ended_its_worker: the process that read it ended with {name}: the file is "
        "damaged, or there is too little memory"
    )


@contextlib.contextmanager
def _forwarding(child: int) -> Iterator[set[int]]:
    """Hand signals to a child meanwhile; those that came."""
    came: set[int] = set()

    def forward(number: int, _: object) -> None:
        came.add(number)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    before = {each: signal.signal(each, forward) for each in _FORWARDED}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    try:
        yield came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
