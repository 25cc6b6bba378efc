"""A command of one image runs in a child process, whose crash is an error of one line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from bundles import write_untrained

START = """
import os, sys, signal, time
from pulmospark.cli.child_process import continue_in_child
from pulmospark.core.errors import InputError
parent = os.getpid()
try:
    continue_in_child("image.png")
except InputError as error:
    print(error.message, flush=True)
    sys.exit(error.exit_code)
assert os.getpid() != parent and os.getppid() == parent
"""


def _start(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START + program], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_an_error_that_names_the_image(number: signal.Signals) -> None:
    process = _start(f"os.kill(os.getpid(), {int(number)})")
    output, _ = process.communicate(timeout=60)
    assert output.startswith("image.png: ended_its_worker")
    assert number.name in output
    assert process.returncode == 3


@pytest.mark.parametrize("code", [0, 4])
def test_the_exit_code_is_the_childs(code: int) -> None:
    process = _start(f"print('scored'); sys.exit({code})")
    output, _ = process.communicate(timeout=60)
    assert (output, process.returncode) == ("scored\n", code)


WAIT = """
interrupts = 0
try:
    print(os.getpid(), flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    interrupts += 1
try:
    time.sleep(0.3)
except KeyboardInterrupt:
    interrupts += 1
print("interrupts", interrupts)
sys.exit(130)
"""


def test_an_interrupt_reaches_the_child_once() -> None:
    process = _start(WAIT)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert (output, process.returncode) == ("interrupts 1\n", 130)


def test_ending_the_command_ends_the_child() -> None:
    process = _start(WAIT)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert not Path(f"/proc/{child}").exists()


PREDICT = """
import sys
sys.argv = ["pulmospark", "predict", *sys.argv[1:]]
from pulmospark.cli.main import main
main()
"""
CRASH = """
import os
from pulmospark.imaging import image
image.decode = lambda *_, **__: os.abort()
"""


def _predict(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program + PREDICT, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bundle`` and ``a.png``."""
    folder = tmp_path_factory.mktemp("predict")
    image = np.random.default_rng(1).integers(0, 256, (70, 70), dtype=np.uint8)
    assert cv2.imwrite(str(folder / "a.png"), image)
    write_untrained(folder / "bundle")
    return folder


def test_one_image_is_scored_in_one_process_and_a_crash_is_one_line(folder: Path) -> None:
    arguments = (folder / "bundle", folder / "a.png", "--json")
    scored = _predict("", *arguments)
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["images"] == 1
    crashed = _predict(CRASH, *arguments)
    assert crashed.returncode == 3
    error = json.loads(crashed.stdout)["error"]
    assert "SIGABRT" in error["message"]
    assert str(folder / "a.png") in error["message"]


def test_one_image_needs_neither_pandas_nor_torch_nor_arrows_data_sets(folder: Path) -> None:
    _predict("", folder / "bundle", folder / "a.png")  # converts the network
    at_exit = """
import atexit, sys
heavy = {"pandas", "torch", "pyarrow.dataset", "pyspark", "openvino.tools", "pydicom"}
atexit.register(lambda: print(sorted(heavy & set(sys.modules)), file=sys.stderr))
"""
    scored = _predict(at_exit, folder / "bundle", folder / "a.png")
    # of the process that scores, and of the one that waits for it
    assert scored.stderr.splitlines() == ["[]", "[]"]
