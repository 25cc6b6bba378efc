"""The process of a batch job: ``predict`` on a folder or table, with the service's engine.

A process of its own can be cancelled, and an image that ends one of its workers leaves the service
running. It ends with the service, which holds the other end of its standard input, and its workers
end with it. What they have scored stays, so that the next one resumes there.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from pulmospark.config.base import Settings
from pulmospark.core import serve_limits
from pulmospark.core.errors import PulmosparkError

_STDIN = 0
_NICENESS = 10
"""uploads, for which somebody waits, come first"""


class JobOrder(Settings):
    """What the process is to do, as JSON on the first line of its standard input."""

    bundle: Path
    input: Path
    output: Path
    engines: Path
    """of the service"""
    allow_phantom_model: bool
    any_body_part: bool


def main() -> None:
    """Run the job; ends with 0, or with an error as JSON on standard output and its exit code."""
    order = JobOrder.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    os.nice(_NICENESS)
    try:
        run(order)
    except PulmosparkError as error:
        sys.stdout.write(json.dumps({"error": error.message}))
        sys.stdout.flush()
        sys.exit(error.exit_code)


def run(order: JobOrder) -> Any:
    """Run the job in this process; a ``PredictResult``.

    Raises:
        PulmosparkError: as ``predict``.
    """
    # Inside: the watch over standard input begins before these take their second.
    from pulmospark.chunks.local import LocalPool  # noqa: PLC0415
    from pulmospark.config.inference import ScoringSettings  # noqa: PLC0415
    from pulmospark.inference.batch.predict import plan_predict  # noqa: PLC0415
    from pulmospark.serve.served_model import float32_scorer  # noqa: PLC0415

    settings = ScoringSettings(
        precision="fp32",
        allow_phantom_model=order.allow_phantom_model,
        any_body_part=order.any_body_part,
    )
    plan = plan_predict(order.bundle, [str(order.input)], order.output, settings=settings)
    prepared = float32_scorer(plan.bundle, order.engines)
    plan = replace(plan, prepared=prepared, chunk_files=serve_limits.SERVE_JOB_CHUNK_FILES)
    with LocalPool() as pool:  # a core each, at this process's niceness
        return plan.run(pool, quiet=True)


def _end_with_the_service() -> None:
    # Not through sys.stdin: Python ends only when it has its lock, which a reader holds.
    while os.read(_STDIN, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
