"""Scoring on a standalone cluster of two workers with a core each, against ``local[2]``."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import cluster_child
from benchmarks.common import (
    MASTER,
    PROCESSES,
    SPEED_HEAD,
    Options,
    Report,
    data_folder,
    goal,
    python,
    say,
    scratch,
    speed_rows,
    speeds,
    start,
    take_turns,
)
from benchmarks.pictures import DIFFERENT, pictures, write_images
from benchmarks.servers import standalone
from benchmarks.stream_process import untrained_bundle

GOAL = 0.9
_MODEL = "mobilenet_v2"
_CLUSTER = f"standalone, {PROCESSES} workers of 1 core"


def measure(options: Options) -> Report:
    """Images a second of both, from the listing to the published table, start-up left out."""
    made_of = pictures(data_folder(options), count=4 if options.small else DIFFERENT)
    with scratch(options) as folder:
        images = folder / "images"
        write_images(images, options.planned, made_of)
        bundle = untrained_bundle(folder / "model", options.models[0] if options.small else _MODEL)
        (folder / "servers").mkdir()
        with (
            standalone(folder / "servers", PROCESSES) as cluster,
            _child(MASTER, bundle, images, folder / "local") as local,
            _child(cluster.url, bundle, images, folder / "cluster") as remote,
        ):
            for program in (local, remote):
                say(f"first run, not counted: {program():.2f} s")
            seconds = take_turns({MASTER: local, _CLUSTER: remote}, options.repeats or 5)
    found = speeds(options.planned, seconds, MASTER)
    reached = found[_CLUSTER]["of_bare"]
    return Report(
        name="cluster",
        title=f"scoring {options.planned:,} images, {made_of.described()}",
        head=(*SPEED_HEAD[:2], f"of {MASTER}", SPEED_HEAD[3]),
        rows=speed_rows(found),
        notes=[goal(f"{_CLUSTER}: at least {GOAL} of {MASTER}", reached >= GOAL)],
        figures={"warm": found},
    )


@contextlib.contextmanager
def _child(master: str, bundle: Path, images: Path, out: Path) -> Iterator[Callable[[], float]]:
    """A process with a session of its own, and what asks it for a round."""
    command = python("-m", cluster_child.__name__, master, str(bundle), str(images), str(out))
    with start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        asking, answers = process.stdin, process.stdout
        assert asking is not None
        assert answers is not None

        def one_round() -> float:
            asking.write("go\n")
            asking.flush()
            return float(answers.readline())

        yield one_round
        asking.close()
