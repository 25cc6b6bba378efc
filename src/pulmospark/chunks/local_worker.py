"""A worker process of :mod:`.local`: runs tasks in threads, one for each connection.

Messages come from the process that started this one, through sockets that no other process can
open. When it ends, however it does, the sockets are closed, and so does this process.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from pulmospark.chunks.task import Task, UnitRow, error_row, settle_worker
from pulmospark.core.arrow_start import spare_pandas

_POLL_S = 0.1
"""seconds after which a thread that waits for a share notices that the job has failed"""


class Reply(NamedTuple):
    """What a worker answers to the number of a share.

    Attributes:
        rows: of its units.
        error: what was raised, as text; ``None``: nothing.
    """

    rows: list[UnitRow]
    error: str | None = None


def serve(connection: Connection) -> None:
    """Answer messages until the other side ends: a task, numbers of its shares, and ``None``."""
    while True:
        task = _received(connection)
        if task.is_overlapped:
            _answer_overlapped(task, connection)
        else:
            while (share := _received(connection)) is not None:
                connection.send(_reply(task, share))


def _received(connection: Connection) -> Any:
    try:
        return connection.recv()
    except (EOFError, OSError):
        os._exit(0)  # at once: what is half done is done again by the next run


def _answer_overlapped(task: Task, connection: Connection) -> None:
    """Answer shares of one unit each, of which the next is taken while one is worked on."""
    failed, taken, at_end = threading.Event(), 0, False

    def shares() -> Iterator[int]:
        nonlocal taken, at_end
        while not failed.is_set():
            if not connection.poll(_POLL_S):
                continue
            share = _received(connection)
            if share is None:
                at_end = True
                return
            taken += 1
            yield share

    answered, text = 0, None
    try:
        for row in task.outcomes_of(shares(), failed):
            connection.send(Reply([row]))
            answered += 1
    except MemoryError:
        os._exit(1)
    except Exception as error:  # noqa: BLE001 - handed to the driver, which raises it
        text = error_row(error)
    for _ in range(taken - answered):
        connection.send(Reply([], text))
    while not at_end and _received(connection) is not None:
        connection.send(Reply([], text))


def _reply(task: Task, share: int) -> Reply:
    rows: list[UnitRow] = []
    try:
        for row in task.outcomes(share):
            rows.append(row)
    except MemoryError:
        os._exit(1)  # as though the system had ended the process: the chunk is taken apart
    except Exception as error:  # noqa: BLE001 - handed to the driver, which raises it
        return Reply(rows, error_row(error))
    return Reply(rows)


def main() -> None:
    """Serve the connections whose descriptors the command line names, after importing modules."""
    faulthandler.enable()
    descriptors, modules = sys.argv[1:]
    connections = [Connection(int(number)) for number in descriptors.split(",")]
    spare_pandas()
    for name in filter(None, modules.split(",")):
        module, _, function = name.partition(":")
        loaded = importlib.import_module(module)
        if function:
            getattr(loaded, function)()
    settle_worker()
    threads = [threading.Thread(target=serve, args=(each,)) for each in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()  # or Python would shut down, and start no further thread
