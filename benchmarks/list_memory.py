"""Memory by the number of listed images: of a Python worker, and of the driver.

What a worker holds beside the images it is at comes from the list: its footers, the plan, the
images of a fold. So the real jobs are run over generated lists, by work that looks at its own
memory in place of images. The driver's is that of whole commands, over names of empty files.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

from benchmarks import driver_memory_child, list_memory_child
from benchmarks.common import Options, Report, finish, goal, python, say, scratch

GOAL_MIB = 50.0
GOAL_BYTES = 100.0
"""of the driver, for each image more"""
_WORKERS = {
    "files": "worker of ingest and predict: a list of files",
    "images": "worker of features and network scores: an images table",
    "training": "process that trains a network: what the listing adds",
}
_DRIVERS = {
    "store": "driver of predict: objects of a store, listed and planned",
    "list": "driver of predict: a list file, every file a reject",
    "ingest": "driver of ingest: a folder, every file a reject",
}


def measure(options: Options) -> Report:
    """Largest process of each kind at each number of listed images, each in a fresh process."""
    counts = (options.listed[0], options.listed[-1])
    workers = {
        kind: {count: _run(list_memory_child.__name__, kind, count, options)
               for count in options.listed}
        for kind in _WORKERS
    }  # fmt: skip
    drivers = {
        kind: {count: _run(driver_memory_child.__name__, kind, count, options) for count in counts}
        for kind in _DRIVERS
    }
    return _report(workers, drivers)


def _run(module: str, kind: str, count: int, options: Options) -> dict[str, Any]:
    with scratch(options) as folder:
        _, output = finish(python("-m", module, kind, str(count), str(folder)))
        measured: dict[str, Any] = json.loads(output.splitlines()[-1])
        say(f"  {kind}, {count}: {measured}")
        shutil.rmtree(folder, ignore_errors=True)
    return measured


def _row(
    name: str, memory: str, measured: dict[int, dict[str, Any]]
) -> tuple[tuple[str, ...], float]:
    """Of the table, and MiB more with the most images."""
    (few, first), (most, last) = min(measured.items()), max(measured.items())
    more = last[memory] - first[memory]
    each = more * 1024**2 / max(most - few, 1)
    numbers = (f"{first[memory]:.0f}", f"{most:,}", f"{last[memory]:.0f}")
    return (name, *numbers, f"{more:+.1f}", f"{each:.1f}"), more


def _report(
    workers: dict[str, dict[int, dict[str, Any]]], drivers: dict[str, dict[int, dict[str, Any]]]
) -> Report:
    rows, more, each = [], {}, {}
    for kind, measured in workers.items():
        row, more[kind] = _row(_WORKERS[kind], "worker_mib", measured)
        rows.append(row)
    for kind, measured in drivers.items():
        for memory, language in (("driver_mib", "Python"), ("jvm_mib", "JVM's live objects")):
            if kind == "store" and memory == "jvm_mib":
                continue
            row, _ = _row(f"{_DRIVERS[kind]}; {language}", memory, measured)
            rows.append(row)
            each[f"{kind}_{memory}"] = float(row[-1])
    few = min(next(iter(workers.values())))
    return Report(
        name="list_memory",
        title=f"Largest process, {few:,} listed images and many",
        head=["MiB", f"{few:,} images", "many", "MiB", "more", "bytes an image"],
        rows=rows,
        notes=[
            goal(f"workers: at most {GOAL_MIB:.0f} MiB more", max(more.values()) <= GOAL_MIB),
            goal(
                f"driver: at most {GOAL_BYTES:.0f} bytes an image",
                max(each.values()) <= GOAL_BYTES,
            ),
            "resident memory that is no file's (RssAnon): a worker's after each chunk, the "
            "driver's at its peak",
        ],
        figures={
            **{
                kind: {str(count): values for count, values in measured.items()}
                for kind, measured in (
                    workers | {f"driver_{k}": v for k, v in drivers.items()}
                ).items()
            },
            "more_mib": more,
            "goal_mib": GOAL_MIB,
            "driver_bytes_each": each,
            "goal_bytes": GOAL_BYTES,
        },
    )
