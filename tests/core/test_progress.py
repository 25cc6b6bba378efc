"""Lines of progress in a log."""

from __future__ import annotations

import io

from pulmospark.core.progress import Progress


def _told(total: int, done: int) -> str:
    log = io.StringIO()
    with Progress("predict", total, "films", stream=log) as progress:
        progress.to(done)
    return log.getvalue()


def test_how_many_of_how_many_and_how_fast() -> None:
    line = _told(10, 4)
    assert line.startswith("predict: 4 of 10 films, ")
    assert "/s, " in line


def test_a_total_that_is_not_known_is_left_out() -> None:
    assert _told(0, 4).startswith("predict: 4 films, ")
