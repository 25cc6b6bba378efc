"""Memory of driver, JVM and Python workers, by the number of images."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks import memory_child
from benchmarks.common import (
    Options,
    Report,
    as_json,
    data_folder,
    goal,
    python,
    say,
    scratch,
    start,
)
from benchmarks.pictures import DIFFERENT, pictures, write_images

GOAL = 0.10
SAMPLE_S = 0.05
IMAGE_BYTES = 80_000
"""of a file: 20,000 of them and their tables stay below 3 GB of disk"""

_TREE_EVERY = 10  # samples; a walk through all processes costs more than reading a few
_KINDS = ("driver", "jvm", "worker", "together")
_STAGES = ("ingest", "features")
_BELOW = {"jvm": "daemon", "daemon": "worker"}
"""kind -> kind of its children, unless they are named java; the rest are "other": Spark's
start script, and what a library forks from the driver"""
_MIB = 2**20


@dataclass
class Peaks:
    """Highest resident memory seen, in bytes; the sampler's own thread fills it."""

    stage: str = "start"
    sampled: dict[str, dict[str, int]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(int))
    )
    """stage -> kind -> bytes; ``worker`` is the largest one, ``together`` all processes at once"""
    marks: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """kind -> process -> the kernel's own high-water mark (VmHWM) when it was last seen"""

    def see(self, processes: dict[psutil.Process, str]) -> None:
        """Take one sample of processes of known kinds."""
        now: dict[str, int] = defaultdict(int)
        for process, kind in processes.items():
            try:
                resident = int(process.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
            now["together"] += resident
            now[kind] = max(now[kind], resident)
            if (mark := high_water(process.pid)) is not None:
                self.marks[kind][process.pid] = mark
        for kind, resident in now.items():
            self.sampled[self.stage][kind] = max(self.sampled[self.stage][kind], resident)

    def values(self) -> dict[str, Any]:
        """Values of JSON's kinds, in MiB."""
        return {
            "sampled_mib": {
                stage: {kind: round(size / _MIB, 1) for kind, size in kinds.items()}
                for stage, kinds in self.sampled.items()
            },
            "vmhwm_mib": {
                kind: sorted((round(size / _MIB, 1) for size in found.values()), reverse=True)
                for kind, found in self.marks.items()
            },
        }


def high_water(pid: int) -> int | None:
    """Bytes of a process's VmHWM; ``None`` where there is no such thing."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def processes_of(root: psutil.Process) -> dict[psutil.Process, str]:
    """A driver's process tree, each process with its kind."""
    found = {root: "driver"}
    kinds = {root.pid: "driver"}
    # Children come after their parents.
    for process in _descendants(root):
        with contextlib.suppress(psutil.NoSuchProcess):
            above, name = kinds.get(process.ppid(), "other"), process.name()
            kind = "jvm" if name == "java" else _BELOW.get(above, "other")
            found[process] = kinds[process.pid] = kind
    return found


def _descendants(root: psutil.Process) -> list[psutil.Process]:
    try:
        return root.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _watch(pid: int, peaks: Peaks, done: threading.Event) -> None:
    root = psutil.Process(pid)
    processes = processes_of(root)
    sample = 0
    while not done.wait(SAMPLE_S):
        sample += 1
        if sample % _TREE_EVERY == 0:
            processes = processes_of(root)
        peaks.see(processes)


def one_size(images: Path, target: Path) -> dict[str, Any]:
    """Ingest and features of a folder's images in a fresh process, and the memory they took."""
    return watched(python("-m", memory_child.__name__, str(images), str(target)))


def watched(command: list[str]) -> dict[str, Any]:
    """Run a fresh process that says ``stage NAME``; the JSON it ends with, and its memory."""
    peaks, done = Peaks(), threading.Event()
    with start(command, stdout=subprocess.PIPE) as process:
        watcher = threading.Thread(target=_watch, args=(process.pid, peaks, done))
        watcher.start()
        last = ""
        assert process.stdout is not None
        for line in process.stdout:
            last = line
            if line.startswith("stage "):
                peaks.stage = line.split()[1]
        done.set()
        watcher.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}")
    return {**as_json(last), **peaks.values()}


def measure(options: Options) -> Report:
    """Peak memory at each number of images, each in a fresh process."""
    made_of = pictures(
        data_folder(options), size_bytes=IMAGE_BYTES, count=4 if options.small else DIFFERENT
    )
    found: dict[int, dict[str, Any]] = {}
    with scratch(options) as folder:
        pool = write_images(folder / "pool", max(options.sizes), made_of)
        for size in options.sizes:
            images, target = folder / "images", folder / "run"
            _link(pool[:size], folder / "pool", images)
            found[size] = one_size(images, target)
            say(f"  {size} images: {found[size]['seconds']}")
            shutil.rmtree(images)
            shutil.rmtree(target)
    return _report(found, made_of.described())


def _link(paths: list[Path], root: Path, folder: Path) -> None:
    for path in paths:
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target)


def _report(found: dict[int, dict[str, Any]], images: str) -> Report:
    head = ["MiB at most, images", *map(str, found), "last of first"]
    rows: list[list[str]] = []
    ratios: dict[str, float] = {}
    for stage in _STAGES:
        for kind in _KINDS:
            values = [told["sampled_mib"].get(stage, {}).get(kind) for told in found.values()]
            rows.append(_row(f"{stage}: {_NAMES[kind]}", values, ratios))
    rows.append(
        _row("JVM heap in use after a collection", [t["heap_mib"] for t in found.values()], ratios)
    )
    first = next(iter(found))
    grown = [ratios.get(f"{stage}: {_NAMES[kind]}") for stage in _STAGES for kind in _GOAL_KINDS]
    met = all(ratio is not None and ratio <= 1 + GOAL for ratio in grown)
    return Report(
        name="memory",
        title=f"Memory, {first} to {max(found)} images; {images}",
        head=head,
        rows=rows,
        notes=[
            goal(f"driver and worker memory flat within {GOAL:.0%}, in each stage", met),
            "resident memory, every 50 ms, each column a fresh process; the JVM takes what its "
            "heap setting allows before it collects, so what is in use after a collection "
            "stands beside it",
        ],
        figures={
            "images": images,
            "sizes": {str(size): told for size, told in found.items()},
            "last_of_first": ratios,
            "goal": GOAL,
        },
    )


_NAMES = {
    "driver": "driver's Python",
    "jvm": "JVM",
    "worker": "largest Python worker",
    "together": "all processes together",
}
_GOAL_KINDS = ("driver", "worker")


def _row(name: str, values: list[float | None], ratios: dict[str, float]) -> list[str]:
    cells = ["-" if value is None else f"{value:.0f}" for value in values]
    if values[0] and values[-1]:
        ratios[name] = values[-1] / values[0]
    return [name, *cells, f"{ratios[name]:.2f}" if name in ratios else "-"]
