"""An archive of CC-CCII's size: ten minutes of the run, and the time left that it first gives."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.common import (
    PROCESSES,
    Options,
    Report,
    data_folder,
    goal,
    python,
    say,
    scratch,
    start,
)
from benchmarks.pictures import Pictures, pictures, write_images
from benchmarks.score import DIFFERENT_FILES, link_images
from benchmarks.stream_process import untrained_bundle
from pulmospark.inference.batch.work_place import PARTS

MINUTES = 10
TOLERANCE = 0.1
_EVERY_S = 60.0
_SET = "CC-CCII-layout"


def measure(options: Options) -> Report:
    """The run, which is ended after ten minutes."""
    count, model = options.slices[-1], options.models[0]
    made_of = slices(data_folder(options), small=options.small)
    with scratch(options) as folder:
        pool = write_images(folder / "pool", min(count, DIFFERENT_FILES), made_of)
        link_images(pool, count, folder / "archive")
        bundle = untrained_bundle(folder / "bundle", model)
        say(f"{count} files of {len(made_of.jpegs)} {made_of.what}")
        seconds = 30.0 if options.small else MINUTES * 60.0
        seen = watch(folder, bundle, seconds, every=5.0 if options.small else _EVERY_S)
        lines = (folder / "said.txt").read_text(encoding="utf-8").splitlines()
    return _report(model, count, rates_of(lines), seen, made_of)


def slices(data: Path | None, *, small: bool) -> Pictures:
    """Real CT slices in CC-CCII's layout where they are to be had, else phantoms."""
    real = sorted((data / _SET).glob("*/*/*/*.jpg")) if data else []
    if not real:
        return pictures(None, count=4 if small else 40)
    return Pictures("real CT slices as they came", tuple(path.read_bytes() for path in real))


def watch(folder: Path, bundle: Path, seconds: float, *, every: float) -> list[tuple[float, int]]:
    """Seconds since the start, and images scored by then, every so often; then it is ended."""
    command = python("-m", "pulmospark", "predict", str(bundle), str(folder / "archive"))
    command += ["--layout", "none", "--out", str(folder / "out")]
    command += ["--master", f"local[{PROCESSES}]"]
    said = folder / "said.txt"
    with said.open("w") as told:
        process = start(command, stdout=told, stderr=subprocess.STDOUT, start_new_session=True)
        began = time.monotonic()
        seen: list[tuple[float, int]] = []
        rows: dict[str, int] = {}
        try:
            while process.poll() is None and time.monotonic() - began < seconds:
                time.sleep(1.0)
                passed = time.monotonic() - began
                if not seen or passed - seen[-1][0] >= every or passed >= seconds:
                    done = images_in(folder / ".out.work" / PARTS, rows)
                    if done:
                        seen.append((passed, done))
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if len(seen) < 2:
        raise RuntimeError(f"it scored nothing: {said.read_text()[-2000:]}")
    return seen


def images_in(parts: Path, rows: dict[str, int]) -> int:
    """Images in the parts that are whole; ``rows`` holds those that were counted before."""
    for path in parts.glob("predictions-*.parquet"):
        if path.name not in rows:
            rows[path.name] = pq.read_metadata(path).num_rows
    return sum(rows.values())


def rates_of(lines: list[str]) -> list[float]:
    """Images a second of each line of progress that gives a time left."""
    found = [re.fullmatch(r"predict: .* images, ([0-9.]+)/s, .+ left", line) for line in lines]
    return [float(match[1]) for match in found if match]


def _report(
    model: str,
    count: int,
    told: list[float],
    seen: list[tuple[float, int]],
    made_of: Pictures,
) -> Report:
    (first, before), (last, scored) = seen[0], seen[-1]
    speed = (scored - before) / (last - first)
    each = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(seen)]
    rows = [
        ("images/s of the run", f"{speed:.1f}"),
        ("images/s, least and most of a minute", f"{min(each):.1f}, {max(each):.1f}"),
        ("images scored", f"{scored:,} in {last:.0f} s"),
        ("all of them at this speed, s", f"{first + (count - before) / speed:.0f}"),
    ]
    notes = []
    if told:
        rows.append(("images/s of the first time left", f"{told[0]:.1f}"))
        notes.append(
            goal(
                f"the first time left is within {TOLERANCE:.0%} of what the run's speed gives",
                abs(speed / told[0] - 1) <= TOLERANCE,
            )
        )
    return Report(
        name="archive",
        title=f"{count:,} files, {model}, {PROCESSES} slots; {len(made_of.jpegs)} {made_of.what}",
        head=("metric", "measured"),
        rows=rows,
        notes=notes,
        figures={"progress": told, "seen": seen, "speed": speed},
    )
