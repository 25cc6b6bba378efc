"""Seconds and cost of scoring by images and slots, on this machine or on a cluster.

Generates phantoms in a folder or a bucket, scores them with ``predict``, Daft and Ray Data, each a
whole process, and fits ``seconds = a + b x images / slots`` for each: ``a`` is the start-up, ``b``
the seconds of one slot for one image. On this machine a program gets as many cores as slots.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.cold import Cost, command_of, cost_of
from benchmarks.common import Options, Report, say, scratch
from benchmarks.lean import Job, store
from benchmarks.peers import PEERS, missing, rows_of
from benchmarks.pictures import DIFFERENT, Pictures, pictures, write_images
from benchmarks.score import benchmark_bundle, link_images
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.models.bundle.bundle import read_bundle

IMAGES = (250, 1000)
"""by default: with one and two slots, four sizes of the fit in about four minutes"""
EXTRAPOLATED = 1_000_000
"""images of the extrapolation"""
PROGRAMS = ("predict", "predict_spark", "daft_paths", "ray_paths")
DIFFERENT_FILES = 2000
"""beyond so many, files of a folder are further names (hard links) of these"""
_DRAWS, _SEED, _LEVEL = 2000, 1, 0.95
_HEAD = ("program", "nodes", "slots", "images", "s", "CPU s", "images/s", "cost")


class Run(NamedTuple):
    """One measured run."""

    program: str
    slots: int
    images: int
    seconds: float


class Fit(NamedTuple):
    """``seconds = start + each x images / slots``, and the prediction at another size."""

    start: float
    each: float
    predicted: float
    low: float
    high: float
    """of the 95 % prediction interval, from a bootstrap of the residuals"""
    held_out: float | None
    """relative error of the runs with most images, predicted from the others"""


def fit(runs: Sequence[Run], images: int, slots: int) -> Fit:
    """Fit the runs of one program, and extrapolate.

    Args:
        runs: at least three, of two sizes or more.
        images: of the extrapolation.
        slots: of the extrapolation.

    Raises:
        ValueError: too few runs, or all of one size.
    """
    load = np.array([run.images / run.slots for run in runs])
    seconds = np.array([run.seconds for run in runs])
    if len(runs) < 3 or np.ptp(load) == 0:
        raise ValueError(f"{len(runs)} runs: a fit takes three, of different images or slots")
    start, each = _line(load, seconds)
    at = images / slots
    fitted = start + each * load
    # Two parameters take two degrees of freedom from the residuals.
    residuals = (seconds - fitted) * math.sqrt(len(runs) / (len(runs) - 2))
    rng = np.random.default_rng(_SEED)
    draws = []
    for _ in range(_DRAWS):
        a, b = _line(load, fitted + rng.choice(residuals, len(runs)))
        draws.append(a + b * at + rng.choice(residuals))
    low, high = np.quantile(draws, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    most = max(run.images for run in runs)
    fewer = np.array([run.images < most for run in runs])
    held_out = None
    if np.ptp(load[fewer]) > 0:
        a, b = _line(load[fewer], seconds[fewer])
        held_out = float(np.max(np.abs(a + b * load[~fewer] - seconds[~fewer]) / seconds[~fewer]))
    return Fit(start, each, start + each * at, float(low), float(high), held_out)


def _line(x: Any, y: Any) -> tuple[float, float]:
    (start, each), *_ = np.linalg.lstsq(np.column_stack([np.ones_like(x), x]), y, rcond=None)
    return float(start), float(each)


def measure(options: Options) -> Report:
    """Every program at each number of images and slots."""
    counts = options.score_images or IMAGES
    made_of = pictures(None, count=4 if options.small else DIFFERENT)
    names = [name for name in PROGRAMS if not missing(PEERS[name])]
    if options.master is not None or options.ray is not None:  # what reaches the other machines
        names = ["predict_spark"] if options.master is not None else []
        names += ["daft_paths", "ray_paths"] if options.ray is not None else []
    runs: list[Run] = []
    costs: list[Cost] = []
    with scratch(options) as folder:
        bundle = benchmark_bundle(folder / "bundle", options.models[0])
        spec = prepare_engine(read_bundle(bundle).network(), folder / "engine", size=224)
        base = Job("", str(folder / "out"), spec.folder, "fp32", str(bundle))
        for count in counts:
            images = generate(options.at or str(folder), count, made_of)
            for slots in options.slots:
                job = replace(base, images=images, slots=slots, address=options.ray)
                if not runs:  # compiles and keeps the network, which is no program's start-up
                    for name in names:
                        _run(name, job, count, options)
                for name in names:
                    costs.append(_run(name, job, count, options))
                    runs.append(Run(PEERS[name].title, slots, count, costs[-1].wall_s))
                    say(f"  {' | '.join(_row(runs[-1], costs[-1], options))}")
            for note in _notes(runs, options)[0]:  # what is known, should it be stopped
                say(f"  {note}")
    return _report(runs, costs, made_of.described(), options)


def generate(at: str, count: int, made_of: Pictures) -> str:
    """So many phantoms in a folder of their own; its path or address.

    Args:
        at: folder or address of a bucket in which it lies.
        count: files.
        made_of: what is in them.
    """
    images = f"{at.rstrip('/')}/images-{count}"
    if "://" in at:
        bucket = store(images)
        for number in range(count):
            bucket.put(f"image-{number:07d}.jpg", made_of.file(number))
        return images
    pool = Path(at, f"pool-{count}")
    shutil.rmtree(pool, ignore_errors=True)
    link_images(write_images(pool, min(count, DIFFERENT_FILES), made_of), count, Path(images))
    shutil.rmtree(pool)
    return images


def _run(name: str, job: Job, count: int, options: Options) -> Cost:
    shutil.rmtree(job.out, ignore_errors=True)
    Path(job.out).mkdir()
    command = command_of(name, job, master=options.master)
    if options.master is not None and name == "predict_spark":
        command += ["--conf", f"spark.cores.max={job.slots}"]
    elif options.master is None and options.ray is None:
        command = ["taskset", "--cpu-list", f"0-{job.slots - 1}", *command]
    cost = cost_of(command)
    if (rows := rows_of(name, job)) != count:
        raise RuntimeError(f"{name}: {rows} of {count} images are in the table")
    return cost


def _report(runs: list[Run], costs: list[Cost], images: str, options: Options) -> Report:
    rows = [_row(run, cost, options) for run, cost in zip(runs, costs, strict=True)]
    notes, fits = _notes(runs, options)
    return Report(
        name="scale",
        title=f"Scoring by images and slots; {images}",
        head=_HEAD,
        rows=rows,
        notes=notes,
        figures={
            "runs": [run._asdict() for run in runs],
            "costs": [asdict(cost) for cost in costs],
            "fits": {program: each._asdict() for program, each in fits.items()},
        },
    )


def _row(run: Run, cost: Cost, options: Options) -> tuple[str, ...]:
    return (
        *(run.program, f"{_nodes(run.slots, options)}", f"{run.slots}", f"{run.images}"),
        *(f"{run.seconds:.1f}", f"{cost.cpu_s:.1f}", f"{run.images / run.seconds:.0f}"),
        _price(run.slots, run.seconds, options),
    )


def _notes(runs: Sequence[Run], options: Options) -> tuple[list[str], dict[str, Fit]]:
    """The extrapolation of each program, and the fit behind it if its runs suffice for one."""
    most = max(options.slots)
    notes, fits = [], {}
    for program in dict.fromkeys(run.program for run in runs):
        own = [run for run in runs if run.program == program]
        if len(own) < 3 or len({run.images / run.slots for run in own}) == 1:
            notes.append(f"{program}: {len(own)} runs are too few for a fit")
            continue
        fits[program] = told = fit(own, EXTRAPOLATED, most)
        error = "" if told.held_out is None else f", held-out error {told.held_out:.0%}"
        notes.append(
            f"{program}: {told.start:.1f} s + {1000 * told.each:.2f} ms x images / slots{error}; "
            f"{EXTRAPOLATED:,} images on {most} slots: {told.predicted:,.0f} s "
            f"(95% interval {told.low:,.0f} to {told.high:,.0f}), cost "
            f"{_price(most, told.predicted, options)}"
        )
    return notes, fits


def _nodes(slots: int, options: Options) -> int:
    return math.ceil(options.nodes * slots / max(options.slots))


def _price(slots: int, seconds: float, options: Options) -> str:
    if options.price_per_hour is None:
        return "-"
    return f"{_nodes(slots, options) * seconds / 3600 * options.price_per_hour:.4f}"
