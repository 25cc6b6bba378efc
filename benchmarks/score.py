"""Scoring of files, warm: ``predict`` against its limit, and against other frameworks.

Each program runs in a fresh process, after a run on a few images in which all is imported and
started; ``cold`` has whole processes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
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
    speeds,
    take_turns,
    weights_folder,
)
from benchmarks.lean import Job
from benchmarks.peers import PEERS, installed, native_precision, rows_of
from benchmarks.pictures import DIFFERENT, pictures, write_images
from pulmospark.config.ingest import IngestSettings
from pulmospark.core.errors import PulmosparkError
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.bundle_form import engine_files
from pulmospark.models.bundle.bundle import read_bundle, write_bundle
from pulmospark.models.bundle.card import CardFacts
from pulmospark.models.bundle.config import BundleConfig
from pulmospark.models.weights.imagenet import load_imagenet
from pulmospark.models.zoo import networks

IMAGES = (2000,)
"""numbers of images; with the first all programs are run, with others the bare loop and predict"""
OF_BARE = 0.95
OF_DEFAULTS = {"bf16": 9.0, "fp32": 5.0}
OF_OTHERS = {"ray_reader": 2.5, "ray_paths": 1.25, "datasets": 1.0, "daft_paths": 1.0}
OURS = ("two_threads", "predict", "predict_spark")
DIFFERENT_FILES = 20_000
"""beyond so many, files are further names (hard links) of these"""

_SIZE = IngestSettings().size
_HEAD = ("network", "images", "program", "images/s", "ms/image", "of two threads", "range")


def measure(options: Options) -> Report:
    """Images a second of every program, for each network and number of images."""
    counts = options.score_images or IMAGES
    made_of = pictures(data_folder(options), count=4 if options.small else DIFFERENT)
    figures: dict[str, dict[str, Any]] = {}
    used = native_precision(max(counts))
    with scratch(options) as folder:
        pool = write_images(folder / "pool", min(max(counts), DIFFERENT_FILES), made_of)
        for name in options.models:
            bundle = benchmark_bundle(folder / name, name)
            engine = prepare_engine(read_bundle(bundle).network(), folder / "engines", size=_SIZE)
            job = Job(
                str(folder / "images"), str(folder / "out"), engine.folder, used, str(bundle),
                slots=PROCESSES,
            )  # fmt: skip
            figures[name] = {}
            for count in counts:
                link_images(pool, count, folder / "images")
                say(f"{name}: {count} files ({made_of.described()})")
                programs = {(each, used): job for each in OURS}
                if count == counts[0]:
                    programs |= {(each, used): job for each in installed()}
                    exact = replace(job, precision="fp32")
                    programs |= {(each, "fp32"): exact for each in OURS[:2]}
                runs = {
                    _title(*key): partial(_seconds, key[0], each, count)
                    for key, each in programs.items()
                }
                repeats = options.repeats or (3 if count == counts[0] else 1)
                seconds = take_turns(runs, repeats)
                figures[name][str(count)] = speeds(count, seconds, _title(OURS[0], used))
    return _report(figures, used, made_of.described(), options)


def _title(name: str, precision: str) -> str:
    return PEERS[name].title if name == "torch_defaults" else f"{PEERS[name].title}, {precision}"


def _seconds(name: str, job: Job, count: int) -> float:
    """Seconds of a warm run in a process of its own."""
    for folder in (job.out, f"{job.out}.warm-up"):
        shutil.rmtree(folder, ignore_errors=True)
    Path(job.out).mkdir()
    file = Path(f"{job.out}.json")
    file.write_text(json.dumps(asdict(job)), encoding="utf-8")
    # One thread a slot; of PyTorch's defaults its own number is one.
    threads = {} if name == "torch_defaults" else {"OMP_NUM_THREADS": "1"}
    command = python("-m", "benchmarks.peers", name, str(file), "--warm")
    _, output = finish(command, env={**os.environ, **threads})
    if (rows := rows_of(name, job)) != count:
        raise RuntimeError(f"{name}: {rows} of {count} images are in the table")
    return float(as_json(output)["seconds"])


# ---- what they work on ---------------------------------------------------------------------


def benchmark_bundle(folder: Path, name: str) -> Path:
    """A network with ImageNet weights where they are to be had, else random ones."""
    torch.manual_seed(1)
    network = networks.build(name, 3)
    try:
        load_imagenet(network, source=weights_folder())
    except PulmosparkError:
        say(f"{name}: no ImageNet weights here; random ones take as long")
    config = BundleConfig.for_network(
        network,
        classes=("COVID-19", "normal", "pneumonia"),
        input_size=_SIZE,
        fit="stretch",
        temperature=1.0,
        method="network",
        operating_points=(),
    )
    network.eval()
    write_bundle(
        folder,
        network,
        config,
        {},
        CardFacts(name="benchmark"),
        engine=engine_files(network, config),
    )
    return folder


def link_images(pool: list[Path], count: int, folder: Path) -> tuple[str, ...]:
    """``count`` files in one folder, further names of those in the pool."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    found = []
    for number in range(count):
        target = folder / f"image-{number:07d}.jpg"
        os.link(pool[number % len(pool)], target)
        found.append(str(target))
    return tuple(found)


# ---- what they reached ---------------------------------------------------------------------


def _report(
    figures: dict[str, dict[str, Any]], used: str, images: str, options: Options
) -> Report:
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for name, by_count in figures.items():
        for count, programs in by_count.items():
            for title, speed in programs.items():
                rows.append(
                    (
                        *(name, count, title),
                        f"{speed['per_second']:.1f}",
                        f"{1000 / speed['per_second']:.2f}",
                        f"{speed['of_bare']:.2f}",
                        "{:.2f} to {:.2f}".format(*speed["of_bare_rounds"]),
                    )
                )
            reached = programs[_title("predict", used)]["of_bare"]
            text = f"{name}, {count} images: predict >= {OF_BARE} of two threads"
            notes.append(goal(text, reached >= OF_BARE) + f" ({reached:.2f})")
        notes += _compared(name, next(iter(by_count.values())), used)
        notes += _flat(name, by_count, used)
    missing = sorted({str(peer.needs) for key, peer in PEERS.items() if key not in installed()})
    if missing:
        notes.append(f"not installed, and not compared: {', '.join(missing)} (extra bench)")
    return Report(
        name="score",
        title=f"Scoring, files to Parquet, warm, {PROCESSES} slots; {images}",
        head=_HEAD,
        rows=rows,
        notes=notes,
        figures={"speeds": figures, "images": images, "models": list(options.models)},
    )


def _compared(name: str, programs: Mapping[str, Any], used: str) -> list[str]:
    """How often as fast as the others pulmospark is."""
    speed_of = {title: speed["per_second"] for title, speed in programs.items()}
    goals = [("torch_defaults", precision, least) for precision, least in OF_DEFAULTS.items()]
    goals += [(other, used, least) for other, least in OF_OTHERS.items()]
    notes = []
    for other, precision, least in goals:
        ours, theirs = _title("predict", precision), _title(other, precision)
        if ours in speed_of and theirs in speed_of:
            ratio = speed_of[ours] / speed_of[theirs]
            text = f"{name}: predict, {precision} >= {least} x {theirs}"
            notes.append(goal(text, ratio >= least) + f" ({ratio:.2f})")
    return notes


def _flat(name: str, by_count: Mapping[str, Any], used: str) -> list[str]:
    """Time an image from the least to the most images."""
    if len(by_count) == 1:
        return []
    title = _title("predict", used)
    times = [1 / programs[title]["per_second"] for programs in by_count.values()]
    ratio = max(times) / min(times)
    counts = [*by_count]
    text = f"{name}: time an image flat within 5 %, {counts[0]} to {counts[-1]} images"
    return [goal(text, ratio <= 1.05) + f" ({ratio:.2f})"]
