"""Stages that are killed again and again: what differs from an undisturbed run, what is left."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.common import Options, Report, goal, python, say, scratch, start
from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.config.experiment import Experiment
from pulmospark.config.train import NetworkSettings, TrainSettings
from pulmospark.core.files import read_json
from pulmospark.core.hashing import file_id
from pulmospark.experiment.demo import demo_experiment
from pulmospark.experiment.run_folder import RunFolder, run_folder, save_settings
from pulmospark.phantoms.write import PhantomSummary, write_phantoms

_SEED = 20201
_STAGES = ("ingest", "split", "train", "evaluate", "audit", "report", "predict")
_LEFT = re.compile(r"\..+\.(part|old)$")
_LAST_S = 1800.0
_UNLIKE = {"model_id", "modified_ns", "predicted_at"}
"""columns that differ between any two runs: the model's id holds the time of its training"""


def measure(options: Options) -> Report:
    """Kill each stage with all its processes at random moments, rerun it, and compare."""
    kills = min(options.kills, 60)
    with scratch(options) as work:
        patients = 30 if options.small else 60
        drawn = write_phantoms(work / "phantoms", seed=_SEED, patients=patients)
        killed: Counter[str] = Counter()
        unlike: list[str] = []
        left: list[str] = []
        for method, share in (("features", 0.75), ("network", 0.25)):
            whole = _experiment(work / f"{method}-whole", drawn, method)
            broken = _experiment(work / f"{method}-killed", drawn, method)
            seconds = {stage: _run(stage, whole) for stage in _STAGES}
            stages = _STAGES if method == "features" else ("train",)
            each = max(round(kills * share / len(stages)), 1)
            chance = random.Random(_SEED)
            for stage in _STAGES:
                if stage in stages:
                    for _ in range(each):
                        name = f"{method} {stage}"
                        killed[name] += _kill(stage, broken, chance.uniform(0.1, seconds[stage]))
                _run(stage, broken)
            unlike += [f"{method}: {name}" for name in _differences(whole, broken)]
            left += [str(path.relative_to(work)) for path in _leftovers(broken.parent)]
    return _report(killed, unlike, left)


def _experiment(folder: Path, drawn: PhantomSummary, method: str) -> Path:
    """A run's folder with its settings."""
    train = TrainSettings(
        model="basic_cnn",
        method="features" if method == "features" else "network",
        weights="none",
        network=NetworkSettings(epochs=2, batch_size=16, learning_rate=2e-3),
    )
    experiment: Experiment = demo_experiment(folder, drawn, processes=1).model_copy(
        update={"train": train, "evaluate": EvaluateSettings(replicates=100)}
    )
    run: RunFolder = run_folder(experiment)
    run.root.mkdir(parents=True)
    save_settings(experiment, run)
    return run.root


def _command(stage: str, run: Path) -> Sequence[str]:
    if stage == "predict":
        images = str(next(run.parents[1].glob("phantoms/*/images")))
        arguments = [str(run / "bundle"), images, "--layout", "none", "--out", str(run / "scored")]
        return python("-P", "-m", "pulmospark", stage, *arguments, "--quiet")
    quiet = [] if stage in {"split", "report"} else ["--quiet"]
    return python("-P", "-m", "pulmospark", stage, str(run), *quiet)


def _started(stage: str, run: Path) -> subprocess.Popen[str]:
    return start(
        _command(stage, run),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _run(stage: str, run: Path) -> float:
    """Run a stage to its end; gives its seconds."""
    begun = time.monotonic()
    process = _started(stage, run)
    _, complaint = process.communicate(timeout=_LAST_S)
    if process.returncode:
        raise RuntimeError(f"{stage}: exit {process.returncode}: {complaint[-2000:]}")
    return time.monotonic() - begun


def _kill(stage: str, run: Path, after: float) -> int:
    """Kill a stage and all that it started; 0 where it had ended before."""
    process = _started(stage, run)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        say(f"  killed {stage} after {after:.1f} s")
        return 1
    process.communicate()
    return 0


def _differences(whole: Path, broken: Path) -> list[str]:
    """Tables, tensors, figures and verdicts in which two runs differ."""
    tables = ("tables/images", "tables/rejects", "evaluation/predictions", "scored/predictions")
    unlike = [name for name in tables if _rows(whole / name) != _rows(broken / name)]
    tensors = "bundle/model.safetensors"
    if file_id(whole / tensors) != file_id(broken / tensors):
        unlike.append(tensors)
    if _verdicts(whole) != _verdicts(broken):
        unlike.append("audit")
    missing = [name for name in ("report.html", "claim.md") if not (broken / name).is_file()]
    return [*unlike, *missing]


def _rows(table: Path) -> list[str]:
    rows = pq.read_table(table).to_pylist()
    kept = [{k: v for k, v in row.items() if k not in _UNLIKE} for row in rows]
    return sorted(json.dumps(row, sort_keys=True, default=repr) for row in kept)


def _verdicts(run: Path) -> dict[str, Any]:
    audits = read_json(run / "audit" / "audit.json")["audits"]
    return {audit["name"]: audit["verdict"] for audit in audits}


def _leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if _LEFT.search(path.name)]


def _report(killed: Counter[str], unlike: list[str], left: list[str]) -> Report:
    total = sum(killed.values())
    return Report(
        name="kills",
        title=f"{total} kills (SIGKILL of all processes) over the stages of a run",
        head=("stage", "kills"),
        rows=[(name, str(count)) for name, count in killed.items()],
        notes=[
            goal("equal to an undisturbed run", not unlike),
            goal("nothing left behind", not left),
            *(f"unlike: {name}" for name in unlike),
            *(f"left: {name}" for name in left[:10]),
        ],
        figures={"kills": dict(killed), "unlike": unlike, "left": left},
    )
