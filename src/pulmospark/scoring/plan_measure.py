"""What a plan is made from: short predictions of three sizes on Spark, in rounds, timed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pulmospark.core import limits
from pulmospark.core.errors import InputError
from pulmospark.core.progress import Progress
from pulmospark.layouts.base import ListingNotes
from pulmospark.scoring.plan_costs import Job, Round
from pulmospark.scoring.plan_films import Sample, folder_of, laid_out, read_again_s
from pulmospark.scoring.plan_prepare import Prepared
from pulmospark.scoring.predict import plan_predict
from pulmospark.scoring.predict_export import Tally, export_predictions
from pulmospark.scoring.predict_inputs import NO_LAYOUT, list_inputs, resolve_inputs
from pulmospark.scoring.predict_result import PredictResult
from pulmospark.spark.chunks import parts_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_FIRST_FILMS = 4
"""films of a chunk in the first job, from which the size of the others follows"""
_ROUNDS_WANTED = 8
_NOISE = 0.1
_REHEARSED = 2048
"""films that the driver's part is timed on: a fifth of a second"""
_IMPORTS = "import pulmospark.scoring.predict, pulmospark.spark.session"


@dataclass(frozen=True)
class Measured:
    """All that was timed; seconds."""

    rounds: tuple[Round, ...]
    slots: int
    prepare_s: float
    """to make the network ready, the check of a lower precision within"""
    first_s: float
    """that the first job took longer than later ones: workers start and open the network"""
    film_extra_s: float
    """that reading a film took longer where it lies than in the measurement"""
    films_run: int


def import_seconds() -> float:
    """Seconds that a fresh Python takes to import what a prediction needs."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-c", _IMPORTS], check=True, capture_output=True)
    return time.perf_counter() - begun


def measure(bench: Bench, until: float, progress: Progress) -> Measured:
    """Run rounds of predictions until a time is reached, three rounds at least.

    A round is three jobs: a chunk a slot, one three times as long, and four half as long, so
    that what a job, a chunk and a film cost can be told apart; and the driver's listing and
    writing, on more films.

    Args:
        bench: where.
        until: ``time.monotonic()`` at which no further round is begun.
        progress: counts seconds.

    Raises:
        InputError: none of the films could be read.
    """
    begun = time.monotonic()
    first = bench.run(_FIRST_FILMS, 1)
    warm_s = bench.run(_FIRST_FILMS, 1).seconds["score"]
    longer_s = bench.run(_FIRST_FILMS * 5, 1).seconds["score"]
    # The difference leaves out what a job costs; noise may turn it to nothing.
    film_s, average_s = (longer_s - warm_s) / (_FIRST_FILMS * 4), longer_s / (_FIRST_FILMS * 5)
    film_s = film_s if film_s > _NOISE * average_s else average_s
    left = max(until - time.monotonic(), 1.0)
    films = int(left / _ROUNDS_WANTED / (6 * film_s))
    films = min(max(films - films % 2, 2), max(bench.sample.chunk_films // 3, 2))
    paths = bench.laid_out(_REHEARSED)
    rounds: list[Round] = []
    while len(rounds) < limits.PLAN_ROUNDS_MAX:
        if len(rounds) >= limits.PLAN_ROUNDS_MIN and time.monotonic() >= until:
            break
        rounds.append(_one_round(bench, films))
        progress.to(int(time.monotonic() - begun))
    again_s = read_again_s(paths[: len(bench.sample.films)])
    return Measured(
        rounds=tuple(rounds),
        slots=bench.slots,
        prepare_s=bench.prepared.seconds,
        first_s=max(first.seconds["score"] - warm_s, 0.0),
        film_extra_s=max(bench.sample.read_s - again_s, 0.0),
        films_run=bench.films_run,
    )


@dataclass
class Bench:
    """Where jobs of any size are run."""

    spark: SparkSession
    bundle: Path
    sample: Sample
    folder: Path
    """seen by the executors"""
    slots: int
    prepared: Prepared
    films_run: int = 0
    last: Path | None = None
    """output of the last job"""

    def laid_out(self, count: int) -> list[Path]:
        """The films of a folder of so many; made once."""
        return laid_out(self.sample, self.folder, count)

    def run(self, chunk_films: int, chunks_each: int) -> PredictResult:
        """A prediction with so many chunks a slot."""
        count = chunk_films * chunks_each * self.slots
        self.laid_out(count)
        target = self.folder / "out"
        plan = plan_predict(
            self.bundle, [str(folder_of(self.folder, count))], target, layout=NO_LAYOUT
        )
        found = (self.prepared.scorer, self.prepared.outcome)
        plan = replace(plan, chunk_files=chunk_films, prepared=found)
        result = plan.run(self.spark, quiet=True)
        if not result.images:
            raise InputError(
                f"{self.sample.origin}: none of them could be read "
                f"({', '.join(result.rejects_by_reason)}): name others with --films-from"
            )
        self.films_run += count
        self.last = target
        return result

    def job(self, chunk_films: int, chunks_each: int) -> Job:
        """The same, as what the model of costs is fitted to."""
        result = self.run(chunk_films, chunks_each)
        return Job(result.files, chunks_each * self.slots, result.seconds["score"])


def _one_round(bench: Bench, films: int) -> Round:
    jobs = (bench.job(films, 1), bench.job(3 * films, 1), bench.job(films // 2, 4))
    return Round(jobs, _listing_s(bench), _writing_s(bench))


def _listing_s(bench: Bench) -> float:
    folder = folder_of(bench.folder, _REHEARSED)
    begun = time.perf_counter()
    inputs = resolve_inputs([str(folder)], NO_LAYOUT)
    seen = list_inputs(inputs, bench.folder / "manifest.parquet", ListingNotes())
    return (time.perf_counter() - begun) / seen


def _writing_s(bench: Bench) -> float:
    """Seconds a film to write the CSV, which is nearly all that publishing takes."""
    if bench.last is None:
        raise ValueError("no job was run")
    parts: Sequence[Path] = parts_of(bench.last / "predictions")
    films = str(folder_of(bench.folder, _REHEARSED))
    plan = plan_predict(bench.bundle, [films], bench.last, layout=NO_LAYOUT)
    distance = plan.bundle.config.distance
    tally = Tally()
    begun = time.perf_counter()
    while tally.images < _REHEARSED:
        export_predictions(
            parts,
            bench.folder / "rehearsed.csv",
            plan.bundle.config.classes,
            plan.points,
            tally=tally,
            fence=None if distance is None else distance.fence,
        )
    return (time.perf_counter() - begun) / tally.images
