"""Plan: how long a prediction over many films will take, and in how much memory.

Nothing is assumed about the machine: a bundle (or an untrained network of the same kind)
scores the user's films on Spark for a minute, and the costs found are added up for the
number of films and slots that were asked for.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import ConfigDict

from pulmospark.core import limits, machine
from pulmospark.core.errors import UsageError
from pulmospark.core.files import disk_errors
from pulmospark.core.progress import Progress
from pulmospark.core.records import Record
from pulmospark.core.scoring_settings import PrecisionPolicy
from pulmospark.models import zoo
from pulmospark.models.bundle import Bundle, BundleConfig, CardFacts, read_bundle, write_bundle
from pulmospark.scoring.plan_costs import Range, Shape, costs_of, expected, seconds_of
from pulmospark.scoring.plan_films import Sample, folder_of, laid_out, sample_films
from pulmospark.scoring.plan_measure import Bench, Measured, import_seconds, measure
from pulmospark.scoring.plan_memory import MemoryWatch
from pulmospark.scoring.plan_prepare import Prepared, prepare, prepare_untrained
from pulmospark.scoring.precision import PrecisionOutcome
from pulmospark.spark.session import slots, spark_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SECONDS = 60.0
"""that the measurement takes, unless told otherwise"""

_CLASSES = ("COVID-19", "normal", "pneumonia")
_MIB = 1024**2
_OVERHEAD_MARGIN = 1.25
_OVERHEAD_STEP_MIB = 256


class PlanMemory(Record):
    """Highest resident memory that was seen, bytes; ``None``: the process ran elsewhere.

    It does not grow with the number of films: a task holds a film at a time and a chunk's
    standard images, the driver a chunk's rows.
    """

    model_config = ConfigDict(frozen=True)

    driver: int | None
    """Python"""
    jvm: int | None
    """of the driver; on a local master it is the executor's as well"""
    worker: int | None
    """the largest of the Python workers, of which each slot has one"""
    executor_overhead_mib: int | None
    """``spark.executor.memoryOverhead``: an executor's workers and a quarter more"""


class PlanBasis(Record):
    """What the estimate rests on."""

    model_config = ConfigDict(frozen=True)

    model: str
    """the network's name in the zoo"""
    trained: bool
    """whether a bundle was given; an untrained network takes as long in the same precision"""
    precision: PrecisionOutcome
    """in which it was measured, and why"""
    films: str
    """what was scored"""
    film_bytes: float
    """of a file, mean"""
    slots: int
    """tasks at once in the measurement"""
    rounds: int
    films_scored: int
    seconds: float
    """that the measurement took"""


class Estimate(Record):
    """Time with its error."""

    model_config = ConfigDict(frozen=True)

    total: Range
    """seconds from the command to the published table"""
    seconds: dict[str, Range]
    """of ``python``, ``spark``, ``prepare``, ``first``, ``list``, ``score`` and ``write``"""
    films_per_second: Range
    """start-up left out"""


class PlanResult(Record):
    """What a plan foretells."""

    model_config = ConfigDict(frozen=True)

    films: int
    executors: int
    cores: int
    """of each executor"""
    estimate: Estimate
    memory: PlanMemory
    basis: PlanBasis
    notes: tuple[str, ...]
    """what the interval leaves out"""


@dataclass(frozen=True)
class PlanRequest:
    """What is to be estimated, and on what.

    Raises:
        UsageError: a number is below 1.
    """

    films: int
    executors: int
    cores: int
    bundle: Path | None = None
    model: str = "mobilenet_v2"
    """network of the zoo where there is no bundle; untrained"""
    precision: PrecisionPolicy = "auto"
    """of the network's arithmetic; without a bundle it is not checked, and ``auto`` is fp32"""
    films_from: Path | None = None
    """folder to draw films from; ``None``: phantoms"""
    seconds: float = SECONDS
    work: Path | None = None
    """folder that all executors see; ``None``: the machine's temporary one"""

    def __post_init__(self) -> None:
        for name in ("films", "executors", "cores"):
            if (value := getattr(self, name)) < 1:
                raise UsageError(f"--{name} {value}: give 1 or more")
        if self.seconds <= 0:
            raise UsageError(f"--seconds {self.seconds}: give more than 0")

    @property
    def slots(self) -> int:
        """Tasks that run at once."""
        return self.executors * self.cores


def plan_scoring(
    request: PlanRequest,
    *,
    master: str | None = None,
    conf: Mapping[str, str] | None = None,
    quiet: bool = False,
) -> PlanResult:
    """Measure for about ``request.seconds``, and estimate.

    Args:
        request: what is asked.
        master: of the session to measure on; ``None``: this machine, with as many slots as an
            executor is to have cores, at most as many as the machine has.
        conf: settings of Spark's.
        quiet: show no progress.

    Raises:
        UsageError: a number or the network is wrong.
        BundleError: the bundle is missing or damaged.
        InputError: there is no film, or none could be read.
        EnvironmentProblem: Spark does not start, or there is no space.
    """
    begun = time.monotonic()
    with _scratch(request.work) as folder:
        sample = sample_films(request.films_from, folder)
        bundle = request.bundle or _untrained(request.model, folder / "bundle")
        read = read_bundle(bundle)
        python_s = import_seconds()
        if master is None and "SPARK_REMOTE" not in os.environ:
            master = f"local[{min(request.cores, machine.cores())}]"
        with (
            Progress("measure", int(request.seconds), "s", quiet=quiet) as progress,
            MemoryWatch() as memory,
        ):
            before = time.monotonic()
            with spark_session(master, conf) as spark:
                spark_s = time.monotonic() - before
                ready = _ready(request, read, sample, folder, spark)
                bench = Bench(spark, bundle, sample, folder, slots(spark), ready)
                found = measure(bench, begun + request.seconds, progress)
        basis = PlanBasis(
            model=read.config.model,
            trained=request.bundle is not None,
            precision=ready.outcome,
            films=sample.origin,
            film_bytes=sample.mean_bytes,
            slots=found.slots,
            rounds=len(found.rounds),
            films_scored=found.films_run,
            seconds=time.monotonic() - begun,
        )
    once = {
        "python": python_s,
        "spark": spark_s,
        "prepare": found.prepare_s,
        "first": found.first_s,
    }
    shape = Shape(request.films, request.slots, sample.chunk_films)
    return PlanResult(
        films=request.films,
        executors=request.executors,
        cores=request.cores,
        estimate=estimate(found, shape, once),
        memory=_memory(memory, request.cores),
        basis=basis,
        notes=tuple(_notes(request, found, ready.outcome)),
    )


def _ready(
    request: PlanRequest, bundle: Bundle, sample: Sample, folder: Path, spark: SparkSession
) -> Prepared:
    if request.bundle is None:
        return prepare_untrained(bundle, request.precision, folder, spark)
    laid_out(sample, folder, limits.PARITY_FILMS)
    films = folder_of(folder, limits.PARITY_FILMS)
    return prepare(bundle, request.precision, request.films, films, spark=spark)


@contextlib.contextmanager
def _scratch(work: Path | None) -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        if work is not None:
            stack.enter_context(disk_errors(work))
            work.mkdir(parents=True, exist_ok=True)
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="pulmospark-", dir=work))
        yield Path(name).resolve()


def _untrained(model: str, folder: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = zoo.build(model, len(_CLASSES))
    config = BundleConfig.for_network(
        network,
        classes=_CLASSES,
        input_size=zoo.entry(model).input_size,
        fit="stretch",
        method="network",
    )
    write_bundle(folder, network, config, {}, CardFacts(name="untrained"))
    return folder


def estimate(found: Measured, shape: Shape, once: Mapping[str, float]) -> Estimate:
    """Add up what was measured.

    Args:
        found: the measurement.
        shape: of the run.
        once: what is done once, in seconds.
    """
    parts = [
        seconds_of(costs_of(one, found.slots, film_extra=found.film_extra_s), shape)
        for one in found.rounds
    ]
    sums = [sum(one.values()) for one in parts]
    length = sum(sums) / sum(one.seconds for one in found.rounds)
    running = expected(sums, length)
    start_s = sum(once.values())
    return Estimate(
        total=expected([start_s + one for one in sums], length),
        seconds={
            **{name: Range(value=value) for name, value in once.items()},
            **{name: expected([one[name] for one in parts], length) for name in parts[0]},
        },
        films_per_second=_speed(shape.films, running),
    )


def _speed(films: int, seconds: Range) -> Range:
    return Range(
        value=films / seconds.value,
        low=films / seconds.high if seconds.high else None,
        high=films / seconds.low if seconds.low else None,
    )


def _memory(seen: MemoryWatch, cores: int) -> PlanMemory:
    worker = seen.peak("worker")
    overhead = None
    if worker is not None:
        wanted = worker * cores * _OVERHEAD_MARGIN / _MIB
        overhead = _OVERHEAD_STEP_MIB * -(-int(wanted) // _OVERHEAD_STEP_MIB)
    return PlanMemory(
        driver=seen.peak("driver"),
        jvm=seen.peak("jvm"),
        worker=worker,
        executor_overhead_mib=overhead,
    )


def _notes(request: PlanRequest, found: Measured, precision: PrecisionOutcome) -> Iterator[str]:
    yield precision.line()
    if request.bundle is None and precision.used == "fp32" != request.precision:
        yield (
            "a trained network may earn a lower precision, and be several times faster: name it "
            "with --bundle, or measure with --precision bf16"
        )
    yield (
        "the interval is the scatter of the rounds; start-up was measured once and has no "
        "interval of its own"
    )
    if request.slots != found.slots:
        yield (
            f"measured on {found.slots} slots and reckoned for {request.slots}: that cores, disks "
            "and network there are as fast as here is not in the interval"
        )
    if request.films_from is None:
        yield "measured on phantoms: your own films may be larger; name them with --films-from"
    elif found.film_extra_s == 0:
        yield "the films were read as fast as from memory: a cold disk may be slower"
