"""Draw on several cores, in the order of one."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import signal
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TypeVar

import cv2

from pulmospark.core.errors import PlatformError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_KEPT_BYTES = 32 * 1024**2  # glibc's maximum for the second; a picture of the demo has 1 MiB

Item = TypeVar("Item")
Drawn = TypeVar("Drawn")


def drawn_in_order(
    function: Callable[[Item], Drawn], items: Sequence[Item], *, processes: int
) -> Generator[Drawn]:
    """``map(function, items)`` in fresh Python processes, each with every ``processes``-th item.

    Each has a pipe of its own, at which it ends should this process be killed.

    Args:
        function: of a module, and its items plain values: they go to other processes.
        items: what it is called with.
        processes: 1: this one.

    Raises:
        PlatformError: one of them ended before its work.
    """
    if processes == 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        pipes = []
        for first in range(processes):
            receiver, sender = context.Pipe(duplex=False)
            share = items[first::processes]
            process = context.Process(target=_draw, args=(function, share, sender), daemon=True)
            process.start()
            sender.close()
            stack.callback(_end, process, receiver)
            pipes.append(receiver)
        for number in range(len(items)):
            try:
                yield pipes[number % processes].recv()
            except EOFError:
                raise PlatformError(
                    "a process that draws phantoms ended without an error message (probably "
                    "killed or out of memory): free some memory, or draw fewer patients"
                ) from None


def _draw(function: Callable[[Item], Drawn], items: Sequence[Item], sender: Connection) -> None:
    cv2.setNumThreads(1)  # each process has one core
    _keep_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which ends this
    with contextlib.suppress(BrokenPipeError):
        for item in items:
            sender.send(function(item))


def _keep_memory() -> None:
    """Let glibc keep the memory of pictures for the next ones.

    It would return each to the system, and have it cleared page by page: a tenth of the drawing.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        library = ctypes.CDLL(None)
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            library.mallopt(parameter, _KEPT_BYTES)


def _end(process: BaseProcess, receiver: Connection) -> None:
    receiver.close()
    process.terminate()
    process.join()
