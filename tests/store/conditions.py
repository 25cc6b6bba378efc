"""What conditional writes of a store are for, on whatever server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from pulmospark.store.failures import ConflictError
from pulmospark.store.store import Store


def check_only_one_creates(opened: Store) -> None:
    """Of many writers at once one creates an object, whose content is its own."""

    def create(number: int) -> bool:
        try:
            opened.put_new("commit", str(number).encode())
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(create, range(40)))
    assert sum(created) == 1
    assert opened.get("commit") == str(created.index(True)).encode()


def check_a_change_is_noticed(opened: Store) -> None:
    """Who read an object before it was changed cannot replace it."""
    first = opened.put("pointer", b"1") or ""
    opened.put_if("pointer", b"2", first)
    with pytest.raises(ConflictError):
        opened.put_if("pointer", b"3", first)
    assert opened.get("pointer") == b"2"
