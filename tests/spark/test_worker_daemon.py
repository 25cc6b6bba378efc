"""Workers that are forked from a daemon which has imported what they need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pulmospark.spark import worker_daemon
from pulmospark.spark.tasks import run_tasks

_PRELOAD = """
import json, os, sys
from pathlib import Path
from pulmospark.spark.worker_daemon import preload
preload()
threads = len(list(Path("/proc/self/task").iterdir()))
heavy = sorted({"torch", "pandas", "matplotlib", "openvino"} & set(sys.modules))
print(json.dumps([threads, heavy, "cv2" in sys.modules]))
"""


def test_nothing_that_it_imports_starts_a_thread() -> None:
    """A fork copies one thread alone: a lock that another holds would never be released."""
    done = subprocess.run(
        [sys.executable, "-c", _PRELOAD], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == [1, [], True]


@pytest.mark.spark
def test_a_local_session_forks_its_workers_from_it(spark: SparkSession) -> None:
    def parent(number: int) -> list[str]:  # within: sent by value
        import os

        return [f"{number} {Path(f'/proc/{os.getppid()}/cmdline').read_text()}"]

    answers = run_tasks(spark, parent, 3)
    assert [answer.split()[0] for answer in answers] == ["0", "1", "2"]
    assert all(worker_daemon.MODULE in answer for answer in answers)


def test_nothing_but_the_daemon_s_answer_gets_to_standard_output(tmp_path: Path) -> None:
    (tmp_path / "simplejpeg.py").write_text("print('hello'); import os; os.write(1, b'hello')")
    program = (
        "import sys; import pyspark.daemon; pyspark.daemon.manager = lambda: print('address')\n"
        "from pulmospark.spark.worker_daemon import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout == "address\n"
    assert "hello" in done.stderr
