"""The search for near hashes at 100,000 and 617,775 rows: seconds, growth, memory, finds."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import MASTER, Options, Report, goal, python, say, scratch
from benchmarks.memory import watched
from pulmospark.config.audit import AuditSettings
from pulmospark.data.duplicates.fingerprints import HASHES
from pulmospark.data.duplicates.hash_pairs import write_hashes
from pulmospark.data.duplicates.near_duplicates import candidates
from pulmospark.spark.executor import SparkExecutor
from pulmospark.spark.session import spark_session

SIZES = (100_000, 617_775)
GOAL_SECONDS, GOAL_GROWTH, GOAL_MEMORY = 600.0, 1.3, 1.1
_TWINS = 0.02
_BITS = 7
_SEED = 1


def draw_hashes(folder: Path, rows: int) -> int:
    """Random hashes of images and their cuts; 2 % are twins of another, 0 to 7 bits apart.

    Returns:
        The number of twins: pairs that must be found.
    """
    random = np.random.default_rng(_SEED)
    hashes, scans = write_hashes(folder, rows, HASHES)
    hashes[:] = random.integers(0, 2**64 - 1, (rows, HASHES), dtype=np.uint64)
    scans[:] = -1
    twins = int(rows * _TWINS)
    chosen = random.choice(rows, 2 * twins, replace=False)
    for copy, image in zip(chosen[:twins], chosen[twins:], strict=True):
        value = int(hashes[image, 0])
        for bit in random.choice(64, int(random.integers(0, _BITS + 1)), replace=False):
            value ^= 1 << int(bit)
        hashes[copy, 0] = value
    hashes.flush()
    scans.flush()
    return twins


def search(folder: Path) -> dict[str, Any]:
    """Find the near hashes of a folder; what a fresh process of this module prints."""
    with spark_session(MASTER) as spark:
        started = time.perf_counter()
        candidates(
            folder,
            "drawn",
            folder / "near",
            SparkExecutor(spark),
            AuditSettings().hash_distance,
            quiet=True,
        )
        seconds = round(time.perf_counter() - started, 1)
        close = spark.read.parquet(str(folder / "pairs")).where(f"distance <= {_BITS}").count()
        return {"seconds": seconds, "pairs": close}


def _largest(told: dict[str, Any]) -> float:
    return max(float(kinds.get("together", 0.0)) for kinds in told["sampled_mib"].values())


def measure(options: Options) -> Report:
    """Each size in a process of its own."""
    sizes = (2000, 6000) if options.small else SIZES
    found: dict[int, dict[str, Any]] = {}
    with scratch(options) as folder:
        for rows in sizes:
            twins = draw_hashes(folder / str(rows), rows)
            say(f"{rows} rows, {twins} twins")
            told = watched(python("-m", "benchmarks.near_duplicates", str(folder / str(rows))))
            found[rows] = {**told, "twins": twins}
    first, last = sizes[0], sizes[-1]
    growth = (found[last]["seconds"] / found[first]["seconds"]) / (last / first)
    memory = _largest(found[last]) / _largest(found[first])
    complete = all(told["pairs"] >= told["twins"] for told in found.values())
    return Report(
        name="near_duplicates",
        title=f"Search for near hashes, {HASHES} hashes an image",
        head=(
            "rows",
            "seconds",
            "twins",
            "pairs within 7 bits",
            "memory at most, MiB",
        ),
        rows=[
            (
                f"{rows:,}",
                f"{told['seconds']:.1f}",
                str(told["twins"]),
                str(told["pairs"]),
                f"{_largest(told):.0f}",
            )
            for rows, told in found.items()
        ],
        notes=[
            goal(
                f"{last:,} rows within {GOAL_SECONDS:.0f} s",
                found[last]["seconds"] <= GOAL_SECONDS,
            ),
            f"seconds grow {growth:.2f} times as fast as rows: "
            + goal(f"at most {GOAL_GROWTH}", growth <= GOAL_GROWTH),
            goal("every twin found", complete),
            f"memory grows to {memory:.2f} times: "
            + goal(f"at most {GOAL_MEMORY}", memory <= GOAL_MEMORY),
        ],
        figures={str(rows): told for rows, told in found.items()},
    )


if __name__ == "__main__":
    say(json.dumps(search(Path(sys.argv[1]))))
