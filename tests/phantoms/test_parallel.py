"""Phantoms that several processes draw."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pulmospark.core.errors import PlatformError
from pulmospark.phantoms.parallel import drawn_in_order
from pulmospark.phantoms.write import write_phantoms


def test_several_processes_draw_what_one_draws(tmp_path: Path) -> None:
    one = write_phantoms(tmp_path / "one", seed=5, patients=30)
    three = write_phantoms(tmp_path / "three", seed=5, patients=30, processes=3)
    assert one.hospitals == three.hospitals
    files = sorted(path.relative_to(one.folder) for path in one.folder.rglob("*.*"))
    assert len(files) > 30
    for file in files:
        assert (one.folder / file).read_bytes() == (three.folder / file).read_bytes()


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_the_order_is_that_of_the_items(processes: int) -> None:
    assert list(drawn_in_order(abs, [3, -2, 1], processes=processes)) == [3, 2, 1]
    assert list(drawn_in_order(abs, [], processes=processes)) == []


def test_a_process_that_is_killed_is_an_error_in_one_line() -> None:
    with pytest.raises(PlatformError, match="ended without an error message"):
        list(drawn_in_order(os._exit, [3, 4], processes=2))


def test_what_is_not_wanted_any_more_is_not_drawn_to_its_end() -> None:
    drawings = drawn_in_order(abs, range(10**6), processes=2)
    assert next(drawings) == 0
    drawings.close()
