"""Makes things ready in a thread while those before are worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterator[Item], count: int) -> Iterator[Item]:
    """The items of an iterator, made by one thread, so many ahead of the one that is taken.

    Memory holds ``count`` items and the one that is worked on. What making them raises is
    raised here, in its place; where the caller stops early, so does the thread, after the item
    it is at.
    """
    end = object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        waiting: deque[Future[Item | object]] = deque(
            pool.submit(next, items, end) for _ in range(count)
        )
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]  # `end` alone is no Item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
