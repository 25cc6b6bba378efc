"""What a prediction costs, as a sum of few terms, and how that grows with films and cores.

The time of a prediction over N films, cut into K equal chunks, on S slots is

    start + job + makespan(K, S) x (chunk + film x N / K) + N x (list + write)

where the makespan counts the chunks of the busiest slot, ``chunk`` and ``film`` are seconds of
one slot, and listing and writing are done by the driver alone. Each round of measurements gives
all terms by itself, so the estimate made from each round is one more observation of it, and
their scatter is the error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import ConfigDict
from scipy.optimize import nnls
from scipy.stats import t as student

from pulmospark.core.records import Record

CONFIDENCE = 0.95


class Range(Record):
    """A value with the interval it is expected in; without one where it was measured once."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Job:
    """One job that was timed."""

    films: int
    chunks: int
    """of equal length, a multiple of the slots"""
    seconds: float


@dataclass(frozen=True)
class Round:
    """Jobs of at least three sizes and the driver's part, timed one after the other."""

    jobs: tuple[Job, ...]
    list_s: float
    """seconds a film to list"""
    write_s: float
    """seconds a film to write what was found"""

    @property
    def seconds(self) -> float:
        """Of its jobs."""
        return sum(job.seconds for job in self.jobs)


@dataclass(frozen=True)
class Costs:
    """The terms of the sum; seconds."""

    job: float
    """once a job"""
    chunk: float
    """of a slot, once a chunk"""
    film: float
    """of a slot, once a film"""
    list_film: float
    """of the driver, once a film"""
    write_film: float
    """of the driver, once a film"""


@dataclass(frozen=True)
class Shape:
    """A prediction that is to be estimated."""

    films: int
    slots: int
    chunk_films: int


def costs_of(measured: Round, slots: int, *, film_extra: float = 0.0) -> Costs:
    """The terms that fit a round best, by least squares.

    They are not held at 0 or above: that would be a bias, and a small term that noise has
    turned negative is made up for by the others. But where noise is so loud that a film or a
    chunk comes out as costing nothing or less, the sum would foretell a time below 0 for many
    films: then the terms are held.

    Args:
        measured: jobs of at least three sizes, for three terms.
        slots: that they ran on.
        film_extra: seconds of a slot that a film costs beyond what was measured.
    """
    # Scaled by its time, so that a long job's noise does not drown a short one.
    terms = [
        (1 / job.seconds, job.chunks / slots / job.seconds, job.films / slots / job.seconds)
        for job in measured.jobs
    ]
    found = np.linalg.lstsq(np.asarray(terms), np.ones(len(terms)), rcond=None)[0]
    _, chunk_s, film_s = (float(value) for value in found)
    lengths = [job.films / job.chunks for job in measured.jobs]
    if film_s <= 0.0 or min(chunk_s + film_s * films for films in lengths) <= 0.0:
        found = nnls(np.asarray(terms), np.ones(len(terms)))[0]
    job_s, chunk_s, film_s = (float(value) for value in found)
    return Costs(job_s, chunk_s, film_s + film_extra, measured.list_s, measured.write_s)


def makespan(shape: Shape, chunk: float, film: float) -> float:
    """Seconds until the last slot has done its last chunk.

    All chunks are full but the last, and a free slot takes the next one.
    """
    full, rest = divmod(shape.films, shape.chunk_films)
    long = chunk + film * shape.chunk_films
    short = chunk + film * rest if rest else 0.0
    rounds, left = divmod(full, shape.slots)
    return rounds * long + (long if left else short)


def seconds_of(costs: Costs, shape: Shape) -> dict[str, float]:
    """The parts of a prediction's time, start-up left out."""
    return {
        "list": costs.list_film * shape.films,
        "score": costs.job + makespan(shape, costs.chunk, costs.film),
        "write": costs.write_film * shape.films,
    }


def expected(values: Sequence[float], lengths: float = 1.0) -> Range:
    """Mean of what the rounds foretell, and in which 95 % interval the outcome is expected.

    The error has two parts: that of the mean of n rounds, and the scatter of the run itself,
    which averages out over its length, though no further than was seen to in n rounds:
    t s sqrt(1/n + 1/min(max(length, 1), n)), with Student's t and the deviation s of the
    rounds. Disturbances that last longer than the measurement are not in it.

    Args:
        values: of the rounds; with fewer than two there is no interval.
        lengths: of the run, in rounds.
    """
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Range(value=mean)
    averaged = min(max(lengths, 1.0), count)
    spread = float(np.std(values, ddof=1)) * math.sqrt(1 / count + 1 / averaged)
    half = float(student.ppf((1 + CONFIDENCE) / 2, count - 1)) * spread
    return Range(value=mean, low=max(mean - half, 0.0), high=mean + half)
