"""What all benchmarks share: their options, taking turns, the machine's facts, the table."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from pulmospark.core import files, machine
from pulmospark.core.provenance import provenance
from pulmospark.spark.java import find_java

ROOT = Path(__file__).resolve().parents[1]
PROCESSES = 2
"""processes of the bare loops, and slots of the Spark session they are compared with"""
MASTER = f"local[{PROCESSES}]"

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


@dataclass(frozen=True)
class Options:
    """What a benchmark may be told."""

    files: int = 10_000
    """of ingest"""
    images: int = 4000
    """of features"""
    training: int = 640
    """images of training, an epoch"""
    epochs: int = 50
    """of store_training"""
    models: tuple[str, ...] = ("mobilenet_v2", "resnet50")
    """networks of training and score"""
    sizes: tuple[int, ...] = (1000, 5000, 20000)
    """numbers of images of memory"""
    rows: tuple[int, ...] = (5000, 52000)
    """numbers of rows of expand; the last is the one whose speed is told"""
    planned: int = 5000
    """images of cluster"""
    slices: tuple[int, ...] = (61_778, 617_775)
    """numbers of slices of ccccii"""
    score_images: tuple[int, ...] | None = None
    """numbers of images of score and score_memory; ``None``: their own"""
    peers: bool = False
    """also other frameworks, in cold"""
    slots: tuple[int, ...] = (1, PROCESSES)
    """of scale"""
    nodes: int = 1
    """machines that the most slots are on, for the cost"""
    price_per_hour: float | None = None
    """of a machine"""
    master: str | None = None
    """of a Spark cluster; ``None``: this machine"""
    ray: str | None = None
    """address of a Ray cluster, for Ray Data and Daft"""
    at: str | None = None
    """folder that all machines mount, or a bucket, for the images of scale"""
    listed: tuple[int, ...] = (10_000, 10_000_000)
    """numbers of listed images of list_memory"""
    patients: int = 320
    """of the demo"""
    stream_images: int = 300
    """single images that land in a stream, for the latency"""
    stream_lying: int = 100_000
    """files that lie in a full inbox"""
    stream_load: int = 2000
    """images that land at once in a stream, a round, for the throughput"""
    kills: int = 100
    """of a stream"""
    failing: float = 0.05
    """share of the requests to a store that fail, 0 to 1"""
    kill_images: int = 5000
    """files that land in a stream that is killed"""
    store_images: int = 400
    """of store_kills"""
    server: str = "light"
    """of the store of store_kills and stream_kills: ``light`` or ``moto``"""
    store: bool = False
    """stream_kills: inbox and output in a store, reached through a failing network"""
    repeats: int | None = None
    """``None``: as many as the benchmark thinks fit"""
    data: Path | None = None
    """folder with the public data sets"""
    out: Path = ROOT / "build" / "benchmarks"
    small: bool = False
    """a smoke test: its figures mean nothing"""


@dataclass
class Report:
    """A benchmark's outcome: a table for people, and all that was measured."""

    name: str
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    """values of JSON's kinds"""


def shared_folder() -> Path:
    """The folder with real images and weights, beside the repository unless told otherwise."""
    return Path(os.environ.get("PULMOSPARK_SHARED", ROOT.parent / "shared"))


def data_folder(options: Options) -> Path | None:
    """The folder with the public data sets; ``None`` where there is none."""
    if options.data is not None:
        return options.data
    found = shared_folder() / "data"
    return found if found.is_dir() else None


def weights_folder() -> Path | None:
    """ImageNet weights; ``None``: wherever pulmospark finds them itself."""
    found = shared_folder() / "weights"
    return found if "PULMOSPARK_WEIGHTS" not in os.environ and found.is_dir() else None


@contextlib.contextmanager
def scratch(options: Options) -> Iterator[Path]:
    """A folder on the disk of the results, removed at the end."""
    options.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".scratch-", dir=options.out.resolve()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def take_turns(
    programs: Mapping[str, Callable[[], float]], repeats: int
) -> dict[str, list[float]]:
    """Run programs in turn (A B A B ...), so that what disturbs the machine hits them all.

    Args:
        programs: name -> program that answers with the seconds it took.
        repeats: rounds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(repeats):
        for name, program in programs.items():
            os.sync()  # what one program wrote is not to be the next one's burden
            seconds[name].append(program())
            say(f"  round {turn + 1} of {repeats}: {name}: {seconds[name][-1]:.2f} s")
    return seconds


def timed(program: Callable[[], object]) -> float:
    """Seconds that a program took."""
    started = time.perf_counter()
    program()
    return time.perf_counter() - started


def speeds(count: int, seconds: Mapping[str, Sequence[float]], bare: str) -> dict[str, Any]:
    """Images a second of each program (median), and its ratio to the bare one's.

    Args:
        count: images of a round.
        seconds: program -> seconds of each round, as :func:`take_turns` gives them.
        bare: the program that the others are compared with.

    Returns:
        Program -> ``per_second``, ``of_bare`` (ratio of the medians), ``of_bare_rounds``
        (smallest and largest ratio within a round), ``seconds`` of all rounds.
    """
    base = statistics.median(seconds[bare])
    answer: dict[str, Any] = {}
    for name, taken in seconds.items():
        rounds = [b / a for a, b in zip(taken, seconds[bare], strict=True)]
        answer[name] = {
            "per_second": count / statistics.median(taken),
            "of_bare": base / statistics.median(taken),
            "of_bare_rounds": [min(rounds), max(rounds)],
            "seconds": list(taken),
        }
    return answer


def speed_rows(found: Mapping[str, Any]) -> list[Sequence[str]]:
    """Rows of a table: program, images a second, of the bare limit, its range."""
    return [
        (
            name,
            f"{told['per_second']:.0f}",
            f"{told['of_bare']:.2f}",
            "{:.2f} to {:.2f}".format(*told["of_bare_rounds"]),
        )
        for name, told in found.items()
    ]


SPEED_HEAD = ("program", "images/s", "of the bare loop", "range over rounds")


def goal(text: str, met: bool) -> str:
    """A line that says whether a goal was met."""
    return f"goal {text}: {'met' if met else 'MISSED'}"


def start(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """Start a fresh process, with the weights where this machine has them.

    Args:
        command: of the process.
        env: its environment; ``None``: this one's.
        options: of ``subprocess.Popen``.
    """
    environment = dict(os.environ if env is None else env)
    if (weights := weights_folder()) is not None:
        environment["PULMOSPARK_WEIGHTS"] = str(weights)
    return subprocess.Popen(command, env=environment, text=True, cwd=ROOT, **options)


def finish(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> tuple[float, str]:
    """Run a fresh process to its end: its wall seconds, and what it said; see :func:`start`.

    Raises:
        RuntimeError: it failed.
    """
    started = time.perf_counter()
    process = start(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    told, complained = process.communicate()
    seconds = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}: {complained[-2000:]}")
    return seconds, told


def facts() -> dict[str, Any]:
    """What the figures depend on; no name of the machine or its user in it."""
    model, flags = _processor()
    java = find_java()
    return {
        "cores": machine.cores(),
        "memory_gib": round(machine.memory_bytes() / 2**30, 1),
        "processor": model,
        "flags": [name for name in _FLAGS if name in flags],
        "load_before": [round(value, 2) for value in psutil.getloadavg()],
        "java": f"{java.version}",
        "versions": {
            key: value for key, value in provenance({}).items() if key not in {"seed", "settings"}
        },
    }


def _processor() -> tuple[str, set[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return platform.processor(), set()
    told = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    return told.get("model name", platform.processor()), set(told.get("flags", "").split())


def command_line(name: str, arguments: Sequence[str]) -> str:
    """The command that repeats a benchmark."""
    return " ".join(["python -m benchmarks", name, *arguments])


def publish(report: Report, options: Options, command: str, before: dict[str, Any]) -> Path:
    """Print a report's table and write its figures to ``<out>/<name>.json``."""
    say(f"\n{report.title}")
    for row in _aligned([report.head, *report.rows]):
        say(f"  {row}")
    for note in report.notes:
        say(f"  {note}")
    target = options.out / f"{report.name}.json"
    files.write_json(
        target,
        {
            "benchmark": report.name,
            "title": report.title,
            "command": command,
            "small": options.small,
            "machine": before,
            "table": [list(report.head), *map(list, report.rows)],
            "notes": report.notes,
            "figures": report.figures,
        },
    )
    say(f"  written: {os.path.relpath(target)}")
    return target


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def say(text: str) -> None:
    """A line of the output, at once."""
    print(text, flush=True)


def python(*arguments: str) -> list[str]:
    """A command that this Python runs."""
    return [sys.executable, *arguments]


def as_json(text: str) -> Any:
    """The JSON object on the last line of an output."""
    return json.loads(text.strip().splitlines()[-1])
