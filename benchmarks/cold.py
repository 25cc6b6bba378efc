"""Whole processes, start-up and all: ``predict`` and ``ingest`` against the least that does it.

Seconds on the wall depend on what else the machine does; those of the processor hardly do.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks import bare
from benchmarks.common import (
    PROCESSES,
    ROOT,
    Options,
    Report,
    data_folder,
    goal,
    python,
    say,
    scratch,
)
from benchmarks.pictures import DIFFERENT, pictures, write_images
from benchmarks.score import benchmark_bundle, link_images
from pulmospark import chunks
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.layouts.manifest import write_manifest
from pulmospark.models.bundle.bundle import read_bundle

IMAGES = (1, 64, 2000, 20_000)
OF_BARE = {64: 0.7, 2000: 0.9, 20_000: 0.95}
ONE_IMAGE_S, ONE_IMAGE_MIB, INGEST_64_S, OF_EQUAL_WORK = 0.6, 250, 2.0, 0.95
_SAMPLE_S = 0.1
_DIFFERENT_FILES = 20_000
_COMMAND = "from pulmospark.cli.main import main; main()"


@dataclass
class Cost:
    """What a process and its children took."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    """of all of them together, shared pages counted once"""


def cost_of(command: Sequence[str]) -> Cost:
    """Run a process to its end.

    Raises:
        RuntimeError: it failed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    ended = threading.Event()
    peak = [0.0]
    sampler = threading.Thread(target=_sample, args=(process.pid, ended, peak))
    sampler.start()
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = status
    ended.set()
    sampler.join()
    if status:
        raise RuntimeError(f"{' '.join(command)}: {complaint[-2000:].decode(errors='replace')}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, peak[0])


def _sample(pid: int, ended: threading.Event, peak: list[float]) -> None:
    while not ended.wait(_SAMPLE_S):
        total = 0
        try:
            root = psutil.Process(pid)
            for process in (root, *root.children(recursive=True)):
                total += process.memory_full_info().pss
        except (psutil.Error, AttributeError):
            continue
        peak[0] = max(peak[0], total / 2**20)


def measure(options: Options) -> Report:
    """Each program in turn, for each number of images."""
    counts = options.score_images or IMAGES
    made_of = pictures(data_folder(options), count=4 if options.small else DIFFERENT)
    figures: dict[str, Any] = {}
    with scratch(options) as folder:
        pool = write_images(folder / "pool", min(max(counts), _DIFFERENT_FILES), made_of)
        bundle = benchmark_bundle(folder / "bundle", options.models[0])
        spec = prepare_engine(read_bundle(bundle).network(), folder / "engine", size=224)
        cost_of(_predict(folder, bundle, link_images(pool, 1, folder / "images")))  # caches
        for count in counts:
            link_images(pool, count, folder / "images")
            repeats = options.repeats or (1 if count > 5000 else 3)
            for name, run in _programs(folder, bundle, Path(spec.folder), count).items():
                costs = [run() for _ in range(repeats)]
                figures[f"{name}, {count}"] = _median(costs)
                say(f"  {name}, {count}: {figures[f'{name}, {count}']}")
    return _report(figures, counts, made_of.described())


def _programs(
    folder: Path, bundle: Path, engine: Path, count: int
) -> dict[str, Callable[[], Cost]]:
    images = sorted(str(path) for path in (folder / "images").iterdir())
    out = folder / "bare-out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    threads = python(
        "-m", "benchmarks.cold_bare", str(folder / "images"), str(out), str(engine),
        str(PROCESSES),
    )  # fmt: skip
    programs: dict[str, Callable[[], Cost]] = {
        "two threads": partial(cost_of, threads),
        "predict": partial(cost_of, _predict(folder, bundle, images)),
    }
    if 1 < count <= 5000:
        programs["equal work"] = partial(_equal_work, folder)
        programs["ingest"] = partial(_ingest, folder)
    return programs


def _predict(folder: Path, bundle: Path, images: Sequence[Any]) -> list[str]:
    command = python("-c", _COMMAND, "predict", str(bundle))
    if len(images) == 1:
        return [*command, str(images[0]), "--allow-phantom-model"]
    return [
        *command, str(folder / "images"), "--layout", "none", "--out", str(folder / "out"),
        "--precision", "fp32", "--engine", "local", "--allow-phantom-model", "-q",
    ]  # fmt: skip


def _ingest(folder: Path) -> Cost:
    shutil.rmtree(folder / "run", ignore_errors=True)
    images, run = str(folder / "images"), str(folder / "run")
    return cost_of(
        python("-c", _COMMAND, "ingest", images, "--layout", "class_folders", "--out", run, "-q")
    )


def _equal_work(folder: Path) -> Cost:
    parts = folder / "equal"
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir()
    return cost_of(
        python("-c", "from benchmarks.cold import equal_work; equal_work()", str(folder))
    )


def equal_work() -> None:
    """Two plain processes make and write the rows of all images; for a fresh process."""
    import sys

    folder = Path(sys.argv[1])
    manifest = folder / "equal" / "manifest.parquet"
    write_manifest([SourceSettings(path=folder / "images", layout="class_folders")], manifest)
    todo = chunks.evened([manifest], PROCESSES)
    with bare.pool() as workers:
        work = partial(bare.written_rows, size=IngestSettings().size, folder=str(folder / "equal"))
        bare.count(workers, work, todo, 1)


def _median(costs: Sequence[Cost]) -> dict[str, float]:
    return {
        name: round(statistics.median(getattr(cost, name) for cost in costs), 3)
        for name in ("wall_s", "cpu_s", "peak_mib")
    }


def _report(figures: dict[str, Any], counts: Sequence[int], made_of: str) -> Report:
    rows, notes = [], [f"files: {made_of}; fp32 in both, so that the network is the same"]
    for name, cost in figures.items():
        program, _, number = name.rpartition(", ")
        base = {"predict": "two threads", "ingest": "equal work"}.get(program)
        of_base: tuple[str, ...] = ("", "")
        if base is not None and f"{base}, {number}" in figures:
            other = figures[f"{base}, {number}"]
            of_base = tuple(f"{other[key] / cost[key]:.2f}" for key in ("wall_s", "cpu_s"))
        rows.append(
            (
                *(name, f"{cost['wall_s']:.2f}", f"{cost['cpu_s']:.2f}"),
                *(f"{cost['peak_mib']:.0f}", *of_base),
            )
        )
    wall = {name: cost["wall_s"] for name, cost in figures.items()}
    for count in counts:
        if count in OF_BARE:
            ratio = wall[f"two threads, {count}"] / wall[f"predict, {count}"]
            wanted = OF_BARE[count]
            notes.append(goal(f"predict {count}: {wanted} of two threads", ratio >= wanted))
        if count == 1:
            met = wall["predict, 1"] <= ONE_IMAGE_S
            met &= figures["predict, 1"]["peak_mib"] <= ONE_IMAGE_MIB
            notes.append(goal(f"one image: {ONE_IMAGE_S} s, {ONE_IMAGE_MIB} MiB", met))
        if count == 64:
            notes.append(goal(f"ingest 64: {INGEST_64_S} s", wall["ingest, 64"] <= INGEST_64_S))
        if count == 2000:
            ratio = wall["equal work, 2000"] / wall["ingest, 2000"]
            notes.append(goal(f"ingest: {OF_EQUAL_WORK} of equal work", ratio >= OF_EQUAL_WORK))
    return Report(
        name="cold",
        title="Whole processes, start-up and all",
        head=("program, images", "wall s", "CPU s", "MiB", "of its base", "by CPU"),
        rows=rows,
        notes=notes,
        figures=figures,
    )
