"""``python -m benchmarks.score_child PROGRAM JOB.json``: one program, its seconds as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from benchmarks.common import say
from benchmarks.score_programs import Job, timed_run


def main(name: str, job: Path) -> None:
    """Run it; with the engine, one thread a process."""
    told = json.loads(job.read_text(encoding="utf-8"))
    if name not in {"plain", "loader"}:  # PyTorch's defaults are what those are about
        os.environ["OMP_NUM_THREADS"] = "1"
    seconds = timed_run(name, Job(**{**told, "images": tuple(told["images"])}))
    say(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
