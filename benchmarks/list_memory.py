"""Memory of a Python worker by the number of listed images: work lists are generated, not read.

What a worker holds beside the images it is at comes from the list: its footers, the plan, the
images of a fold. So the real jobs are run over real lists, by work that looks at its own memory
in place of images.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

from benchmarks import list_memory_child
from benchmarks.common import Options, Report, finish, goal, python, say, scratch

GOAL_MIB = 50.0
_NAMES = {
    "files": "ingest and predict: a list of files",
    "images": "features and network scores: an images table",
    "training": "training of a network: what it adds to a process",
}


def measure(options: Options) -> Report:
    """Largest worker of each kind at each number of listed images, each in a fresh process."""
    found: dict[str, dict[int, Any]] = {kind: {} for kind in _NAMES}
    for kind, told in found.items():
        for count in options.listed:
            with scratch(options) as folder:
                command = ("-m", list_memory_child.__name__, kind, str(count), str(folder))
                _, output = finish(python(*command))
                told[count] = json.loads(output.splitlines()[-1])
                say(f"  {kind}, {count}: {told[count]}")
                shutil.rmtree(folder, ignore_errors=True)
    return _report(found)


def _report(found: dict[str, dict[int, Any]]) -> Report:
    rows, more = [], {}
    for kind, told in found.items():
        values = [one["worker_mib"] for one in told.values()]
        more[kind] = values[-1] - values[0]
        rows.append((_NAMES[kind], *(f"{v:.0f}" for v in values), f"{more[kind]:+.1f}"))
    counts = list(next(iter(found.values())))
    met = all(value <= GOAL_MIB for value in more.values())
    return Report(
        name="list_memory",
        title=f"Largest Python worker, {counts[0]:,} to {counts[-1]:,} listed images",
        head=["MiB, listed images", *(f"{count:,}" for count in counts), "more"],
        rows=rows,
        notes=[
            goal(f"at most {GOAL_MIB:.0f} MiB more", met),
            "resident memory that is no file's (RssAnon), looked at after each chunk",
        ],
        figures={
            **{
                kind: {str(count): one for count, one in told.items()}
                for kind, told in found.items()
            },
            "more_mib": more,
            "goal_mib": GOAL_MIB,
        },
    )
