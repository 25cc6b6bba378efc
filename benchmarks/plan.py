"""An estimate of ``pulmospark plan`` against the real run that it foretells."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import (
    PROCESSES,
    Options,
    Report,
    as_json,
    data_folder,
    finish,
    goal,
    python,
    say,
    scratch,
)
from benchmarks.memory import watched
from benchmarks.pictures import DIFFERENT, pictures, write_films
from pulmospark.models import zoo
from pulmospark.models.bundle import BundleConfig, CardFacts, write_bundle

_CLASSES = ("COVID-19", "normal", "pneumonia")
_MIB = 2**20
_SMALL_SECONDS = 2


def measure(options: Options) -> Report:
    """A plan and a run of ``predict`` for each network, in turn."""
    rows: list[tuple[str, ...]] = []
    figures: dict[str, Any] = {}
    notes = []
    for model in options.models:
        with scratch(options) as folder:
            found = _one(model, folder, options)
        figures[model] = found
        told, real = found["plan"]["estimate"], found["real"]
        total, score = told["total"], told["seconds"]["score"]
        rows += [
            (f"{model}: whole run, s", *_told(total), f"{real['total']:.1f}"),
            (f"{model}: scoring alone, s", *_told(score), f"{real['score']:.1f}"),
            (
                f"{model}: largest worker, MiB",
                f"{found['plan']['memory']['worker'] / _MIB:.0f}",
                "",
                f"{max(real['vmhwm_mib']['worker'], default=0):.0f}",
            ),
        ]
        used = (found["plan"]["basis"]["precision"]["used"], real["precision"])
        notes.append(f"{model}: precision foretold and real: {used[0]} and {used[1]}")
        notes.append(
            goal(
                f"{model}: the whole run lies within the interval",
                total["low"] <= real["total"] <= total["high"],
            )
        )
    return Report(
        name="plan",
        title=f"plan against a real run over {options.planned:,} films, {PROCESSES} slots",
        head=("figure", "foretold", "95 %", "real"),
        rows=rows,
        notes=notes,
        figures=figures,
    )


def _told(part: dict[str, float]) -> tuple[str, str]:
    return f"{part['value']:.1f}", f"{part['low']:.1f} to {part['high']:.1f}"


def _one(model: str, folder: Path, options: Options) -> dict[str, Any]:
    films = folder / "films"
    made_of = pictures(data_folder(options), count=4 if options.small else DIFFERENT)
    write_films(films, options.planned, made_of)
    bundle = untrained_bundle(model, folder / "bundle")
    say(f"{model}: a plan")
    seconds = _SMALL_SECONDS if options.small else 60
    _, told = finish(
        [
            *python("-m", "pulmospark", "plan", "--films", str(options.planned), "--json"),
            *("--cores", str(PROCESSES), "--bundle", str(bundle), "--films-from", str(films)),
            *("--seconds", str(seconds)),
        ]
    )
    say(f"{model}: the real run")
    target = folder / "predictions"
    command = python("-m", "pulmospark", "predict", str(bundle), str(films), "--json")
    command += ["--layout", "none", "--out", str(target), "--master", f"local[{PROCESSES}]"]
    taken, said = finish(command)
    result = as_json(said)
    real: dict[str, Any] = {
        "total": taken,
        "score": result["seconds"]["score"],
        "precision": result["precision"]["used"],
    }
    shutil.rmtree(target)
    # Once more for the memory: watching takes time of its own.
    seen = watched(command)
    return {"plan": as_json(told), "real": {**real, "vmhwm_mib": seen["vmhwm_mib"]}}


def untrained_bundle(model: str, folder: Path) -> Path:
    """A bundle of a network that has learnt nothing, which takes as long as another."""
    torch.manual_seed(0)
    network = zoo.build(model, len(_CLASSES))
    config = BundleConfig.for_network(
        network,
        classes=_CLASSES,
        input_size=zoo.entry(model).input_size,
        fit="stretch",
        method="network",
    )
    write_bundle(folder, network, config, {}, CardFacts(name="untrained"))
    return folder
