"""What a plan reckons with: the terms are found again, and the schedule is the real one."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulmospark.scoring.plan_costs import (
    Job,
    Round,
    Shape,
    costs_of,
    expected,
    makespan,
    seconds_of,
)

seconds = st.floats(1e-4, 10.0)


def _round(job: float, chunk: float, film: float, slots: int, films: int) -> Round:
    jobs = [
        Job(each * k * slots, k * slots, job + k * chunk + k * each * film)
        for each, k in ((films, 1), (3 * films, 1), (films // 2, 4))
    ]
    return Round(tuple(jobs), 0.001, 0.002)


@given(seconds, seconds, seconds, st.integers(1, 64), st.integers(2, 85))
def test_the_terms_that_made_a_round_are_found(
    job: float, chunk: float, film: float, slots: int, films: int
) -> None:
    found = costs_of(_round(job, chunk, film, slots, films - films % 2), slots, film_extra=0.5)
    told = (found.job, found.chunk, found.film)
    assert told == pytest.approx((job, chunk, film + 0.5), rel=1e-4, abs=1e-6)
    assert (found.list_film, found.write_film) == (0.001, 0.002)


@given(st.integers(1, 3000), st.integers(1, 50), st.integers(1, 256), seconds, seconds)
def test_the_makespan_is_that_of_slots_that_take_the_next_chunk(
    films: int, slots: int, chunk_films: int, chunk: float, film: float
) -> None:
    free = [0.0] * slots
    for start in range(0, films, chunk_films):
        count = min(chunk_films, films - start)
        heapq.heappush(free, heapq.heappop(free) + chunk + film * count)
    assert makespan(Shape(films, slots, chunk_films), chunk, film) == pytest.approx(max(free))


def test_only_scoring_is_shared_among_slots() -> None:
    costs = costs_of(_round(1.0, 0.1, 0.01, 2, 10), 2)
    one = seconds_of(costs, Shape(51_200, 1, 256))
    many = seconds_of(costs, Shape(51_200, 200, 256))
    assert one["score"] == pytest.approx(1 + 200 * (0.1 + 2.56))
    assert many["score"] == pytest.approx(1 + 0.1 + 2.56)
    assert one["list"] == many["list"] == pytest.approx(51.2)
    assert one["write"] == many["write"] == pytest.approx(102.4)


@pytest.mark.parametrize("length", [1.0, 4.0, 1000.0])
def test_the_interval_holds_what_it_says(length: float) -> None:
    # Measured and true run are drawn from one machine: 2,000 plans, each with its run.
    random = np.random.default_rng(3)
    count, plans = 8, 2000
    held = 0
    for _ in range(plans):
        told = expected((10 + random.normal(0, 1, count)).tolist(), length)
        run = 10 + random.normal(0, 1 / np.sqrt(min(length, count)))
        assert told.low is not None
        assert told.high is not None
        held += told.low <= run <= told.high
    assert held / plans == pytest.approx(0.95, abs=0.02)


def test_what_was_measured_once_has_no_interval() -> None:
    assert expected([3.0]).model_dump() == {"value": 3.0, "low": None, "high": None}


@given(
    seconds=st.lists(st.floats(0.01, 100.0), min_size=3, max_size=6),
    films=st.integers(256, 1_000_000),
    slots=st.integers(1, 64),
)
def test_however_loud_the_noise_many_films_take_no_time_below_nothing(
    seconds: list[float], films: int, slots: int
) -> None:
    jobs = tuple(
        Job(films=4 * (number + 1) ** 2, chunks=2 * (number + 1), seconds=told)
        for number, told in enumerate(seconds)
    )
    costs = costs_of(Round(jobs, list_s=0.0, write_s=0.0), slots=2)
    assert makespan(Shape(films, slots, 256), costs.chunk, costs.film) >= 0.0
