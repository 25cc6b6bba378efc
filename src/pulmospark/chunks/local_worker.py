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
from multiprocessing.connection import Connection
from typing import NamedTuple

from pulmospark.chunks.task import Task, UnitRow, error_row, settle_worker
from pulmospark.core.arrow_start import spare_pandas


class Reply(NamedTuple):
    """What a worker answers to the number of a share.

    Attributes:
        rows: of its units.
        error: what was raised, as text; ``None``: nothing.
    """

    rows: list[UnitRow]
    error: str | None = None


def serve(connection: Connection) -> None:
    """Answer messages until the other side ends: a task, then numbers of its shares."""
    task: Task | None = None
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            os._exit(0)  # at once: what is half done is done again by the next run
        if isinstance(message, Task):
            task = message
            continue
        assert task is not None
        connection.send(_reply(task, message))


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
