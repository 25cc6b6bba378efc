"""Works on one unit while the next is read and the one before is written."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pulmospark.core.prefetch import ahead

Unit = TypeVar("Unit")
Begun = TypeVar("Begun")
Worked = TypeVar("Worked")
Row = TypeVar("Row")


def overlapped(
    units: Iterable[Unit],
    begin: Callable[[Unit], Begun],
    work: Callable[[Begun], Worked],
    finish: Callable[[Worked], Row],
) -> Iterator[Row]:
    """Run three steps on each unit, in order, of several units at the same time.

    Memory holds a unit that is ready, one that is worked on, and two that are written.

    Args:
        units: taken one ahead, in a thread.
        begin: in that thread.
        work: in the caller's thread.
        finish: in another thread.

    Raises:
        Exception: what a step raised, in the unit's place.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="finish") as pool:
        waiting: deque[Future[Row]] = deque()
        for begun in ahead(map(begin, units), 1):
            waiting.append(pool.submit(finish, work(begun)))
            while waiting and (len(waiting) > 1 or waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def setting(failed: threading.Event, step: Callable[[Unit], Row]) -> Callable[[Unit], Row]:
    """A step that sets an event before it raises."""

    def run(unit: Unit) -> Row:
        try:
            return step(unit)
        except BaseException:
            failed.set()
            raise

    return run
