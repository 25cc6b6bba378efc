"""`pulmospark demo` and `pulmospark --help`, each in a fresh process."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from benchmarks.common import Options, Report, finish, goal, python, say, scratch

GOAL_SECONDS = 120.0
GOAL_HELP_SECONDS = 0.5
HELP_REPEATS = 10


def measure(options: Options) -> Report:
    """Wall seconds of the demo and of the help."""
    helps = help_seconds(HELP_REPEATS)
    demos = []
    with scratch(options) as folder:
        for turn in range(options.repeats or 3):
            out = folder / f"demo-{turn}"
            patients = ("--patients", str(options.patients))
            seconds, _ = finish(python("-m", "pulmospark", "demo", "--out", str(out), *patients))
            if not (out / "phantom-demo" / "report.html").is_file():
                raise RuntimeError(f"{out}: the demo left no report")
            demos.append(seconds)
            say(f"  demo {turn + 1}: {seconds:.1f} s")
    demo, help_ = statistics.median(demos), statistics.median(helps)
    return Report(
        name="demo",
        title="The demo and the help, wall time in a fresh process",
        head=("what", "median, s", "range, s", "goal, s"),
        rows=[
            _row(f"pulmospark demo, {options.patients} made-up patients", demos, GOAL_SECONDS),
            _row("pulmospark --help", helps, GOAL_HELP_SECONDS),
        ],
        notes=[
            goal(f"demo <= {GOAL_SECONDS:.0f} s", demo <= GOAL_SECONDS),
            goal(f"--help <= {GOAL_HELP_SECONDS} s", help_ <= GOAL_HELP_SECONDS),
        ],
        figures={"demo_seconds": demos, "help_seconds": helps, "patients": options.patients},
    )


def help_seconds(repeats: int) -> list[float]:
    """Wall seconds of the help, once warmed."""
    script = Path(sys.executable).with_name("pulmospark")
    command = [str(script)] if script.is_file() else python("-m", "pulmospark")
    finish([*command, "--help"])
    return [finish([*command, "--help"])[0] for _ in range(repeats)]


def _row(name: str, seconds: list[float], most: float) -> tuple[str, ...]:
    middle = statistics.median(seconds)
    return (name, f"{middle:.2f}", f"{min(seconds):.2f} to {max(seconds):.2f}", f"{most:g}")
