"""Listing a store: seconds and memory by the number of objects, which are made up."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.common import Options, Report, as_json, finish, goal, python, say, scratch
from pulmospark.inference.batch.inputs import list_inputs, resolve_inputs
from pulmospark.layouts.base import ListingNotes

_OBJECTS = (10_000, 1_000_000)
_SECONDS_MAX = 60.0
"""for a million objects"""
_BYTES_MAX = 100.0
"""of the driver, for each object more"""


def measure(options: Options) -> Report:
    """List each number of objects in a fresh process."""
    results = {}
    for count in options.listed if options.small else _OBJECTS:
        command = [sys.executable, "-m", "benchmarks.s3_server", "0", str(count)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "of-a-benchmark",
            "AWS_SECRET_ACCESS_KEY": "of-a-benchmark",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{int(server.stdout.readline())}",
        }
        try:
            with scratch(options) as folder:
                target = str(folder / "manifest.parquet")
                _, output = finish(python("-m", "benchmarks.list_store", target))
        finally:
            server.kill()
            server.wait()
        results[count] = as_json(output)
        say(f"  {count:,}: {results[count]}")
    return _report(results)


def _report(results: dict[int, dict[str, float]]) -> Report:
    (few, first), (many, last) = min(results.items()), max(results.items())
    growth = (last["peak_mib"] - first["peak_mib"]) * 2**20 / max(many - few, 1)
    a_million = last["seconds"] * 1_000_000 / many
    return Report(
        name="list_store",
        title="Listing a store that answers at once",
        head=["objects", "seconds", "CPU seconds", "peak MiB"],
        rows=[
            (f"{count:,}", f"{r['seconds']:.1f}", f"{r['cpu']:.1f}", f"{r['peak_mib']:.0f}")
            for count, r in results.items()
        ],
        notes=[
            goal(f"a million objects <= {_SECONDS_MAX:.0f} s", a_million <= _SECONDS_MAX),
            goal(f"the driver grows by <= {_BYTES_MAX:.0f} bytes an object", growth <= _BYTES_MAX),
        ],
        figures={"results": {str(n): r for n, r in results.items()}, "bytes_each": growth},
    )


def _list(target: Path) -> None:
    begun, cpu = time.perf_counter(), time.process_time()
    count = list_inputs(resolve_inputs(["s3://hospital/in"]), target, ListingNotes())
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    assert pq.read_metadata(target).num_rows == count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say(json.dumps({"objects": count, "seconds": seconds, "cpu": cpu, "peak_mib": peak}))


if __name__ == "__main__":
    _list(Path(sys.argv[1]))
