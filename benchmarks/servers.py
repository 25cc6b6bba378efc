"""Spark's own servers on loopback: a master with workers, a Connect server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark

from pulmospark.spark.class_archive import archive_options
from pulmospark.spark.java import find_java

START_S_MAX = 90


def quick() -> dict[str, str]:
    """Settings of a session that lives for a minute and whose tables are small."""
    return {
        "spark.driver.extraJavaOptions": _quick_java(),
        "spark.executor.extraJavaOptions": _quick_java(),
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
    }


def _quick_java() -> str:
    """Options of a JVM that starts soon, with Spark's classes ready where they are kept."""
    return f"-XX:TieredStopAtLevel=1 {archive_options(find_java())}".strip()


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@dataclass(frozen=True)
class Cluster:
    """A standalone cluster that runs."""

    url: str
    workers: tuple[subprocess.Popen[bytes], ...]


def environment(folder: Path) -> dict[str, str]:
    """What Spark's servers and the workers below them are to find."""
    return {
        **os.environ,
        "JAVA_HOME": str(find_java().home),
        "SPARK_WORKER_DIR": str(folder / "work"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": "1",
        "SPARK_DAEMON_JAVA_OPTS": _quick_java(),
    }


def launch(
    name: str, arguments: Sequence[str], folder: Path, prefix: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Start a class of Spark's; what it says goes to ``<name's last word>-<number>.log``.

    Args:
        name: of the class, below ``org.apache.spark``.
        arguments: of the class.
        folder: for its log and its files.
        prefix: command that runs it, in a namespace of its own, say.
    """
    home = Path(pyspark.__file__).parent
    number = len(list(folder.glob("*.log")))
    with (folder / f"{name.rsplit('.', 1)[-1]}-{number}.log").open("wb") as log:
        return subprocess.Popen(
            [*prefix, str(home / "bin" / "spark-class"), f"org.apache.spark.{name}", *arguments],
            stdout=log,
            stderr=log,
            env=environment(folder),
        )


def stop(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """End processes, and wait for it."""
    for process in running:
        process.terminate()
    for process in running:
        process.wait(30)


def wait_for(folder: Path, words: str, count: int = 1) -> None:
    """Wait until the logs of a folder say something so many times.

    Raises:
        RuntimeError: they do not.
    """
    until = time.monotonic() + START_S_MAX
    while time.monotonic() < until:
        text = "".join(path.read_text(errors="replace") for path in folder.glob("*.log"))
        if text.count(words) >= count:
            return
        time.sleep(0.1)
    raise RuntimeError(f"no {words!r} within {START_S_MAX} s: {text[-2000:]}")


def _gpus(folder: Path) -> Path:
    """Settings of a worker that believes in a GPU: how tasks ask for one can be seen without."""
    script = folder / "gpus.sh"
    script.write_text('#!/bin/sh\necho \'{"name": "gpu", "addresses": ["0"]}\'\n')
    script.chmod(0o755)
    settings = folder / "worker.conf"
    settings.write_text(
        f"spark.worker.resource.gpu.amount 1\nspark.worker.resource.gpu.discoveryScript {script}\n"
    )
    return settings


@contextmanager
def standalone(
    folder: Path, workers: int = 2, last: Sequence[str] = (), each: Sequence[str] = ()
) -> Iterator[Cluster]:
    """A master and workers of one core each, who say that they have a GPU, too.

    Args:
        folder: for logs and files.
        workers: how many.
        last: command that runs the last of them.
        each: command that runs each of the others.
    """
    port = free_port()
    url = f"spark://127.0.0.1:{port}"
    where = ["--host", "127.0.0.1", "--webui-port", "0"]
    master = launch("deploy.master.Master", [*where, "--port", str(port)], folder)
    running = [master]
    try:
        wait_for(folder, "I have been elected leader")
        size = ["--cores", "1", "--memory", "2g", "--properties-file", str(_gpus(folder))]
        running += [
            launch(
                "deploy.worker.Worker",
                [*where, *size, url],
                folder,
                last if last and number == workers - 1 else each,
            )
            for number in range(workers)
        ]
        wait_for(folder, "Registering worker", workers)
        yield Cluster(url, tuple(running[1:]))
    finally:
        stop(running)


@contextmanager
def connect_server(folder: Path, slots: int = 2) -> Iterator[str]:
    """A Spark Connect server on a local Spark; its address."""
    port = free_port()
    conf = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        **quick(),
    }
    settings = [part for key, value in conf.items() for part in ("--conf", f"{key}={value}")]
    server = launch(
        "deploy.SparkSubmit",
        [
            *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer"),
            *("--master", f"local[{slots}]", "--name", "Spark Connect server"),
            *settings,
            "spark-internal",
        ],
        folder,
    )
    try:
        wait_for(folder, "Spark Connect server started")
        yield f"sc://127.0.0.1:{port}"
    finally:
        stop([server])
