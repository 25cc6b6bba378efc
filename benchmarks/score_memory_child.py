"""What ``score_memory`` watches: a prediction of one folder, in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.common import MASTER, say
from pulmospark.inference.batch.predict import predict
from pulmospark.spark.session import spark_session


def main(bundle: Path, images: Path, target: Path) -> None:
    """Score ``images``; says ``stage score`` as it begins, and ends with a line of JSON."""
    with spark_session(MASTER) as spark:
        say("stage score")
        done = predict(bundle, [str(images)], target, spark, layout="none", quiet=True)
        say("stage end")
    told = {"images": done.images, "seconds": done.seconds, "precision": done.precision.used}
    say(json.dumps(told))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
