"""OpenVINO is used without a word to anyone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Prints every name that is looked up and every place that is connected to.
WATCH = """
import sys
def record(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo"}:
        print(event, arguments)
sys.addaudithook(record)
"""
PREPARE = """
from pathlib import Path
from pulmospark.models.zoo import networks as zoo
from pulmospark.inference.engine.open_engine import open_engine
from pulmospark.inference.engine.build import prepare_engine
spec = prepare_engine(zoo.build("basic_cnn", 2), Path(sys.argv[1]), size=32, kind="openvino")
open_engine(spec)
print("openvino" in sys.modules)
"""


def _python(program: str, folder: Path, **environment: str) -> list[str]:
    # Not in CI, as OpenVINO sees it: there it keeps silent by itself.
    others = {k: v for k, v in os.environ.items() if k not in {"CI", "JENKINS_URL", "TF_BUILD"}}
    done = subprocess.run(
        [sys.executable, "-c", WATCH + program, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**others, "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(folder)},
    )
    return done.stdout.splitlines()


def test_nothing_is_sent_and_nothing_written_to_the_home_folder(tmp_path: Path) -> None:
    assert _python(PREPARE, tmp_path) == ["True"]
    assert not (tmp_path / "intel").exists()


@pytest.mark.parametrize("first", [True, False])
def test_leaves_the_users_modules_as_they_were(tmp_path: Path, first: bool) -> None:
    program = """
from pulmospark.inference.engine.openvino_import import import_openvino
import openvino_telemetry as before
openvino = import_openvino()
import openvino_telemetry as after
print(before is after, import_openvino() is openvino)
"""
    if not first:
        program = program.replace("import openvino_telemetry as before", "before = None")
        program = program.replace("before is after", "after.Telemetry is not None")
    assert _python(program, tmp_path) == ["True True"]


def test_threads_whose_first_runs_meet_do_not_wait_for_each_other(tmp_path: Path) -> None:
    program = """
import threading
from pulmospark.inference.engine.openvino_import import import_openvino
openvino = import_openvino()
barrier = threading.Barrier(8)
def first_run():
    barrier.wait()
    openvino.Type.u8.to_dtype()  # where they met
threads = [threading.Thread(target=first_run) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""
    assert [_python(program, tmp_path) for _ in range(2)] == [["done"], ["done"]]
