"""What ``expand`` watches: one expansion, in a process of its own.

Says ``stage expand`` as it begins, and ends with a line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.common import MASTER, say
from pulmospark.config.expand import ExpandSettings
from pulmospark.data.expand.expand import expand
from pulmospark.spark.session import spark_session


def main(folder: Path, per_class: int) -> None:
    """Expand ``folder/images`` and ``folder/cohort`` into ``folder/expanded``."""
    with spark_session(MASTER) as spark:
        say("stage expand")
        started = time.perf_counter()
        done = expand(
            folder / "images",
            folder / "cohort",
            ExpandSettings(per_class=per_class),
            folder / "expanded",
            spark,
            seed=1,
            quiet=True,
        )
        seconds = time.perf_counter() - started
        say("stage end")
    say(json.dumps({"rows": done.rows, "seconds": round(seconds, 3)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
