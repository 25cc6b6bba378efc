"""Listing with several requests at once gives what one after the other gives, in its order."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import LocalStore, MemoryStore

from pulmospark.core import store_limits
from pulmospark.core.errors import SourceUnavailableError
from pulmospark.store.parallel_list import Tries, between, list_ahead
from pulmospark.store.store import Store, StoredObject, open_store
from pulmospark.store.uri import StoreUri

BUCKET = StoreUri("s3", "bucket-of-a-test", "")

_NAMES = st.one_of(
    st.integers(0, 5_000).map(lambda n: f"{n:06d}"),
    st.integers(0, 5_000).map(str),
    st.text("ab019Zz-_. é中\U0001f600", min_size=1, max_size=4).filter(
        lambda name: name not in {".", ".."} and not name.startswith(" ")
    ),
)
_KEYS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)


def _in_memory(keys: list[str]) -> Store:
    """A bucket behind obstore's own client, which needs no server."""
    store = Store.__new__(Store)
    store.bucket, store._store = BUCKET, MemoryStore()
    store._turns = threading.BoundedSemaphore()
    for key in keys:
        store.put(key, b"x")
    return store


@settings(deadline=None, max_examples=60)
@given(
    st.lists(_KEYS, max_size=120), st.sampled_from(["", "0", "00", "a/", "1"]), st.integers(1, 7)
)
def test_the_same_objects_in_the_same_order(keys: list[str], prefix: str, rows: int) -> None:
    store = _in_memory(keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_limits, "LIST_PAGE_ROWS", rows)
        patch.setattr(store_limits, "LIST_PAGES_AHEAD", 4)
        listed = [stored.uri.key for stored in list_ahead(store, prefix)]
    assert listed == [stored.uri.key for stored in store.list(prefix)]
    assert listed == sorted(key for key in set(keys) if key.startswith(prefix))


@given(_KEYS, _KEYS, st.integers(0, 30))
def test_a_guess_divides_the_range_or_is_refused(one: str, other: str, deepest: int) -> None:
    low, high = sorted((one, other))
    if low == high or (guess := between(low, high, deepest, Tries())) is None:
        return
    key, place = guess
    assert place <= deepest
    assert key.encode()  # a key that a request can hold
    assert key[-1] not in "./"
    assert low < key < high


def test_a_folder_of_numbers_is_halved_at_its_first_digit() -> None:
    assert between("in/1234.png", "in/\U0010ffff", 10, Tries()) == ("in/5", 3)
    assert between("in/1234.png", "in/5", 10, Tries()) == ("in/3", 3)
    assert between("in/1234.png", "in/2", 10, Tries()) == ("in/16", 4)


def test_positions_where_dividing_brings_nothing_are_left_alone() -> None:
    tried = Tries()
    for _ in range(store_limits.LIST_MISSES_MAX):
        assert between("in/1234.png", "in/9", 10, tried) == ("in/5", 3)
        tried.count(3, brought_page=False)
    assert between("in/1234.png", "in/9", 10, tried) == ("in/16", 4)
    tried.count(3, brought_page=True)
    assert between("in/1234.png", "in/9", 10, tried) == ("in/5", 3)


def test_more_than_a_page_of_a_real_server(bucket: StoreUri) -> None:
    opened = open_store(bucket)
    names = [f"p/{n % 7}/{n:05}.png" for n in range(1_234)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: opened.put(name, b"x"), names))
    listed = list(list_ahead(opened, "p/"))
    assert [stored.uri.key for stored in listed] == sorted(names)
    assert listed == list(opened.list("p/"))


class _Slow(Store):
    """Waits before each page, and counts what is under way and held."""

    def __init__(self, keys: list[str]) -> None:
        vars(self).update(vars(_in_memory(keys)))
        self.under_way = self.most = self.pages = 0
        self.fails_after: int | None = None
        self._lock = threading.Lock()

    def page(self, prefix: str, after: str | None) -> Sequence[StoredObject]:
        with self._lock:
            self.under_way += 1
            self.pages += 1
            self.most = max(self.most, self.under_way)
        time.sleep(0.005)
        try:
            if self.fails_after is not None and self.pages > self.fails_after:
                raise SourceUnavailableError("the store fails")
            page: Sequence[StoredObject] = super().page(prefix, after)
        finally:
            with self._lock:
                self.under_way -= 1
        return page


def test_requests_are_under_way_at_once_and_few_pages_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_limits, "LIST_PAGE_ROWS", 10)
    monkeypatch.setattr(store_limits, "LIST_PAGES_AHEAD", 20)
    store = _Slow([f"{n // 100:03d}/{n:05d}.png" for n in range(3_000)])
    listing = list_ahead(store)
    first = [next(listing) for _ in range(11)]
    time.sleep(0.5)
    # Those that wait, those under way when the last of them came, and those of wrong guesses.
    assert store.pages < 20 + 16 + 60
    assert len(first) + len(list(listing)) == 3_000
    assert store.most > 4


def test_a_failure_ends_the_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_limits, "LIST_PAGE_ROWS", 10)
    store = _Slow([f"{n:05d}.png" for n in range(1_000)])
    store.fails_after = 7
    with pytest.raises(SourceUnavailableError, match="the store fails"):
        list(list_ahead(store))
    threads = [thread.name for thread in threading.enumerate()]
    assert not [name for name in threads if name.startswith("list")]


def test_a_reader_that_stops_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_limits, "LIST_PAGE_ROWS", 10)
    listing = list_ahead(_Slow([f"{n:05d}.png" for n in range(1_000)]))
    assert next(listing).uri.key == "00000.png"
    for _ in range(20):
        next(listing)
    listing.close()  # type: ignore[attr-defined]
    threads = [thread.name for thread in threading.enumerate()]
    assert not [name for name in threads if name.startswith("list")]


def test_a_store_without_an_order_is_listed_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_limits, "LIST_PAGE_ROWS", 2_000)
    store = _Slow([])
    store._store = LocalStore(str(tmp_path))  # in the order of the disk
    for number in range(200):
        store.put(f"{number * 37 % 200:03d}/x.png", b"x")
    listed = [stored.uri.key for stored in list_ahead(store)]
    assert sorted(listed) == [f"{number:03d}/x.png" for number in range(200)]
    assert store.pages == 1
