"""A set of numbers does as Python's own does."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulmospark.core import key_set
from pulmospark.core.key_set import KeySet, TextSet

_KEYS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)


@given(
    start=st.lists(_KEYS, max_size=8),
    steps=st.lists(st.tuples(st.booleans(), _KEYS), max_size=30),
    asked=st.lists(_KEYS, max_size=5),
    loose=st.integers(0, 4),
)
def test_it_is_a_set(
    start: list[int], steps: list[tuple[bool, int]], asked: list[int], loose: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_set, "_LOOSE_MAX", loose)  # so that it is sorted anew now and then
        keys, plain = KeySet(start), set(start)
        for put_in, key in steps:
            if put_in:
                keys.add(key)
                plain.add(key)
            else:
                keys.discard(key)
                plain.discard(key)
            assert len(keys) == len(plain)
            assert (key in keys) is put_in
        every = [*asked, *start, *(key for _, key in steps)]
        assert keys.among(every).tolist() == [key in plain for key in every]


@given(
    steps=st.lists(st.tuples(st.booleans(), st.lists(_KEYS, max_size=6)), max_size=12),
    loose=st.integers(0, 4),
)
def test_many_are_added_as_one_by_one(steps: list[tuple[bool, list[int]]], loose: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_set, "_LOOSE_MAX", loose)
        keys, plain = KeySet(), KeySet()
        for put_in, some in steps:
            if put_in:
                new = keys.add_all(np.asarray(some, np.int64)).tolist()
                for key, is_new in zip(some, new, strict=True):
                    assert is_new is (key not in plain)
                    plain.add(key)
            else:
                for key in some:
                    keys.discard(key)
                    plain.discard(key)
            assert len(keys) == len(plain)


@given(st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3)))
def test_texts_are_known_by_their_content(some: list[str], others: list[str]) -> None:
    texts = TextSet()
    for text in some:
        texts.add(text)
    new = texts.add_all(others)
    known = set(some)
    for text, is_new in zip(others, new.tolist(), strict=True):
        assert is_new is (text not in known)
        known.add(text)
    assert all(text in texts for text in known)
    assert "none of them" not in texts


def test_many_texts_take_few_bytes_each() -> None:
    texts = TextSet()
    tracemalloc.start()
    for start in range(0, 200_000, 50_000):
        texts.add_all([f"/archive/{n:08d}.png" for n in range(start, start + 50_000)])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 24 * 200_000
