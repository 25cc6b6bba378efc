"""Lines of progress in a log: how many, how fast, and how long it will take."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pytest

from pulmospark.core.formatting import duration
from pulmospark.core.progress import Progress


def _told(total: int, done: int) -> str:
    log = io.StringIO()
    with Progress("predict", total, "images", stream=log) as progress:
        progress.to(done)
    return log.getvalue()


def test_how_many_of_how_many_and_how_fast() -> None:
    line = _told(10, 4)
    assert line.startswith("predict: 4 of 10 images, ")
    assert "/s, " in line


def test_a_total_that_is_not_known_is_left_out() -> None:
    assert _told(0, 4).startswith("predict: 4 images, ")


def _lines(
    monkeypatch: pytest.MonkeyPatch, total: int, counts: Iterable[tuple[float, int]]
) -> list[str]:
    """What a log says of counts at given seconds."""
    clock = [0.0]
    monkeypatch.setattr("pulmospark.core.progress.time.monotonic", lambda: clock[-1])
    log = io.StringIO()
    with Progress("predict", total, "images", stream=log) as progress:
        for second, done in counts:
            clock.append(second)
            progress.to(done)
    return log.getvalue().splitlines()


def test_the_first_chunks_give_a_time_left_without_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nine seconds of start, then chunks of 100 images, one each second."""
    waiting = [(float(at), 0) for at in range(9)]
    working = [(9.0 + chunk, 100 * chunk) for chunk in range(1, 6)]
    lines = _lines(monkeypatch, 30_500, waiting + working)
    assert lines[0] == "predict: 100 of 30,500 images"  # one count is no rate yet
    assert lines[1].startswith("predict: 500 of 30,500 images, 35.7/s, 14.0 s")
    later = [(9.0 + chunk, 100 * chunk) for chunk in range(1, 13)]
    lines = _lines(monkeypatch, 30_500, waiting + later)
    assert lines[1] == "predict: 1,100 of 30,500 images, 100.0/s, 4 min 54 s left"


def test_what_an_earlier_run_has_left_is_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million are there at once; then ten a second."""
    counts = [(1.0 + second, 1_000_000 + 10 * second) for second in range(12)]
    lines = _lines(monkeypatch, 1_000_200, counts)
    assert lines[0] == "predict: 1,000,090 of 1,000,200 images, 10.0/s, 11 s left"


def test_a_slower_minute_gives_a_longer_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred a second for two minutes, then one."""
    fast = [(float(second), 100 * second) for second in range(1, 121)]
    slow = [(120.0 + second, 12_000 + second) for second in range(1, 71)]
    line = _lines(monkeypatch, 13_000, fast + slow)[-2]
    assert line.endswith(", 1.0/s, 15 min 30 s left")


def test_a_standstill_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    working = [(float(second), 100 * second) for second in range(1, 5)]
    still = [(float(second), 400) for second in range(5, 32)]
    assert "10.3/s, 58 s left" in _lines(monkeypatch, 1000, working + still)[-2]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.001, "under 0.01 s"),
        (0.42, "0.42 s"),
        (38.4, "38 s"),
        (59.6, "1 min 00 s"),
        (245, "4 min 05 s"),
        (7620, "2 h 07 min"),
    ],
)
def test_a_time_that_a_reader_can_take_in(seconds: float, text: str) -> None:
    assert duration(seconds) == text
