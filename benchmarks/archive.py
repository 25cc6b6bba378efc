"""An archive of CC-CCII's size: what ``plan`` foretells, and ten minutes of the real run."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

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
    start,
)
from benchmarks.pictures import Pictures, pictures, write_films
from benchmarks.plan import untrained_bundle
from benchmarks.score import DIFFERENT_FILES, link_films
from pulmospark.scoring.predict import PARTS

MINUTES = 10
_EVERY_S = 60.0
_SET = "CC-CCII-layout"


def measure(options: Options) -> Report:
    """A plan, then the run, which is ended after ten minutes."""
    count, model = options.slices[-1], options.models[0]
    made_of = slices(data_folder(options), small=options.small)
    with scratch(options) as folder:
        pool = write_films(folder / "pool", min(count, DIFFERENT_FILES), made_of)
        link_films(pool, count, folder / "archive")
        bundle = untrained_bundle(model, folder / "bundle")
        say(f"{count} files of {len(made_of.jpegs)} {made_of.what}: a plan")
        foretold = _plan(count, folder, bundle, seconds=2 if options.small else 60)
        say("the real run")
        seconds = 30.0 if options.small else MINUTES * 60.0
        seen = watch(folder, bundle, seconds, every=5.0 if options.small else _EVERY_S)
    return _report(model, count, foretold, seen, made_of)


def slices(data: Path | None, *, small: bool) -> Pictures:
    """Real CT slices in CC-CCII's layout where they are to be had, else phantoms."""
    real = sorted((data / _SET).glob("*/*/*/*.jpg")) if data else []
    if not real:
        return pictures(None, count=4 if small else 40)
    return Pictures("real CT slices as they came", tuple(path.read_bytes() for path in real))


def _plan(count: int, folder: Path, bundle: Path, *, seconds: int) -> dict[str, Any]:
    command = python("-m", "pulmospark", "plan", "--films", str(count), "--json")
    command += ["--cores", str(PROCESSES), "--bundle", str(bundle), "--seconds", str(seconds)]
    told: dict[str, Any] = as_json(finish([*command, "--films-from", str(folder / "archive")])[1])
    return told


def watch(folder: Path, bundle: Path, seconds: float, *, every: float) -> list[tuple[float, int]]:
    """Seconds since the start, and films scored by then, every so often; then it is ended."""
    command = python("-m", "pulmospark", "predict", str(bundle), str(folder / "archive"))
    command += ["--layout", "none", "--out", str(folder / "out"), "--quiet"]
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
                    done = films_in(folder / ".out.work" / PARTS, rows)
                    if done:
                        seen.append((passed, done))
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if len(seen) < 2:
        raise RuntimeError(f"it scored nothing: {said.read_text()[-2000:]}")
    return seen


def films_in(parts: Path, rows: dict[str, int]) -> int:
    """Films in the parts that are whole; ``rows`` holds those that were counted before."""
    for path in parts.glob("predictions-*.parquet"):
        if path.name not in rows:
            rows[path.name] = pq.read_metadata(path).num_rows
    return sum(rows.values())


def _report(
    model: str,
    count: int,
    foretold: dict[str, Any],
    seen: list[tuple[float, int]],
    made_of: Pictures,
) -> Report:
    (first, before), (last, scored) = seen[0], seen[-1]
    speed = (scored - before) / (last - first)
    each = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(seen)]
    # The run was killed before it wrote its tables: what that takes is the plan's figure.
    ends = first + (count - before) / speed + foretold["estimate"]["seconds"]["write"]["value"]
    total, films = foretold["estimate"]["total"], foretold["estimate"]["films_per_second"]
    return Report(
        name="archive",
        title=f"{count:,} files, {model}, {PROCESSES} slots; {len(made_of.jpegs)} {made_of.what}",
        head=("figure", "foretold", "95 %", "real"),
        rows=[
            _row("images/s", films, f"{speed:.1f}"),
            _row("whole run, s", total, f"{ends:.0f} at this speed, and writing as foretold"),
            ("films scored", "", "", f"{scored:,} in {last:.0f} s"),
            ("images/s, least and most of a minute", "", "", f"{min(each):.1f}, {max(each):.1f}"),
        ],
        notes=[
            f"precision foretold: {foretold['basis']['precision']['used']}",
            goal(
                "the whole run at the speed seen lies within the interval",
                total["low"] <= ends <= total["high"],
            ),
        ],
        figures={"plan": foretold, "seen": seen, "ends": ends},
    )


def _row(name: str, part: dict[str, float], real: str) -> tuple[str, str, str, str]:
    return name, f"{part['value']:.1f}", f"{part['low']:.1f} to {part['high']:.1f}", real
