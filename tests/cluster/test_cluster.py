"""The same tests on a standalone cluster: a master and two workers of one core, on loopback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest

from pulmospark.spark.java import find_java

_DISTRIBUTED = "tests/training/test_distributed.py::"
_TESTS = (
    "tests/experiment/test_run.py",
    _DISTRIBUTED + "test_two_processes_train_one_network",
    _DISTRIBUTED + "test_a_worker_s_own_error_is_what_is_raised",
    "tests/data/test_split.py",
)
_START_S = 60


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _launch(kind: str, *arguments: str, folder: Path) -> subprocess.Popen[bytes]:
    home = Path(pyspark.__file__).parent
    env = {
        **os.environ,
        "JAVA_HOME": str(find_java().home),
        "SPARK_WORKER_DIR": str(folder / "work"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "PYSPARK_PYTHON": sys.executable,
    }
    with (folder / f"{kind.rsplit('.', 1)[-1]}-{time.monotonic_ns()}.log").open("wb") as log:
        return subprocess.Popen(
            [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{kind}", *arguments],
            stdout=log,
            stderr=log,
            env=env,
        )


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("cluster")
    port, page = _free_port(), _free_port()
    url = f"spark://127.0.0.1:{port}"
    where = ["--host", "127.0.0.1"]
    running = [
        _launch(
            "master.Master", *where, "--port", str(port), "--webui-port", str(page), folder=folder
        )
    ]
    running += [
        _launch("worker.Worker", *where, "--cores", "1", "--memory", "2g", url, folder=folder)
        for _ in range(2)
    ]
    try:
        _wait(folder)
        yield url
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)


def _wait(folder: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        text = "".join(path.read_text(errors="replace") for path in folder.glob("Master-*.log"))
        if text.count("Registering worker") >= 2:
            return
        time.sleep(0.3)
    pytest.fail(f"the cluster did not start within {_START_S} s: {text[-2000:]}")


def test_the_stages_pass_on_a_standalone_cluster(master: str) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *_TESTS],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "PULMOSPARK_TEST_MASTER": master, "SPARK_LOCAL_IP": "127.0.0.1"},
    )
    assert done.returncode == 0, done.stdout[-4000:]
    found = re.search(r"(\d+) passed", done.stdout)
    assert found is not None
    assert int(found.group(1)) >= 10
    assert "skipped" not in done.stdout
