"""Training of a run whose folder is in a store that waits 20 ms, against one on this disk."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from benchmarks.common import Options, Report, finish, goal, python, say, scratch
from benchmarks.store import BUCKET, DELAY_MS, slow_server
from pulmospark.experiment.demo import demo_experiment
from pulmospark.experiment.pipeline import run_ingest, run_split
from pulmospark.experiment.run_folder import run_folder
from pulmospark.phantoms.write import PhantomSummary, write_phantoms
from pulmospark.spark.engine_choice import EngineChoice
from pulmospark.store.uri import StoreUri

OF_LOCAL = 0.95
_SETTINGS = (
    *("--set", "train.model=basic_cnn", "--set", "train.weights=none"),
    *("--set", "train.method=network"),
)


def measure(options: Options) -> Report:
    """Whole commands ``pulmospark train``, in turn, which find nothing of earlier ones here."""
    rounds = options.repeats or (1 if options.small else 2)
    found: dict[str, dict[str, list[float]]] = {}
    with scratch(options) as folder, slow_server(DELAY_MS):
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        drawn = write_phantoms(folder / "phantoms", seed=5, patients=options.patients)
        places: dict[str, Path | StoreUri] = {
            "local disk": folder,
            "store at 20 ms": StoreUri("s3", BUCKET, "runs"),
        }
        runs = {name: _prepared(folder, drawn, out) for name, out in places.items()}
        train = ("-q", "--set", f"train.network.epochs={options.epochs}", *_SETTINGS)
        for turn in range(rounds + 1):
            for name, run in runs.items():
                shutil.rmtree(folder / "cache/pulmospark/mirrors", ignore_errors=True)
                for left in folder.glob("*/.training.work"):  # with the trained network
                    shutil.rmtree(left)
                wall, cpu = _measured(partial(_pulmospark, "train", run, *train))
                if turn:  # the first writes the archive of Spark's classes
                    found.setdefault(name, {"wall": [], "cpu": []})
                    found[name]["wall"].append(wall)
                    found[name]["cpu"].append(cpu)
                    say(f"  {name}: {wall:.2f} s, {cpu:.2f} s of CPU")
    return _report(options.patients, options.epochs, found)


def _pulmospark(*arguments: str) -> float:
    return finish(python("-m", "pulmospark", *arguments))[0]


def _prepared(folder: Path, drawn: PhantomSummary, out: Path | StoreUri) -> str:
    """Ingest and split the phantoms; where the run is."""
    experiment = demo_experiment(folder, drawn, processes=1).model_copy(update={"out": out})
    run = run_folder(experiment)
    with EngineChoice("local", None, {}) as workers:
        run_ingest(experiment, run, workers, quiet=True)
        run_split(experiment, run, workers, quiet=True)
    return str(run.place)


def _measured(program: Callable[[], float]) -> tuple[float, float]:
    """Wall and CPU seconds of a child process."""
    before = psutil.Process().cpu_times()
    wall = program()
    after = psutil.Process().cpu_times()
    children = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    return wall, children


def _report(patients: int, epochs: int, found: dict[str, dict[str, list[float]]]) -> Report:
    local, stored = (
        {kind: statistics.median(seconds) for kind, seconds in taken.items()}
        for taken in found.values()
    )
    ratio = {kind: local[kind] / stored[kind] for kind in local}
    rows = [
        (name, f"{taken['wall']:.2f} s", f"{taken['cpu']:.2f} s")
        for name, taken in zip(found, (local, stored), strict=True)
    ]
    return Report(
        name="store_training",
        title=f"`train` of {epochs} epochs on phantoms of {patients} synthetic patients",
        head=["run folder", "wall", "CPU"],
        rows=[*rows, ("ratio", f"{ratio['wall']:.2f}", f"{ratio['cpu']:.2f}")],
        notes=[goal(f"store >= {OF_LOCAL} of local disk", ratio["wall"] >= OF_LOCAL)],
        figures={"seconds": found, "ratio": ratio},
    )
