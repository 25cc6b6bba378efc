"""The service: start, latency of an image, and the processor's time against batch scoring's."""

from __future__ import annotations

import itertools
import resource
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import Options, Report, goal, python, scratch, start
from benchmarks.serve_process import Served, ask, radiographs, served
from benchmarks.stream_process import untrained_bundle

_CLIENTS = 20
_SIDE = 1024
_FILES = 40
_ROUNDS = 3
_GOALS = {"latency": 40.0, "heat_map": 80.0, "ready": 2.0, "cpu": 1.25}


def measure(options: Options) -> Report:
    """One client, then 20, then ``predict`` on the same files; all in one run."""
    single, many, rounds = (6, 24, 1) if options.small else (100, 400, _ROUNDS)
    files = radiographs(4 if options.small else _FILES, _SIDE)
    with scratch(options) as work:
        bundle = untrained_bundle(
            work / "bundle", "squeezenet1_1" if options.small else "mobilenet_v2"
        )
        with served(bundle, work / "state", work / "log"):
            pass  # the network is converted, and compiled for this processor
        starts = []
        for _ in range(1 if options.small else 5):
            with served(bundle, work / "state", work / "log") as service:
                starts.append(service.ready_s)
        with served(bundle, work / "state", work / "log") as service:
            _latencies(service, files, 10)
            plain = _latencies(service, files, single)
            _latencies(service, files, 5, "?heatmap=true")
            heat = _latencies(service, files, single, "?heatmap=true")
            # In turns, for what else the machine does slows either.
            crowds, batches = [], []
            for number in range(rounds):
                crowds.append(_crowd(service, files, many))
                batches.append(_batch(bundle, work / f"batch-{number}", files, many))
    crowd = [taken for times, _ in crowds for taken in times]
    of_service = statistics.median(cpu for _, cpu in crowds)
    of_batch = statistics.median(batches)
    figures = {
        "latency_ms": _median_and_p99(plain),
        "heat_map_ms": _median_and_p99(heat),
        "crowd_ms": _median_and_p99(crowd),
        "ready_s": statistics.median(starts),
        "service_cpu_ms": of_service,
        "batch_cpu_ms": of_batch,
        "ratio": statistics.median(
            cpu / batch for (_, cpu), batch in zip(crowds, batches, strict=True)
        ),
    }
    return _report(figures)


def _latencies(
    service: Served, files: Sequence[bytes], count: int, query: str = ""
) -> list[float]:
    """Milliseconds of requests, one after the other."""
    connection = service.connection()
    taken = []
    for content in itertools.islice(itertools.cycle(files), count):
        begun = time.perf_counter()
        status, answer = ask(connection, content, query=query)
        taken.append((time.perf_counter() - begun) * 1000)
        if status != 200:
            raise RuntimeError(f"status {status}: {answer}")
    connection.close()
    return taken


def _crowd(service: Served, files: Sequence[bytes], count: int) -> tuple[list[float], float]:
    """Milliseconds of requests of 20 clients, and the service's processor time an image, ms."""
    taken: list[float] = []
    before = service.cpu_s()
    clients = [
        threading.Thread(
            target=lambda: taken.extend(_latencies(service, files, count // _CLIENTS))
        )
        for _ in range(min(_CLIENTS, count))
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return taken, (service.cpu_s() - before) / len(taken) * 1000


def _batch(bundle: Path, work: Path, files: Sequence[bytes], count: int) -> float:
    """Processor time of ``predict`` an image, ms: of many files less that of few, so that what a
    start costs is not in it."""
    seconds = []
    few = count // 6
    for number in (few, count):
        folder = work / f"files-{number}"
        folder.mkdir(parents=True)
        for place, content in zip(range(number), itertools.cycle(files), strict=False):
            # Each file another, as for the service: a comment's bytes after the image's end.
            (folder / f"{place:05d}.jpg").write_bytes(content)
        command = ["-m", "pulmospark", "predict", str(bundle), str(folder)]
        options = ["--out", str(work / f"out-{number}"), "--precision", "fp32", "--quiet"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        if code := start(python(*command, *options)).wait():
            raise RuntimeError(f"predict ended with exit code {code}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return (seconds[1] - seconds[0]) / (count - few) * 1000


def _median_and_p99(values: Sequence[float]) -> tuple[float, float]:
    median, p99 = np.percentile(values, [50, 99])
    return float(median), float(p99)


def _report(figures: dict[str, object]) -> Report:
    rows = []
    for name, title in (
        ("latency_ms", "one client, one image of 1024 x 1024"),
        ("heat_map_ms", "the same with its heat map"),
        ("crowd_ms", f"{_CLIENTS} clients"),
    ):
        values = figures[name]
        assert isinstance(values, tuple)
        rows.append((title, f"{values[0]:.1f} ms", f"{values[1]:.1f} ms"))
    ready, ratio = float(str(figures["ready_s"])), float(str(figures["ratio"]))
    rows.append(("start to ready", f"{ready:.2f} s", ""))
    rows.append(("CPU an image, 20 clients", f"{figures['service_cpu_ms']:.1f} ms", ""))
    rows.append(("CPU an image, predict", f"{figures['batch_cpu_ms']:.1f} ms", ""))
    latency, heat = figures["latency_ms"], figures["heat_map_ms"]
    assert isinstance(latency, tuple)
    assert isinstance(heat, tuple)
    notes = [
        goal(f"latency at most {_GOALS['latency']:.0f} ms", latency[0] <= _GOALS["latency"]),
        goal(f"with a heat map {_GOALS['heat_map']:.0f} ms", heat[0] <= _GOALS["heat_map"]),
        goal(f"ready within {_GOALS['ready']:.0f} s", ready <= _GOALS["ready"]),
        goal(f"CPU against predict {ratio:.2f}, at most 1.25", ratio <= _GOALS["cpu"]),
    ]
    return Report("serve_latency", "the service", ("what", "median", "p99"), rows, notes, figures)
