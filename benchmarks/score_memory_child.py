"""What ``score_memory`` watches: a prediction of one folder, in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.common import MASTER, PROCESSES, say
from benchmarks.peers import native_precision
from pulmospark.chunks.local import LocalPool
from pulmospark.config.inference import ScoringSettings
from pulmospark.core import limits
from pulmospark.inference.batch.predict import predict
from pulmospark.spark.session import spark_session


def main(engine: str, bundle: Path, images: Path, target: Path) -> None:
    """Score ``images``; says ``stage score`` as it begins, and ends with a line of JSON."""
    workers: Any = LocalPool(PROCESSES) if engine == "local" else spark_session(MASTER)
    # Whatever their number, so that the check of the precision is in each.
    precision: Any = native_precision(limits.PARITY_WORTH_IMAGES)
    settings = ScoringSettings(precision=precision)
    with workers as ready:
        say("stage score")
        done = predict(
            bundle, [str(images)], target, ready, layout="none", settings=settings, quiet=True
        )
        say("stage end")
    told = {"images": done.images, "seconds": done.seconds, "precision": done.precision.used}
    say(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:5]))
