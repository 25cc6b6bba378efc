"""What ``memory`` watches: ingest and features of one folder, in a process of its own.

Says ``stage NAME`` as each begins, and ends with a line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.common import MASTER, say
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.data.ingest.ingest import ingest
from pulmospark.spark.session import spark_session

_MIB = 2**20


def main(images: Path, target: Path) -> None:
    """Ingest ``images`` into ``target/tables`` and take their features."""
    settings = IngestSettings()
    seconds: dict[str, float] = {}
    with spark_session(MASTER) as spark:
        say("stage ingest")
        started = time.perf_counter()
        done = ingest(
            [SourceSettings(path=images)], settings, target / "tables", spark, quiet=True
        )
        seconds["ingest"] = round(time.perf_counter() - started, 3)
        say("stage between")
        # Inside: torch comes with it, and is no part of what ingest takes.
        from benchmarks.features import imagenet_network
        from pulmospark.training.deep_features import extract_features

        network = imagenet_network()
        say("stage features")
        started = time.perf_counter()
        parts = extract_features(
            target / "tables" / "images",
            network,
            settings.size,
            target / "work",
            spark=spark,
            quiet=True,
        )
        seconds["features"] = round(time.perf_counter() - started, 3)
        say("stage end")
        told = {
            "images": done.images,
            "features": sum(part.rows for part in parts),
            "seconds": seconds,
            "heap_mib": round(_heap_bytes(spark) / _MIB, 1),
        }
    say(json.dumps(told))


def _heap_bytes(spark: Any) -> int:
    """What the JVM's heap holds after a full collection."""
    java = spark._jvm.java.lang
    java.System.gc()
    runtime = java.Runtime.getRuntime()
    return int(runtime.totalMemory() - runtime.freeMemory())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
