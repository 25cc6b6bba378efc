"""A stream that is killed again and again: what is lost, what is there twice, what differs."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.common import MASTER, Options, Report, data_folder, goal, say, scratch
from benchmarks.pictures import Pictures, pictures
from benchmarks.stream_places import Folders, InStore, places
from benchmarks.stream_process import Stream, untrained_bundle
from pulmospark.config.inference import ScoringSettings
from pulmospark.core.files import read_json
from pulmospark.inference.batch.predict import predict
from pulmospark.spark.session import spark_session

_VICTIMS = ("driver", "jvm", "worker", "all")
_SEED = 20201
_LIFE_S = (0.5, 12.0)
_BAD_EACH, _REPEAT_EACH = 97, 89
"""of so many files one is no image, one an image that was sent before"""
_LAST_S = 1200.0
_EXACT = ScoringSettings(precision="fp32")
_SAME = ("--precision", "fp32")


def measure(options: Options) -> Report:
    """Kill the stream at random moments while images land; compare its tables with a batch's."""
    made_of = pictures(data_folder(options))
    images = options.kill_images
    store = options.server if options.store else None
    with scratch(options) as work, places(work, store=store) as where:
        bundle = untrained_bundle(
            work / "bundle", "squeezenet1_1" if options.small else "mobilenet_v2"
        )
        killed, seconds = _kill(bundle, work, where, made_of, options)
        with spark_session(MASTER) as spark:
            predict(bundle, [where.inbox], work / "batch", spark, quiet=True, settings=_EXACT)
        found = compare(where, work / "batch")
        notes = where.notes()
    found |= {"kills": dict(killed), "seconds": seconds}
    return _report(found, made_of, images, sum(killed.values()), notes)


def _kill(
    bundle: Path, work: Path, where: Folders | InStore, made_of: Pictures, options: Options
) -> tuple[Counter[str], float]:
    """Until all kills are done; then once more to the end."""
    begun = time.monotonic()
    chance = random.Random(_SEED)
    gone = threading.Event()
    kills, images = options.kills, options.kill_images
    # Images land over about the time that the kills take, restarts of Spark among it.
    pause_s = 0.0 if options.small else 0.9 * kills * sum(_LIFE_S) / 2 / images
    lander = threading.Thread(target=_land_all, args=(where, made_of, images, pause_s, gone))
    lander.start()
    killed: Counter[str] = Counter()
    stream: Stream | None = None
    try:
        while sum(killed.values()) < kills:
            if stream is None or not stream.running():
                # What a killed driver has left is not cleared away: it has to do no harm.
                where.next_machine(chance)
                stream = Stream(
                    bundle, where.inbox, where.out, work / "log", *_SAME, *where.settings
                )
            time.sleep(chance.uniform(*_LIFE_S))
            victim = chance.choice(_VICTIMS)
            if stream.running() and stream.kill(victim, chance):
                killed[victim] += 1
                if sum(killed.values()) % 10 == 0:
                    rows = where.rows("predictions")
                    say(f"  {sum(killed.values())} kills, {rows.num_rows if rows else 0} rows")
                if victim != "worker":
                    stream.settle()
        lander.join()
        if stream is not None:
            stream.clear()
        where.next_machine(chance)
        stream = Stream(
            bundle, where.inbox, where.out, work / "log", "--once", *_SAME, *where.settings
        )
        if code := stream.process.wait(_LAST_S):
            raise RuntimeError(f"the last stream ended with exit code {code}: see {work / 'log'}")
    finally:
        gone.set()
        lander.join()
        if stream is not None:
            stream.clear()
    return killed, time.monotonic() - begun


def _land_all(
    where: Folders | InStore, made_of: Pictures, images: int, pause_s: float, gone: threading.Event
) -> None:
    for number in range(images):
        if number % _BAD_EACH == _BAD_EACH - 1:
            data = made_of.file(number)[: 1000 + number]
        elif number % _REPEAT_EACH == _REPEAT_EACH - 1:
            data = made_of.file(number - 1)
        else:
            data = made_of.file(number)
        where.land(f"image-{number:06d}.jpg", data)
        if gone.wait(pause_s):
            return


def compare(where: Folders | InStore, batch: Path) -> dict[str, Any]:
    """What differs between a stream's tables and a batch run's."""
    tables = {name: where.rows(name) for name in ("predictions", "rejects", "repeats")}
    streamed = tables["predictions"].to_pylist()
    times = Counter(row["image_id"] for row in streamed)
    # The batch scores an image that was sent twice twice; which of the two the stream took is
    # chance.
    wanted = {row["image_id"]: row for row in pq.read_table(batch / "predictions").to_pylist()}
    differences = [
        float(
            np.abs(np.subtract(row["probability"], wanted[row["image_id"]]["probability"])).max()
        )
        for row in streamed
        if row["image_id"] in wanted
    ]
    rejects = [
        {(row["uri"], row["image_id"], row["reason"]) for row in table.to_pylist()}
        for table in (tables["rejects"], pq.read_table(batch / "rejects"))
    ]
    told = Counter(uri for table in tables.values() for uri in table["uri"].to_pylist())
    files = where.files()
    return {
        "files": len(files),
        "images": len(wanted),
        "rejects": len(rejects[1]),
        "repeats": tables["repeats"].num_rows,
        "lost": len(wanted.keys() - times.keys()),
        "twice": sum(count - 1 for count in times.values()),
        "unknown": len(times.keys() - wanted.keys()),
        "rejects_that_differ": len(rejects[0] ^ rejects[1]),
        "files_without_one_row": sum(((files - told) + (told - files)).values()),
        "largest_difference": max(differences, default=0.0),
        "other_answers": sum(
            row["prediction"] != wanted[row["image_id"]]["prediction"]
            for row in streamed
            if row["image_id"] in wanted
        ),
        "batch_of": read_json(batch / "predict.json")["result"]["model_id"],
    }


def _report(
    found: dict[str, Any], made_of: Pictures, images: int, kills: int, notes: list[str]
) -> Report:
    rows = [
        (name.replace("_", " "), f"{found[name]:g}")
        for name in (
            "files", "images", "rejects", "repeats", "lost", "twice", "unknown",
            "rejects_that_differ", "files_without_one_row", "other_answers", "largest_difference",
        )
    ]  # fmt: skip
    clean = not any(
        found[name]
        for name in (
            "lost", "twice", "unknown", "rejects_that_differ", "files_without_one_row",
            "other_answers",
        )
    )  # fmt: skip
    return Report(
        name="stream_kills",
        title=f"{kills} kills while {images:,} files stream in ({made_of.described()})",
        head=("count", "found"),
        rows=rows,
        notes=[
            "killed: " + ", ".join(f"{n} x {name}" for name, n in sorted(found["kills"].items())),
            *notes,
            goal("0 lost, 0 twice, the table of a batch run", clean),
        ],
        figures=found,
    )
