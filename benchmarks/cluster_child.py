"""Scores the same images whenever a line comes in: ``MASTER BUNDLE IMAGES OUT``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks.common import say
from pulmospark.inference.batch.predict import predict
from pulmospark.spark.session import spark_session


def main(master: str, bundle: str, images: str, out: str) -> None:
    """Answer each line of standard input with the seconds that the scoring took."""
    target = Path(out)
    with spark_session(master, {"spark.executor.memory": "1g"}) as spark:
        for _ in sys.stdin:
            result = predict(Path(bundle), [images], target, spark, layout="none", quiet=True)
            shutil.rmtree(target)
            say(str(sum(result.seconds.values()) - result.seconds["prepare"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
