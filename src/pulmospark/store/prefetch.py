"""Requests to stores that are under way while the answers to earlier ones are used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from pulmospark.core import limits
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.store import StoredObject, open_store
from pulmospark.store.uri import StoreUri

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def read_many(uris: Iterable[tuple[StoreUri, int]]) -> Iterator[bytes | ObjectMissingError]:
    """Contents of objects, in order, with ``limits.STORE_REQUESTS`` requests under way.

    Holds at most ``limits.STORE_AHEAD_BYTES`` that were not taken yet, or one object.

    Args:
        uris: addresses and sizes in bytes; at most ``limits.FILE_BYTES_MAX`` + 1 are read of each.

    Raises:
        SourceUnavailableError: the store fails.
    """
    return prefetched(lambda uri: open_store(uri).get(uri.key, limits.FILE_BYTES_MAX + 1), uris)


def find_many(uris: Iterable[StoreUri]) -> Iterator[StoredObject | ObjectMissingError]:
    """Size, time and etag of objects, in order, with ``limits.STORE_REQUESTS`` requests under way.

    Raises:
        SourceUnavailableError: the store fails.
    """
    return prefetched(lambda uri: open_store(uri).head(uri.key), ((uri, 0) for uri in uris))


def under_way(request: Callable[..., Answer], *arguments: Any) -> Future[Answer]:
    """The answer to a request for which a thread of its own waits."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="store")
    answer = pool.submit(request, *arguments)
    pool.shutdown(wait=False)
    return answer


def prefetched(
    request: Callable[[Item], Answer], uris: Iterable[tuple[Item, int]]
) -> Iterator[Answer | ObjectMissingError]:
    """Answers to requests, in order, with ``limits.STORE_REQUESTS`` under way.

    Args:
        request: runs in a thread.
        uris: what is requested, and the bytes that each answer holds in memory.

    Raises:
        SourceUnavailableError: the store fails.
    """

    def asked(uri: Item) -> Answer | ObjectMissingError:
        try:
            return request(uri)
        except ObjectMissingError as error:
            return error

    waiting: deque[tuple[Future[Answer | ObjectMissingError], int]] = deque()
    held = 0
    pool = ThreadPoolExecutor(limits.STORE_REQUESTS, thread_name_prefix="store")
    try:
        for uri, size in uris:
            while waiting and (
                held + size > limits.STORE_AHEAD_BYTES or len(waiting) >= 2 * limits.STORE_REQUESTS
            ):
                done, its_size = waiting.popleft()
                held -= its_size
                yield done.result()
            waiting.append((pool.submit(asked, uri), size))
            held += size
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
