"""Files fetched ahead: the same as one by one, in groups that are bounded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pulmospark.core import limits
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging import read_ahead
from pulmospark.imaging.decode import Rejected


def _row(path: Path, size: int, problem: str | None = None) -> dict[str, Any]:
    return {"uri": str(path), "size_bytes": size, "problem": problem}


def test_files_come_in_order_with_their_bytes_or_why_not(tmp_path: Path) -> None:
    rows = []
    for number in range(2 * limits.FETCH_FILES + 3):
        path = tmp_path / f"{number}"
        path.write_bytes(b"%d" % number)
        rows.append(_row(path, 3))
    rows[5] = _row(tmp_path / "gone", 9)
    rows[7] = _row(tmp_path / "7", 9, "empty")

    one_by_one, ahead = list(read_ahead.fetch(rows)), list(read_ahead.fetch_ahead(rows))

    assert [row for row, _ in ahead] == rows
    assert ahead == one_by_one
    gone = ahead[5][1]
    assert isinstance(gone, Rejected)
    assert gone.reason is RejectReason.VANISHED
    assert ahead[7][1] is None
    assert ahead[-1][1] == b"%d" % (len(rows) - 1)


@given(sizes=st.lists(st.integers(0, 3 * limits.FETCH_BYTES), max_size=80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_group_is_larger_than_allowed_but_for_one_file(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[list[int]] = []

    def count(items: Iterator[list[Any]], _: int) -> Iterator[list[Any]]:
        for group in items:
            groups.append([row["size_bytes"] for row, _ in group])
            yield group

    monkeypatch.setattr(read_ahead, "ahead", count)
    rows = [_row(Path("gone"), size, "empty") for size in sizes]
    assert [row for row, _ in read_ahead.fetch_ahead(rows)] == rows

    assert [size for group in groups for size in group] == sizes
    assert all(len(group) <= limits.FETCH_FILES for group in groups)
    assert all(sum(group) <= limits.FETCH_BYTES for group in groups if len(group) > 1)
    pairs = itertools.pairwise(groups)
    for group, later in pairs:  # none ends before it must
        assert len(group) == limits.FETCH_FILES or sum(group) + later[0] > limits.FETCH_BYTES
