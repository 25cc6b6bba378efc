"""What the benchmarks of the stream share: a bundle, its images, and the stream as a process."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from benchmarks.common import MASTER, python, start
from benchmarks.pictures import Pictures
from pulmospark.models.bundle.bundle import BundleConfig, CardFacts, write_bundle
from pulmospark.models.zoo import networks

RETRYING = f"{MASTER[:-1]},4]"
"""as the command's own default: a task whose worker is killed is tried again"""

_CLASSES = ("COVID-19", "normal", "pneumonia")
WAIT_S = 180.0
_LOOK_S = 0.005


def untrained_bundle(folder: Path, model: str) -> Path:
    """A bundle of a network that has learnt nothing: it costs what a trained one costs."""
    import torch

    torch.manual_seed(1)
    network = networks.build(model, len(_CLASSES))
    config = BundleConfig.for_network(
        network, classes=_CLASSES, input_size=networks.entry(model).input_size,
        fit="stretch", temperature=1.0,
        method="network", operating_points=(),
    )  # fmt: skip
    write_bundle(folder, network, config, {}, CardFacts(name="benchmark"))
    return folder


def land(inbox: Path, name: str, data: bytes) -> float:
    """Write an image aside and rename it into the inbox; when, in seconds since 1970."""
    aside = inbox / f"{name}.part"
    aside.write_bytes(data)
    aside.rename(inbox / name)
    return time.time()


def land_many(inbox: Path, images: range, made_of: Pictures) -> None:
    """As many images, each another."""
    for number in images:
        land(inbox, f"image-{number:06d}.jpg", made_of.file(number))


class Stream:
    """``pulmospark stream`` in a process group of its own."""

    def __init__(
        self,
        bundle: Path,
        inbox: Path | str,
        out: Path | str,
        log: Path,
        *more: str,
        master: str = RETRYING,
    ) -> None:
        self.started = time.time()
        with log.open("ab") as file:
            self.process = start(
                python("-m", "pulmospark", "stream", str(bundle), str(inbox), "--out", str(out),
                       "--master", master, *more),
                start_new_session=True, stdout=subprocess.DEVNULL, stderr=file,
            )  # fmt: skip

    def kill(self, victim: str, chance: random.Random) -> bool:
        """SIGKILL to ``driver``, ``jvm``, a ``worker`` or ``all``; whether there was one."""
        found: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            driver = psutil.Process(self.process.pid)
            below = driver.children(recursive=True)
            kinds = {
                "driver": [driver],
                "jvm": [one for one in below if _is_spark(one)],
                "worker": [one for one in below if _is_worker(one)],
                "all": [driver, *below],
            }
            found = kinds[victim]
        if victim == "worker" and found:
            found = [chance.choice(found)]
        killed = False
        for one in found:
            with contextlib.suppress(psutil.Error):
                one.kill()
                killed = True
        return killed

    def settle(self) -> None:
        """Wait until the driver has ended, or has another JVM, as after one that did not start.

        Raises:
            RuntimeError: neither happens.
        """
        end = time.monotonic() + WAIT_S
        while self.running() and not self._has_jvm():
            if time.monotonic() > end:
                raise RuntimeError("the driver goes on without a JVM")
            time.sleep(_LOOK_S)

    def _has_jvm(self) -> bool:
        with contextlib.suppress(psutil.Error):
            return any(map(_is_spark, psutil.Process(self.process.pid).children(recursive=True)))
        return False

    def running(self) -> bool:
        """Whether the driver lives."""
        return self.process.poll() is None

    def stop(self) -> int:
        """Stop as a user does; the exit code."""
        if self.running():
            os.kill(self.process.pid, signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def clear(self) -> None:
        """End what a killed driver has left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def streaming(bundle: Path, inbox: Path, out: Path, log: Path, *more: str) -> Iterator[Stream]:
    """A stream that is ready, stopped at the end."""
    stream = Stream(bundle, inbox, out, log, *more)
    try:
        wait(lambda: "stream: ready" in log.read_text(encoding="utf-8"), stream)
        yield stream
        if code := stream.stop():
            raise RuntimeError(f"the stream ended with exit code {code}: see {log}")
    finally:
        stream.clear()


def wait(what: Callable[[], bool], stream: Stream) -> None:
    """Wait until something is so."""
    end = time.monotonic() + WAIT_S
    while not what():
        if not stream.running() or time.monotonic() > end:
            raise RuntimeError("the stream ended, or nothing came of it")
        time.sleep(_LOOK_S)


class Reader:
    """A reader of a table that looks for parts it has not read."""

    def __init__(self, out: Path, table: str = "predictions") -> None:
        self._folder = out / table
        self._read: set[str] = set()
        self.rows: dict[str, float] = {}
        """path of an image -> when its row was read, seconds since 1970"""

    def look(self) -> int:
        """Read what is new; images read so far."""
        if self._folder.is_dir():
            for name in sorted(set(os.listdir(self._folder)) - self._read):  # noqa: PTH208 - fast
                if name.endswith(".parquet") and not name.startswith("."):
                    uris = pq.read_table(self._folder / name, columns=["uri"])["uri"].to_pylist()
                    self._read.add(name)
                    self.rows.update(dict.fromkeys(uris, time.time()))
        return len(self.rows)


def _is_spark(process: psutil.Process) -> bool:
    """Spark's JVM, and no Java that prepares its start: the stream starts another in that case."""
    if process.name() != "java":
        return False
    words = process.cmdline()
    prepares = any("launcher.Main" in word for word in words)
    return not prepares and any("SparkSubmit" in word for word in words)


def _is_worker(process: psutil.Process) -> bool:
    """A Python worker or its daemon; the stream's planner, another child of Java's, as well."""
    parent = process.parent()
    return process.name().startswith("python") and parent is not None
