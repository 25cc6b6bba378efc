"""Wrong settings of an experiment: the line that each gives, and the seconds until it is there."""

from __future__ import annotations

import resource
import subprocess
import time
from pathlib import Path

from benchmarks.common import Options, Report, goal, python, scratch, start

_SECONDS_MAX = 2.0
_WRONG = (
    "train.model=mobilnet_v2", "train.modle=x", "train.method=featurs",
    "train.weights_path=/nowhere/x", "train.start=/nowhere/x", "train.expanded_path=/nowhere/x",
    "train.network.epochs=0", "train.network.trainable=hed",
    "train.network.trainable=99", "ingest.size=7",
    "ingest.salt_path=/nowhere/x", "evaluate.positive_class=covd",
    "evaluate.negative_class=norml", "audit.skip=near_duplicate", "split.views=PA,AQ",
    "split.train=nan", "split.train=0.9", "seed=x", "out=s3://bucket/runs",
    "tracking.tensorboard=hdfs:/x",
)  # fmt: skip
_TOML = """[[sources]]
path = "set"
[classes]
covid = ["covid"]
normal = ["normal"]
"""


def measure(options: Options) -> Report:
    """Run each wrong setting in a fresh process."""
    rows = []
    with scratch(options) as work:
        for name in ("covid", "normal"):
            (work / "set" / name).mkdir(parents=True)
            (work / "set" / name / "a.png").write_bytes(b"x")
        (work / "my.toml").write_text(_TOML, encoding="utf-8")
        for change in _WRONG:
            code, seconds, cpu_s, lines = _tried(work / "my.toml", change)
            count = str(len(lines))
            rows.append((change, str(code), count, f"{seconds:.2f}", f"{cpu_s:.2f}", lines[0]))
        untouched = not (work / "runs").exists()
    good = all(row[1] in {"2", "3", "4"} and row[2] == "1" for row in rows)
    return Report(
        name="wrong_settings",
        title=f"{len(rows)} wrong settings of `pulmospark run`",
        head=("setting", "exit", "lines", "s", "CPU s", "line"),
        rows=rows,
        notes=[
            goal("one line each, nothing done", good and untouched),
            goal(f"within {_SECONDS_MAX:g} s", all(float(row[3]) < _SECONDS_MAX for row in rows)),
        ],
        figures={
            row[0]: {"exit": row[1], "seconds": row[3], "cpu_s": row[4], "line": row[5]}
            for row in rows
        },
    )


def _tried(file: Path, change: str) -> tuple[int, float, float, list[str]]:
    arguments = ["-P", "-m", "pulmospark", "run", str(file), "--set", change]
    begun, used = time.perf_counter(), _cpu_seconds()
    process = start(python(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, complaint = process.communicate()
    seconds = time.perf_counter() - begun, _cpu_seconds() - used
    return process.returncode, *seconds, complaint.splitlines() or [""]


def _cpu_seconds() -> float:
    """Of all children that have ended; on a busy machine what the code itself takes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
