"""`pulmospark demo`, `pulmospark --help` and `import pulmospark`, each in a fresh process."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import Options, Report, finish, goal, python, say, scratch, start

GOAL_SECONDS = 25.0
GOAL_FIRST_LINE_SECONDS = 1.0
GOAL_HELP_SECONDS = 0.1
GOAL_IMPORT_SECONDS = 0.1
START_REPEATS = 10


def measure(options: Options) -> Report:
    """Wall seconds of the demo, of its first line, of the help, and of an import."""
    helps = start_seconds(_script("--help"))
    imports = start_seconds(python("-c", "import pulmospark"))
    firsts, demos = [], []
    with scratch(options) as folder:
        for turn in range(options.repeats or 3):
            first, seconds = demo_seconds(folder / f"demo-{turn}", options.patients)
            firsts.append(first)
            demos.append(seconds)
            say(f"  demo {turn + 1}: {seconds:.1f} s, its first line after {first:.2f} s")
    demo, line, help_, import_ = map(statistics.median, (demos, firsts, helps, imports))
    return Report(
        name="demo",
        title="The demo, the help and the import, wall time in a fresh process",
        head=("what", "median, s", "range, s", "goal, s"),
        rows=[
            _row(f"pulmospark demo, {options.patients} synthetic patients", demos, GOAL_SECONDS),
            _row("its first line", firsts, GOAL_FIRST_LINE_SECONDS),
            _row("pulmospark --help", helps, GOAL_HELP_SECONDS),
            _row("import pulmospark, Python's start in", imports, GOAL_IMPORT_SECONDS),
        ],
        notes=[
            goal(f"demo <= {GOAL_SECONDS:.0f} s", demo <= GOAL_SECONDS),
            goal(f"first line <= {GOAL_FIRST_LINE_SECONDS} s", line <= GOAL_FIRST_LINE_SECONDS),
            goal(f"--help <= {GOAL_HELP_SECONDS} s", help_ <= GOAL_HELP_SECONDS),
            goal(f"import <= {GOAL_IMPORT_SECONDS} s", import_ <= GOAL_IMPORT_SECONDS),
        ],
        figures={
            "demo_seconds": demos,
            "first_line_seconds": firsts,
            "help_seconds": helps,
            "import_seconds": imports,
            "patients": options.patients,
        },
    )


def demo_seconds(out: Path, patients: int) -> tuple[float, float]:
    """Wall seconds of a demo's first line and of all of it.

    Raises:
        RuntimeError: it failed.
    """
    command = python("-m", "pulmospark", "demo", "--out", str(out), "--patients", str(patients))
    started = time.perf_counter()
    with start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.perf_counter() - started
        rest = process.stdout.read()
    seconds = time.perf_counter() - started
    if process.returncode or not (out / "phantom-demo" / "report.html").is_file():
        raise RuntimeError(f"{out}: the demo left no report: {rest[-2000:]}")
    return first, seconds


def start_seconds(command: list[str]) -> list[float]:
    """Wall seconds of a short command, once warmed."""
    finish(command)
    return [finish(command)[0] for _ in range(START_REPEATS)]


def _script(*arguments: str) -> list[str]:
    """The command as a user types it, where it is installed."""
    script = Path(sys.executable).with_name("pulmospark")
    command = [str(script)] if script.is_file() else python("-m", "pulmospark")
    return [*command, *arguments]


def _row(name: str, seconds: list[float], most: float) -> tuple[str, ...]:
    middle = statistics.median(seconds)
    return (name, f"{middle:.2f}", f"{min(seconds):.2f} to {max(seconds):.2f}", f"{most:g}")
