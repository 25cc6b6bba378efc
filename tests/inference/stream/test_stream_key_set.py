"""A set of numbers does as Python's own does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulmospark.inference.stream import key_set
from pulmospark.inference.stream.key_set import KeySet

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
