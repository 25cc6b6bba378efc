"""Images that land in a stream: how soon their rows are there, and how many a second."""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import MASTER, Options, Report, data_folder, goal, say, scratch
from benchmarks.pictures import Pictures, pictures
from benchmarks.stream_process import (
    Reader,
    Stream,
    land,
    land_many,
    streaming,
    untrained_bundle,
    wait,
)
from pulmospark.inference.batch.predict import predict
from pulmospark.spark.session import spark_session

_REPEATS = 5
_COLD_STARTS = 3
_GAP_S = (0.2, 1.2)
_SEED = 20201
_SAMPLE = 128


def measure(options: Options) -> Report:
    """Latency of single images, of the first after a cold start, and throughput beside batch."""
    made_of = pictures(data_folder(options))
    repeats = options.repeats or _REPEATS
    with scratch(options) as work:
        bundle = untrained_bundle(
            work / "bundle", "squeezenet1_1" if options.small else "mobilenet_v2"
        )
        cold = [
            _cold(bundle, work / f"cold-{turn}", made_of)
            for turn in range(min(repeats, _COLD_STARTS))
        ]
        latencies = {
            name: _latencies(bundle, work / name, made_of, options.stream_images, lying)
            for name, lying in (("an empty inbox", 0), ("a full inbox", options.stream_lying))
        }
        rounds = _rounds(bundle, work / "rounds", made_of, options.stream_load, repeats)
    return _report(options, made_of, cold, latencies, rounds)


def _cold(bundle: Path, work: Path, made_of: Pictures) -> dict[str, float]:
    """Seconds from the start of the process to the first image's row, the image lying there."""
    inbox = work / "inbox"
    inbox.mkdir(parents=True)
    _warm_up(bundle, work, made_of)
    land(inbox, "first.jpg", made_of.file(1))
    stream = Stream(bundle, inbox, work / "out", work / "log")
    reader = Reader(work / "out")
    try:
        wait(lambda: reader.look() == 2, stream)
        first = time.time() - stream.started
        wait(lambda: "stream: ready" in (work / "log").read_text(encoding="utf-8"), stream)
        landed = land(inbox, "second.jpg", made_of.file(2))
        wait(lambda: reader.look() == 3, stream)
        second = time.time() - landed
    finally:
        stream.clear()
    say(f"  cold start to first row {first:.2f} s, the image after it {second:.2f} s")
    return {"first": first, "second": second}


def _warm_up(bundle: Path, work: Path, made_of: Pictures) -> None:
    """An earlier stream into the folder: its engine is there, and files are in the cache."""
    inbox = work / "inbox"
    land(inbox, "earlier.jpg", made_of.file(0))
    with streaming(bundle, inbox, work / "out", work / "earlier.log") as stream:
        reader = Reader(work / "out")
        wait(lambda: reader.look() == 1, stream)


def _latencies(
    bundle: Path, work: Path, made_of: Pictures, images: int, lying: int
) -> list[float]:
    """Seconds from landing to row of single images, which a reader of its own measures.

    Args:
        lying: files that are no images and lie in the inbox already, to be listed.
    """
    inbox = work / "inbox"
    inbox.mkdir(parents=True)
    for number in range(lying):
        (inbox / f"old-{number:06d}.png").write_bytes(b"old")
    chance = random.Random(_SEED)
    landed: dict[str, float] = {}
    with streaming(bundle, inbox, work / "out", work / "log", "--set", "patience_s=0") as stream:
        reader = Reader(work / "out")
        if lying:
            rejects = Reader(work / "out", "rejects")
            wait(lambda: rejects.look() == lying, stream)
        for number in range(images):
            name = f"image-{number:06d}.jpg"
            landed[str(inbox / name)] = land(inbox, name, made_of.file(number))
            pause = time.monotonic() + chance.uniform(*_GAP_S)
            while time.monotonic() < pause:
                reader.look()
                time.sleep(0.005)
        wait(lambda: reader.look() == images, stream)
    return [reader.rows[uri] - at for uri, at in landed.items()]


def _rounds(
    bundle: Path, work: Path, made_of: Pictures, images: int, repeats: int
) -> dict[str, list[float]]:
    """Images a second of a batch run and of the warm stream, in turn; a first round "
    "is not told."""
    inbox = work / "inbox"
    inbox.mkdir(parents=True)
    found: dict[str, list[float]] = {"batch": [], "stream": []}
    sample = work / "sample"
    sample.mkdir()
    land_many(sample, range(_SAMPLE), made_of)
    # The batch run, with images enough, checks a lower precision on its own; so has the stream to.
    with (
        streaming(bundle, inbox, work / "out", work / "log", "--sample", str(sample)) as stream,
        spark_session(MASTER) as spark,
    ):
        reader = Reader(work / "out")
        precisions = set()
        for turn in range(repeats + 1):
            numbers = range(turn * images, (turn + 1) * images)
            folder = work / f"batch-{turn}"
            folder.mkdir()
            land_many(folder, numbers, made_of)
            told = predict(bundle, [str(folder)], work / f"batch-out-{turn}", spark, quiet=True)
            batch = images / sum(told.seconds.values())
            precisions.add(told.precision.used)
            aside = work / f"aside-{turn}"
            aside.mkdir()
            land_many(aside, numbers, made_of)
            before, begun = reader.look(), time.monotonic()
            for image in sorted(aside.iterdir()):  # a rename each: they land as fast as can be
                image.rename(inbox / image.name)
            wait(lambda before=before: reader.look() == before + images, stream)  # type: ignore[misc]
            streamed = images / (time.monotonic() - begun)
            say(f"  round {turn} of {repeats}: batch {batch:.0f}, stream {streamed:.0f} images/s")
            if turn:
                found["batch"].append(batch)
                found["stream"].append(streamed)
    say(f"  batch scored in {', '.join(sorted(precisions))}")
    say("  " + (work / "log").read_text(encoding="utf-8").partition("\n")[0])
    return found


def _report(
    options: Options,
    made_of: Pictures,
    cold: list[dict[str, float]],
    latencies: dict[str, list[float]],
    rounds: dict[str, list[float]],
) -> Report:
    rows, goals = [], []
    for name, found in latencies.items():
        median, p99 = (float(q) for q in np.percentile(found, (50, 99)))
        rows.append((f"landing to row, {name}, median", f"{median:.2f} s", "0.4 s"))
        rows.append((f"landing to row, {name}, 99th percentile", f"{p99:.2f} s", "2 s"))
        goals.append(goal(f"median, {name}, <= 0.4 s", median <= 0.4))
        goals.append(goal(f"99th percentile, {name}, <= 2 s", p99 <= 2.0))
    first = statistics.median(one["first"] for one in cold)
    rows.append(("start of the process to the first row", f"{first:.2f} s", "5 s"))
    second = statistics.median(one["second"] for one in cold)
    rows.append(("landing to row of the next image", f"{second:.2f} s", "5 s"))
    goals.append(goal("first image after a cold start <= 5 s", first <= 5.0))
    ratios = [s / b for s, b in zip(rounds["stream"], rounds["batch"], strict=True)]
    ratio = statistics.median(rounds["stream"]) / statistics.median(rounds["batch"])
    rows.append(("throughput, of batch", f"{ratio:.2f}", "0.8"))
    goals.append(goal("throughput >= 0.8 of batch", ratio >= 0.8))
    figures: dict[str, Any] = {
        "cold": cold,
        "latencies": latencies,
        "images_per_s": rounds,
        "of_batch": ratio,
        "of_batch_rounds": [min(ratios), max(ratios)],
    }
    return Report(
        name="stream",
        title=f"Images landing in a stream ({made_of.described()})",
        head=("figure", "measured", "goal"),
        rows=rows,
        notes=[
            f"single images: {options.stream_images}; a full inbox holds {options.stream_lying:,} "
            f"files; load: {options.stream_load:,} images a round",
            *goals,
        ],
        figures=figures,
    )
