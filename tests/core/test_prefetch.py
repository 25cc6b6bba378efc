"""Order, errors and an early stop, with a thread in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulmospark.core.prefetch import ahead


@given(st.lists(st.none() | st.integers()), st.integers(1, 4))
def test_what_comes_out_is_what_went_in(items: list[int | None], count: int) -> None:
    assert list(ahead(iter(items), count)) == items


def test_an_error_comes_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("the third")

    taken = []
    with pytest.raises(ValueError, match="the third"):
        for item in ahead(broken(), 2):
            taken.append(item)
    assert taken == [1, 2]


def test_no_more_is_made_than_was_asked_for_and_the_thread_ends() -> None:
    made: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            made.append(len(made))
            yield made[-1]

    found = ahead(endless(), 2)
    assert [next(found), next(found)] == [0, 1]
    found.close()  # type: ignore[attr-defined]
    assert len(made) <= 4
    assert not [one for one in threading.enumerate() if one.name.startswith("ahead")]


def test_the_next_is_made_while_one_is_worked_on() -> None:
    third = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        yield 2
        third.set()
        yield 3

    found = ahead(items(), 2)
    assert next(found) == 1
    assert third.wait(10), "made before anyone asked for it"
    assert list(found) == [2, 3]
