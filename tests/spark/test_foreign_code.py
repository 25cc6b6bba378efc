"""Nothing of the current folder is imported: a data set's folder may hold anything."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from pulmospark.core.python_path import guard_children, leave_current_folder
from pulmospark.imaging.decode_subprocess import _child, _end, decode_codestream
from pulmospark.training.launch import run_rank

_HOSTILE = "open({mark!r}, 'a').write({name!r} + ' ')\nraise ImportError"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A data set, and beside it a module for each name that any library could be imported by."""
    for place in ("set/covid/a.png", "set/normal/b.png"):
        path = tmp_path / place
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((64, 64), len(place) * 9, np.uint8)).save(path)
    mark = str(tmp_path / "ran")
    for name in {*sys.stdlib_module_names, *packages_distributions()}:
        if name.isidentifier():
            text = _HOSTILE.format(mark=mark, name=name)
            (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    (tmp_path / "dl").mkdir()  # a namespace package, by which a library asks for an optional part
    return tmp_path


def _ran(folder: Path) -> str:
    mark = folder / "ran"
    return mark.read_text(encoding="utf-8") if mark.exists() else ""


@pytest.mark.spark
def test_ingest_in_a_hostile_folder(hostile: Path) -> None:
    command = [str(Path(sys.executable).with_name("pulmospark")), "ingest", "set", "--out", "o"]
    done = subprocess.run(
        [*command, "--master", "local[1]"],
        cwd=hostile, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert _ran(hostile) == ""
    assert done.returncode == 0, done.stderr
    assert "2 images, 0 rejects" in done.stdout


@pytest.mark.parametrize("variable", [None, "", os.pathsep, f"{os.pathsep}/nowhere", "."])
def test_the_start_of_the_command_line_leaves_the_folder(
    hostile: Path, variable: str | None
) -> None:
    """``python -m`` and an empty entry of PYTHONPATH name it before any code of ours runs."""
    for name in ("cv2", "random", "click"):  # what Python itself needs first is not ours to guard
        (hostile / "few").mkdir(exist_ok=True)
        (hostile / f"{name}.py").rename(hostile / "few" / f"{name}.py")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if variable is not None:
        environment["PYTHONPATH"] = variable
    (hostile / "few" / "dl").mkdir()
    command = [sys.executable, "-m", "pulmospark", "layouts"]
    done = subprocess.run(
        command, cwd=hostile / "few", env=environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (_ran(hostile), done.returncode) == ("", 0), done.stderr


def test_children_are_started_outside_of_it(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(hostile)
    _child.cache_clear()  # that of another test was started elsewhere
    grey = np.arange(64, dtype=np.uint16).reshape(8, 8)
    encoded = bytes(imagecodecs.jpegls_encode(grey))
    assert np.array_equal(decode_codestream("jpegls", encoded), grey)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(RuntimeError, match="ended"):  # there is no plan
        run_rank({}, str(hostile / "plan.json"), {}, None)
    assert _ran(hostile) == ""
    _end(_child(os.getpid()).process)
    _child.cache_clear()


@pytest.mark.parametrize(
    ("variable", "kept"),
    [
        (":below::/elsewhere:.", ["{}/below", "/elsewhere"]),
        ("{}:.", ["{}"]),  # named in full: that is the user's own choice
        (".", []),
    ],
)
def test_the_path_keeps_what_is_named(
    variable: str, kept: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = str(tmp_path)
    kept = [entry.format(here) for entry in kept]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", variable.format(here))
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    library = [str(Path(os.__file__).parent), "/site", here]  # the last: as of an editable install
    monkeypatch.setattr(sys, "path", [here, "", *kept, *library])
    leave_current_folder()
    assert sys.path[-len(library) :] == library
    assert list(dict.fromkeys(sys.path[: -len(library)])) == kept
    guard_children()
    assert os.environ["PYTHONPATH"] == os.pathsep.join(kept)
    assert os.environ["PYTHONSAFEPATH"] == "1"
