"""Lists a bucket with several requests at once, in the order and with the result of one by one.

A listing hands out 1,000 keys a request, each after the last, so a million objects wait a thousand
times for the store. Here the range of keys is divided: a range is listed page by page, and an idle
thread takes a part off the end of one that is being listed. Where to divide is guessed from the
keys seen so far; a wrong guess costs a request, and no object is missed or listed twice, because
ranges do not overlap and together are the whole.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from pulmospark.core import store_limits
from pulmospark.core.errors import PlatformError
from pulmospark.store.store import Store, StoredObject

_TOP = chr(0x10FFFF)
"""sorts after all that keys hold"""

Page = Sequence[StoredObject]


def list_ahead(store: Store, prefix: str = "") -> Iterator[StoredObject]:
    """As :meth:`.store.Store.list`, with ``store_limits.LIST_REQUESTS`` requests under way.

    A listing of one page takes one request. A store that does not list in the order of the keys
    (S3's directory buckets) is listed by one request after the other.

    Memory holds ``store_limits.LIST_PAGES_AHEAD`` pages.

    Args:
        store: the bucket.
        prefix: a folder (``images/``) or the begin of a name (``images/2024``).

    Raises:
        SourceUnavailableError: the store fails.
        InputError: a key is there that no path can express.
        PlatformError: the store does not begin a listing where it is asked to.
    """
    first = store.page(prefix, None)
    if not _ascends(first):
        yield from store.list(prefix)
        return
    yield from _within(first, prefix)
    if len(first) < store_limits.LIST_PAGE_ROWS:
        return
    ranges = _Ranges(_Range(first[-1].uri.key, prefix + _TOP, shared=_shared(first)))
    pool = ThreadPoolExecutor(store_limits.LIST_REQUESTS, thread_name_prefix="list")
    try:
        workers = [
            pool.submit(_work, store, prefix, ranges) for _ in range(store_limits.LIST_REQUESTS)
        ]
        while (page := ranges.take()) is not None:
            yield from _within(page, prefix)
        for worker in workers:
            worker.result()
    finally:
        ranges.stop()
        pool.shutdown(wait=True, cancel_futures=True)


def between(low: str, high: str, deepest: int, tried: Tries) -> tuple[str, int] | None:
    """A key that divides the range between two, guessed, and its last character's position.

    The first position with a free character decides, so that the part is as large as can be.

    Args:
        low: a key that is there.
        high: greater than it.
        deepest: position of the last character that may be changed.
        tried: how guesses went at each position.

    Returns:
        ``None``: they are too close.
    """
    start = _common(low, high)
    for place in range(start, min(deepest + 1, len(low))):
        if not tried.worth(place):
            continue
        here = ord(low[place])
        end = _end_of_class(here)
        if place == start and place < len(high) and not here + 1 < end <= ord(high[place]):
            end = ord(high[place])
        if (character := _plain(here, end)) is not None:
            return low[:place] + character, place
    return None


class Tries:
    """How often a division at a position of the keys brought a page of its own, and how often not.

    Names are made in one way throughout a bucket: where a date stands, dividing pays everywhere,
    and where a file's number repeats that of its folder, nowhere.
    """

    def __init__(self) -> None:
        self._balance: Counter[int] = Counter()

    def worth(self, place: int) -> bool:
        """Whether another try is."""
        return self._balance[place] > -store_limits.LIST_MISSES_MAX

    def count(self, place: int, *, brought_page: bool) -> None:
        """Learn from an answer."""
        self._balance[place] += 2 if brought_page else -1


def _plain(low: int, high: int) -> str | None:
    """A character between two that may end a key: no dot, no slash, no half of a pair."""
    for code in range(max((low + high) // 2, low + 1), high):
        if chr(code) not in "./" and not 0xD800 <= code < 0xE000:
            return chr(code)
    return None


def _end_of_class(code: int) -> int:
    """One more than the last of the characters that stand where this one does."""
    for first, last in ("09", "AZ", "az"):
        if ord(first) <= code <= ord(last):
            return ord(last) + 1
    return 0x7F if code < 0x7F else min(code + 0x1000, ord(_TOP))


def _common(first: str, last: str) -> int:
    """How many characters two keys begin with alike."""
    length = min(len(first), len(last))
    return next((at for at in range(length) if first[at] != last[at]), length)


def _shared(page: Page) -> int:
    """Where the keys of a page begin to differ: parts that differ later are less than a page."""
    return _common(page[0].uri.key, page[-1].uri.key)


def _ascends(page: Page) -> bool:
    keys = [stored.uri.key for stored in page]
    return all(map(str.__lt__, keys, keys[1:]))


def _within(page: Page, prefix: str) -> Iterator[StoredObject]:
    return (stored for stored in page if stored.uri.key.startswith(prefix))


@dataclass(eq=False)
class _Range:
    """Keys after ``after``, up to and with ``until``."""

    after: str
    """last key that was listed, or the guess that the range begins with"""
    until: str
    shared: int = 0
    """as :func:`_shared` of the last page; the range may be divided once there was a page"""
    pages: deque[Page] = field(default_factory=deque)
    busy: bool = False
    done: bool = False
    place: int | None = None
    """position of the guess that it begins with; ``None``: its first page is there"""


class _Ranges:
    """All ranges of a listing, in order; safe to use from several threads."""

    def __init__(self, whole: _Range) -> None:
        self._ranges = [whole]
        self._changed = threading.Condition()
        self._tried = Tries()
        self._held = 0
        self._stopped = False

    def take(self) -> Page | None:
        """The next page, in order; ``None``: there is none, or a thread has failed."""
        with self._changed:
            while True:
                head = self._ranges[0]
                if head.pages:
                    self._held -= 1
                    self._changed.notify_all()
                    return head.pages.popleft()
                if self._stopped:
                    return None
                if not head.done:
                    self._changed.wait()
                elif len(self._ranges) == 1:
                    self._stop()
                    return None
                else:
                    self._ranges.pop(0)
                    self._changed.notify_all()  # the next may be listed whatever is held

    def next_range(self) -> _Range | None:
        """A range of which the caller is to list a page; ``None``: the listing has ended."""
        with self._changed:
            while not self._stopped:
                if (chosen := self._chosen()) is not None:
                    chosen.busy = True
                    return chosen
                self._changed.wait()
            return None

    def _chosen(self) -> _Range | None:
        head = self._ranges[0]
        if self._held >= store_limits.LIST_PAGES_AHEAD:
            return None if head.busy or head.done or head.pages else head
        if not head.pages and head.busy and (part := self._divided(head)) is not None:
            return part  # the reader waits for it
        for listed in self._ranges:
            if not listed.busy and not listed.done:
                return listed
        for listed in self._ranges:
            if (part := self._divided(listed)) is not None:
                return part
        return None

    def _divided(self, whole: _Range) -> _Range | None:
        """A new range of the keys at the end of one that is being listed."""
        if whole.done or whole.place is not None:
            return None
        guess = between(whole.after, whole.until, whole.shared, self._tried)
        if guess is None:
            return None
        part = _Range(guess[0], whole.until, place=guess[1])
        whole.until = part.after
        self._ranges.insert(self._ranges.index(whole) + 1, part)
        return part

    def add(self, listed: _Range, page: Page) -> None:
        """The next page of a range, which another may have been divided from meanwhile."""
        with self._changed:
            own = [stored for stored in page if stored.uri.key <= listed.until]
            listed.busy = False
            listed.done = len(own) < len(page) or len(page) < store_limits.LIST_PAGE_ROWS
            place, listed.place = listed.place, None
            if place is not None and page:  # an empty answer costs nothing
                self._tried.count(place, brought_page=len(own) == len(page))
            if own:
                listed.after, listed.shared = own[-1].uri.key, _shared(own)
                listed.pages.append(own)
                self._held += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """End all waiting; pages that were listed may still be taken."""
        with self._changed:
            self._stop()

    def _stop(self) -> None:
        self._stopped = True
        self._changed.notify_all()


def _work(store: Store, prefix: str, ranges: _Ranges) -> None:
    """List pages until there are no more."""
    try:
        while (listed := ranges.next_range()) is not None:
            page = store.page(prefix, listed.after)
            if page and (page[0].uri.key <= listed.after or not _ascends(page)):
                raise PlatformError(
                    f"{store.bucket}: does not list keys in their order from a given one on "
                    "(start-after), without which a listing cannot be resumed: use a store that "
                    "does (S3, Azure, Google Cloud, MinIO, Ceph)"
                )
            ranges.add(listed, page)
    except BaseException:
        ranges.stop()
        raise
