"""Listing a store: seconds and memory by the number of objects, which are made up."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.common import Options, Report, as_json, finish, goal, python, say, scratch
from benchmarks.s3_server import generated_bucket
from pulmospark.inference.batch.inputs import resolve_inputs
from pulmospark.inference.batch.list_inputs import list_inputs
from pulmospark.layouts import stored
from pulmospark.layouts.base import ListingNotes
from pulmospark.store.parallel_list import list_ahead
from pulmospark.store.store import Store

_OBJECTS = (10_000, 1_000_000)
_DELAY_MS = 20
_SECONDS_MAX = 60.0
"""for a million objects"""
_BYTES_MAX = 100.0
"""of the driver, for each object more"""
_RATIO_MIN = 2.0
"""of one request after the other to several at once, with ``_DELAY_MS``"""

_Results = dict[tuple[int, int, str], dict[str, float]]
"""objects, ms that the store waits, and the way -> what was measured"""


def measure(options: Options) -> Report:
    """List each number of objects in a fresh process, both ways where the store waits."""
    counts = options.listed if options.small else _OBJECTS
    results: _Results = {}
    for count in counts:
        results[count, 0, "parallel"] = _measured(options, count, 0, "parallel")
    for way in ("sequential", "parallel"):
        results[max(counts), _DELAY_MS, way] = _measured(options, max(counts), _DELAY_MS, way)
    return _report(results)


def _measured(options: Options, count: int, delay_ms: int, way: str) -> dict[str, float]:
    with scratch(options) as folder, generated_bucket(count, delay_ms):
        target = str(folder / "manifest.parquet")
        _, output = finish(python("-m", "benchmarks.list_store", target, way))
    measured: dict[str, float] = as_json(output)
    say(f"  {count:,}, {delay_ms} ms, {way}: {measured}")
    return measured


def _report(results: _Results) -> Report:
    at_once = {count: r for (count, delay, _), r in results.items() if not delay}
    (few, first), (many, last) = min(at_once.items()), max(at_once.items())
    growth = (last["peak_mib"] - first["peak_mib"]) * 2**20 / max(many - few, 1)
    a_million = last["seconds"] * 1_000_000 / many
    waited = {way: r["seconds"] for (_, delay, way), r in results.items() if delay}
    ratio = waited["sequential"] / waited["parallel"]
    return Report(
        name="list_store",
        title="Listing a store",
        head=["objects", "first byte after", "requests", "seconds", "CPU seconds", "peak MiB"],
        rows=[
            (
                *(f"{count:,}", f"{delay} ms", way),
                *(f"{r['seconds']:.1f}", f"{r['cpu']:.1f}", f"{r['peak_mib']:.0f}"),
            )
            for (count, delay, way), r in results.items()
        ],
        notes=[
            goal(f"a million objects <= {_SECONDS_MAX:.0f} s", a_million <= _SECONDS_MAX),
            goal(f"the driver grows by <= {_BYTES_MAX:.0f} bytes an object", growth <= _BYTES_MAX),
            goal(
                f"at {_DELAY_MS} ms >= {_RATIO_MIN:.0f} times as fast as one by one: {ratio:.1f}",
                ratio >= _RATIO_MIN,
            ),
        ],
        figures={
            "results": {" ".join(map(str, key)): r for key, r in results.items()},
            "bytes_each": growth,
            "ratio": ratio,
        },
    )


def _list(target: Path, way: str) -> None:
    if way == "sequential":  # the listing of one request after the other, in its place
        assert vars(stored)["list_ahead"] is list_ahead
        vars(stored)["list_ahead"] = Store.list
    begun, cpu = time.perf_counter(), time.process_time()
    count = list_inputs(resolve_inputs(["s3://hospital/in"]), target, ListingNotes())
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    assert pq.read_metadata(target).num_rows == count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say(json.dumps({"objects": count, "seconds": seconds, "cpu": cpu, "peak_mib": peak}))


if __name__ == "__main__":
    _list(Path(sys.argv[1]), sys.argv[2])
