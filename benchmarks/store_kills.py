"""Predictions from and to a failing store that are killed again and again.

Driver and workers get SIGKILL at random moments while a share of all requests fails. Each
prediction is rerun until it ends, and must leave the rows of an undisturbed one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import deltalake
import psutil
import pyarrow as pa

from benchmarks.common import (
    Options,
    Report,
    data_folder,
    goal,
    python,
    say,
    scratch,
    start,
)
from benchmarks.failing_proxy import Faults, Proxy, failing_proxy
from benchmarks.object_server import BUCKET, Bucket, bucket_of
from benchmarks.pictures import pictures, write_images
from benchmarks.score import benchmark_bundle

_SEED = 20261
_DELAY_MS = 20.0
_BROKEN_EACH = 40
"""one image of so many is cut off, and a reject"""
_SPARK_EACH = 4
"""one prediction of so many runs on Spark, the others by processes on this machine"""
_VICTIMS = ("all", "driver", "worker")
_LAST_S = 600.0
_LEFT = "objects left behind"
_UNLIKE = {"predicted_at", "modified_ns"}


def measure(options: Options) -> Report:
    """Kill predictions until there were enough kills, and compare each with the first."""
    with scratch(options) as work, bucket_of(options.server, _DELAY_MS) as server:
        _fill(server, work, options.store_images, options)
        with failing_proxy(server.endpoint, Faults()) as proxy:
            _environment(work, proxy.endpoint)
            seconds = [_finish(_command("whole", number)) for number in range(2)]
            whole = _tables(server, "whole")
            proxy.faults = Faults.of(options.failing, seed=_SEED)
            say(f"  undisturbed: {len(whole['predictions'])} rows, {seconds[1]:.1f} s")
            kills, faults = _rounds(server, proxy, whole, max(seconds), options.kills)
    return _report(kills, faults, dict(proxy.counts), options)


def _fill(server: Bucket, work: Path, count: int, options: Options) -> None:
    made_of = pictures(data_folder(options), count=20)
    for number, path in enumerate(write_images(work / "images", count, made_of)):
        data = path.read_bytes()
        server.put(f"in/{path.name}", data[:999] if not number % _BROKEN_EACH else data)
    for path in benchmark_bundle(work / "bundle", "squeezenet1_1").iterdir():
        server.put(f"bundle/{path.name}", path.read_bytes())


def _environment(work: Path, endpoint: str) -> None:
    os.environ |= {
        "AWS_ENDPOINT_URL": endpoint,
        "XDG_CACHE_HOME": str(work / "cache"),
    }


def _command(out: str, number: int) -> Sequence[str]:
    spark = number % _SPARK_EACH == _SPARK_EACH - 1
    store = f"s3://{BUCKET}"
    paths = [f"{store}/bundle", f"{store}/in", "--out", f"{store}/{out}"]
    engine = ["--engine", "spark", "--master", "local[2]"] if spark else ["--engine", "local"]
    return python("-P", "-m", "pulmospark", "predict", *paths, *engine, "--quiet")


def _started(command: Sequence[str]) -> subprocess.Popen[str]:
    return start(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def _finish(command: Sequence[str]) -> float:
    """Run a prediction to its end; its seconds."""
    begun = time.monotonic()
    process = _started(command)
    _, complaint = process.communicate(timeout=_LAST_S)
    if process.returncode:
        raise RuntimeError(f"exit {process.returncode}: {complaint[-2000:]}")
    return time.monotonic() - begun


def _rounds(
    server: Bucket, proxy: Proxy, whole: dict[str, Any], seconds: float, kills: int
) -> tuple[Counter[str], Counter[str]]:
    """Kills by victim, and what was wrong, over predictions that are each rerun to their end."""
    killed: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    chance = random.Random(_SEED)
    number = 0
    while killed.total() < kills:
        out = f"out-{number}"
        for _ in range(chance.randint(1, 4)):
            killed.update(_kill(_command(out, number), chance, seconds, wrong))
        for tries_left in reversed(range(3)):
            try:
                _finish(_command(out, number))
                break
            except RuntimeError as error:
                # An honest failure that a rerun mends: all tries of one request failed.
                wrong["runs that ended with an error, and were rerun"] += 1
                say(f"  {error}")
                if not tries_left:
                    raise
        wrong.update(differences(whole, _tables(server, out)))
        for key in server.keys(out):
            wrong[_LEFT] += "_probe" in key or "_work" in key
            server.delete(key)
        number += 1
        say(f"  {killed.total()} kills, {number} predictions, {dict(wrong)}, {proxy.counts}")
    return killed, +wrong


def _kill(
    command: Sequence[str], chance: random.Random, seconds: float, wrong: Counter[str]
) -> list[str]:
    """Start a prediction and kill it, or some of its workers; whom."""
    process = _started(command)
    victim = chance.choice(_VICTIMS)
    killed = []
    end: Callable[[], tuple[str, str]] = process.communicate
    for _ in range(2 if victim == "worker" else 1):
        try:
            process.wait(chance.uniform(0.1, seconds))
        except subprocess.TimeoutExpired:
            if _strike(process, victim, chance):
                killed.append(victim)
    try:
        if victim == "worker":
            process.wait(_LAST_S)
    finally:
        if process.poll() is None or victim != "worker":
            _signal_group(process)
        _, complaint = end()
    if victim == "worker" and process.returncode:
        wrong["runs that ended with their worker, and were rerun"] += 1
        say(f"  a killed worker ended the run: {complaint[-500:]}")
    return killed


def _strike(process: subprocess.Popen[str], victim: str, chance: random.Random) -> bool:
    if victim == "all":
        _signal_group(process)
        return True
    if victim == "driver":
        process.kill()
        return True
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "python" in child.name()
    ]
    if not workers:
        return False
    try:
        chance.choice(workers).kill()
    except psutil.NoSuchProcess:
        return False
    return True


def _signal_group(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _tables(server: Bucket, out: str) -> dict[str, list[str]]:
    """Rows of a prediction's tables, read by deltalake past the proxy."""
    options = {"AWS_ENDPOINT_URL": server.endpoint, "AWS_ALLOW_HTTP": "true"}
    rows = {}
    for name in ("predictions", "rejects"):
        table = deltalake.DeltaTable(f"s3://{BUCKET}/{out}/{name}", storage_options=options)
        rows[name] = sorted(
            json.dumps({k: v for k, v in row.items() if k not in _UNLIKE}, default=repr)
            for row in pa.table(table.to_pyarrow_table()).to_pylist()
        )
    return rows


def differences(whole: dict[str, list[str]], broken: dict[str, list[str]]) -> dict[str, int]:
    """How many rows a prediction has lost, has twice, or has of its own."""
    found: Counter[str] = Counter()
    for name, rows in whole.items():
        expected, actual = Counter(rows), Counter(broken[name])
        found[f"{name} lost"] += (expected - actual).total()
        found[f"{name} twice"] += sum(count - 1 for count in actual.values())
        found[f"{name} of their own"] += len(actual.keys() - expected.keys())
    return dict(found)


def _report(
    kills: Counter[str], wrong: Counter[str], counts: dict[str, int], o: Options
) -> Report:
    bad = {name for name in wrong if not name.startswith("runs") and name != _LEFT}
    failed = sum(count for name, count in counts.items() if name != "requests")
    return Report(
        name="store_kills",
        title=f"{kills.total()} kills, {o.failing:.0%} of requests to a store ({o.server}) fail",
        head=("count", "found"),
        rows=[
            *((f"killed: {name}", str(count)) for name, count in sorted(kills.items())),
            ("requests", f"{counts.get('requests', 0):,}"),
            ("failed", f"{failed:,}"),
            *((name, str(count)) for name, count in sorted(wrong.items())),
        ],
        notes=[
            goal("0 lost, 0 twice, 0 rejects of the store's, the undisturbed table", not bad),
            goal("nothing left behind in the store", _LEFT not in wrong),
        ],
        figures={"kills": dict(kills), "wrong": dict(wrong), "counts": counts},
    )
