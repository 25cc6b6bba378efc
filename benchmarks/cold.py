"""Whole processes, start-up and all: ``predict`` and ``ingest`` against the least that does it.

With ``--peers``, ``predict`` alone, and also against other frameworks and on Spark.

Seconds on the wall depend on what else the machine does; those of the processor hardly do.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
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
from benchmarks.lean import Job
from benchmarks.peers import PEERS, missing, native_precision, rows_of
from benchmarks.pictures import DIFFERENT, pictures, write_images
from benchmarks.score import benchmark_bundle, link_images
from pulmospark import chunks
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.core import limits, machine
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.layouts.manifest import write_manifest
from pulmospark.models.bundle.bundle import read_bundle

IMAGES = (1, 64, 2000, 20_000)
OF_BARE = {64: 0.7, 2000: 0.9, 20_000: 0.95}
OF_DAFT = 1.2
"""times as fast as Daft, of ``OF_DAFT_FROM`` images"""
OF_DAFT_FROM = 2000
PEERS_OF_ANY = ("two_threads", "predict", "predict_spark", "daft_paths", "ray_paths")
PEERS_OF_FEW = ("loader", "daft_images", "ray_reader", "datasets")
"""those that are compared up to ``MANY`` images"""
AGAIN = f"{PEERS['predict'].title}, its precision checked before"
_OTHERS = {peer.title for peer in PEERS.values() if peer.needs is not None}
"""a run goes on without one of these that fails"""
MANY = 5000
ONE_IMAGE_S, ONE_IMAGE_MIB, INGEST_64_S, OF_EQUAL_WORK = 0.6, 250, 2.0, 0.95
_SAMPLE_S = 0.1
_DIFFERENT_FILES = 2000
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
    with process.stderr as errors:
        complaint = errors.read()
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
    """All programs in turn, round by round, for each number of images."""
    counts = options.score_images or IMAGES
    made_of = pictures(data_folder(options), count=4 if options.small else DIFFERENT)
    figures: dict[str, Any] = {}
    failures: list[str] = []
    with scratch(options) as folder:
        pool = write_images(folder / "pool", min(max(counts), _DIFFERENT_FILES), made_of)
        bundle = benchmark_bundle(folder / "bundle", options.models[0])
        spec = prepare_engine(read_bundle(bundle).network(), folder / "engine", size=224)
        base = Job(
            str(folder / "images"), str(folder / "out"), spec.folder, bundle=str(bundle),
            slots=PROCESSES,
        )  # fmt: skip
        for precision in sorted({native_precision(count) for count in counts}):
            link_images(pool, limits.PARITY_IMAGES_MIN, folder / "images")
            for name in ("predict", "two_threads"):  # they leave compiled networks
                shutil.rmtree(base.out, ignore_errors=True)
                _scored(name, replace(base, precision=precision), limits.PARITY_IMAGES_MIN)
        for count in counts:
            job = replace(base, precision=native_precision(count))
            link_images(pool, count, folder / "images")
            programs = (_peers if options.peers else _programs)(folder, job, count)
            costs: dict[str, list[Cost]] = {name: [] for name in programs}
            for _ in range(options.repeats or (1 if count > MANY else 3)):
                for name, run in programs.items():
                    if name not in costs:
                        continue
                    shutil.rmtree(job.out, ignore_errors=True)
                    os.sync()
                    try:
                        costs[name].append(run())
                    except RuntimeError as error:
                        if name not in _OTHERS:
                            raise
                        reason = str(error).strip().rpartition("\n")[2]
                        failures.append(f"{name}, {count}: failed: {reason}")
                        del costs[name]
                        continue
                    say(f"  {name}, {count}: {costs[name][-1]}")
            figures |= {f"{name}, {count}": _median(each) for name, each in costs.items()}
    lacking = sorted({str(peer.needs) for peer in PEERS.values() if missing(peer)})
    precisions = ", ".join(f"{native_precision(count)} of {count}" for count in counts)
    notes = [f"files: {made_of.described()}; in all programs {precisions}", *failures]
    if lacking:
        notes.append(f"not installed, and not compared: {', '.join(lacking)} (extra bench)")
    return _report(figures, counts, notes)


def _peers(folder: Path, job: Job, count: int) -> dict[str, Callable[[], Cost]]:
    del folder
    names = PEERS_OF_ANY if count > MANY else PEERS_OF_ANY + PEERS_OF_FEW
    return {
        PEERS[name].title: partial(_scored, name, job, count)
        for name in names
        if not missing(PEERS[name])
    } | _again(job, count)


def _again(job: Job, count: int) -> dict[str, Callable[[], Cost]]:
    """The run after another on the same images, which knows the outcome of the precision check."""
    if job.precision == "fp32":
        return {}
    return {AGAIN: partial(_scored, "predict", job, count, remembers=True)}


def _scored(name: str, job: Job, count: int, *, remembers: bool = False) -> Cost:
    Path(job.out).mkdir()
    if not remembers:
        shutil.rmtree(machine.cache_folder() / "precision", ignore_errors=True)
    cost = cost_of(command_of(name, job))
    if (rows := rows_of(name, job)) != count:
        raise RuntimeError(f"{name}: {rows} of {count} images are in the table")
    return cost


def command_of(name: str, job: Job, *, master: str | None = None) -> list[str]:
    """The command that scores a folder with one of ``PEERS``, from its start.

    Args:
        name: of the peer.
        job: what it scores.
        master: of Spark, for ``predict_spark``.
    """
    if name.startswith("predict"):
        spark = ["--engine", "spark", "--master", master or f"local[{job.slots}]"]
        return [
            *python("-c", _COMMAND, "predict", str(job.bundle), job.images, "--layout", "none"),
            *("--out", job.out, "--precision", job.precision, "--allow-phantom-model", "-q"),
            *(spark if name == "predict_spark" else ["--engine", "local"]),
        ]
    file = Path(f"{job.out}.json")
    file.write_text(json.dumps(asdict(job)), encoding="utf-8")
    return python("-m", "benchmarks.peers", name, str(file))


def _programs(folder: Path, job: Job, count: int) -> dict[str, Callable[[], Cost]]:
    if count == 1:
        alone = _one_image(folder, job)
        return {PEERS["predict"].title: partial(cost_of, alone)}
    programs: dict[str, Callable[[], Cost]] = {
        PEERS[name].title: partial(_scored, name, job, count)
        for name in ("two_threads", "predict")
    } | _again(job, count)
    if count <= MANY:
        programs["equal work"] = partial(_equal_work, folder)
        programs["ingest"] = partial(_ingest, folder)
    return programs


def _one_image(folder: Path, job: Job) -> list[str]:
    image = str(next((folder / "images").iterdir()))
    return python("-c", _COMMAND, "predict", str(job.bundle), image, "--allow-phantom-model")


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


def _report(figures: dict[str, Any], counts: Sequence[int], notes: list[str]) -> Report:
    threads, ours, daft = (PEERS[name].title for name in ("two_threads", "predict", "daft_paths"))
    rows = []
    for name, cost in figures.items():
        program, _, number = name.rpartition(", ")
        base = figures.get(f"{'equal work' if program == 'ingest' else threads}, {number}")
        of_base = [f"{base[key] / cost[key]:.2f}" if base else "" for key in ("wall_s", "cpu_s")]
        rows.append(
            (
                *(name, f"{cost['wall_s']:.2f}", f"{cost['cpu_s']:.2f}"),
                *(f"{cost['peak_mib']:.0f}", *of_base),
            )
        )
    wall = {name: cost["wall_s"] for name, cost in figures.items()}

    def ratio(base: str, program: str, count: int) -> float | None:
        names = [f"{base}, {count}", f"{program}, {count}"]
        return wall[names[0]] / wall[names[1]] if all(name in wall for name in names) else None

    for count in counts:
        of_bare = ratio(threads, ours, count)
        if count in OF_BARE and of_bare is not None:
            text = f"predict {count}: {OF_BARE[count]} of two threads"
            notes.append(goal(text, of_bare >= OF_BARE[count]) + f" ({of_bare:.2f})")
        of_daft = ratio(daft, ours, count)
        if count >= OF_DAFT_FROM and of_daft is not None:
            text = f"predict {count}: {OF_DAFT} x Daft"
            notes.append(goal(text, of_daft >= OF_DAFT) + f" ({of_daft:.2f})")
        if (one := figures.get(f"{ours}, {count}")) is not None and count == 1:
            met = one["wall_s"] <= ONE_IMAGE_S and one["peak_mib"] <= ONE_IMAGE_MIB
            notes.append(goal(f"one image: {ONE_IMAGE_S} s, {ONE_IMAGE_MIB} MiB", met))
        if count == 64 and (seconds := wall.get("ingest, 64")) is not None:
            notes.append(goal(f"ingest 64: {INGEST_64_S} s", seconds <= INGEST_64_S))
        of_equal = ratio("equal work", "ingest", count)
        if count == 2000 and of_equal is not None:
            notes.append(goal(f"ingest: {OF_EQUAL_WORK} of equal work", of_equal >= OF_EQUAL_WORK))
    return Report(
        name="cold",
        title="Whole processes, start-up and all",
        head=("program, images", "wall s", "CPU s", "MiB", "of its base", "by CPU"),
        rows=rows,
        notes=notes,
        figures=figures,
    )
