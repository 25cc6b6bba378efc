"""What ``list_memory`` runs of the driver: whole commands over as many files as are listed.

The files are empty, so that each is a reject as soon as it is opened: what the driver holds of a
file does not depend on what a worker makes of it. Most are further names of the same files, or ten
million would need as many inodes. Objects of a store are listed and planned only.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common import MASTER, finish, python, say
from benchmarks.list_memory_child import own_bytes
from benchmarks.s3_server import generated_bucket
from pulmospark import chunks
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.data.ingest.ingest import ingest
from pulmospark.inference.batch.inputs import resolve_inputs
from pulmospark.inference.batch.list_inputs import list_inputs
from pulmospark.inference.batch.predict import predict
from pulmospark.layouts.base import ListingNotes
from pulmospark.spark.session import spark_session

_FOLDER_FILES = 1_000
_NAMES = 10_000
"""of a file: a file system may allow no more than some 60,000"""
_LOOK_S = 0.05


class Peak:
    """The most memory that this process has held since, bytes."""

    def __init__(self) -> None:
        self.most = self.begun = own_bytes()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_S):
            self.most = max(self.most, own_bytes())

    def end(self) -> float:
        """MiB."""
        self._ended.set()
        self._thread.join()
        return round(max(self.most, own_bytes()) / 1024**2, 1)


def write_tree(folder: Path, count: int) -> Iterator[Path]:
    """So many names of empty files, in two classes."""
    file = folder
    for number in range(count):
        place = folder / "AB"[number % 2] / f"{number // _FOLDER_FILES:06d}"
        if number % _FOLDER_FILES < 2:
            place.mkdir(parents=True)
        path = place / f"{number:010d}.png"
        if number % _NAMES:
            path.hardlink_to(file)
        else:
            path.touch()
            file = path
        yield path


def main(kind: str, count: int, folder: Path) -> None:
    """Write the files, run the command, end with a line of JSON."""
    if kind == "store":
        _store(count, folder)
        return
    if kind == "bundle":
        from benchmarks.score import benchmark_bundle  # of torch, which the driver does without

        benchmark_bundle(folder, "squeezenet1_1")
        return
    tree, sheet = folder / "tree", folder / "list.csv"
    with sheet.open("w", encoding="utf-8") as lines:
        lines.write("path\n")
        lines.writelines(f"{path}\n" for path in write_tree(tree, count))
    bundle = folder / "bundle"
    if kind == "list":  # in another process, whose memory is not measured
        finish(python("-m", "benchmarks.driver_memory_child", "bundle", "0", str(bundle)))
    begun = time.perf_counter()
    with spark_session(MASTER) as spark:
        peak = Peak()
        if kind == "list":
            done = predict(bundle, [str(sheet)], folder / "out", spark, quiet=True)
            rejects = done.rejects
        else:
            source = SourceSettings(path=tree, layout="class_folders")
            rejects = ingest([source], IngestSettings(), folder / "out", spark, quiet=True).rejects
        assert rejects == count, rejects
        result = {"driver_mib": peak.end(), "jvm_mib": _of_jvm(spark)}
    say(json.dumps({**result, "seconds": round(time.perf_counter() - begun, 1)}))


def _of_jvm(spark: object) -> float:
    """MiB of objects that the JVM still uses."""
    jvm = spark.sparkContext._jvm  # type: ignore[attr-defined]
    for _ in range(3):
        jvm.java.lang.System.gc()
    runtime = jvm.java.lang.Runtime.getRuntime()
    return round(int(runtime.totalMemory() - runtime.freeMemory()) / 1024**2, 1)


def _store(count: int, folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(generated_bucket(count))
        begun, peak = time.perf_counter(), Peak()
        target = folder / "list.parquet"
        assert list_inputs(resolve_inputs(["s3://hospital/in"]), target, ListingNotes()) == count
        planned = chunks.evened([target], 2)
        assert sum(chunk.rows for chunk in planned) == count
        result = {"driver_mib": peak.end(), "jvm_mib": 0.0}
    say(json.dumps({**result, "seconds": round(time.perf_counter() - begun, 1)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
