"""Which libraries each command imports before its work: start-up is imports, for the most part."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

LIBRARIES = frozenset(
    {
        *("cv2", "jinja2", "matplotlib", "numpy", "openvino", "pandas", "pyarrow", "pydantic"),
        *("pydicom", "pyspark", "scipy", "sklearn", "torch", "torchvision"),
    }
)
_SETTINGS = {"pydantic", "pyarrow", "numpy"}
_IMAGES = _SETTINGS | {"cv2", "pydicom"}
_LISTS = _IMAGES | {"pandas", "pyspark"}

_CASES = {
    "the command line": ("from pulmospark.cli.main import cli", set()),
    "the stages": ("from pulmospark.experiment import pipeline", _SETTINGS),
    "a session": ("from pulmospark.spark import session", {"pydantic", "pyspark"}),
    "what starts the workers": ("from pulmospark.spark import engine_choice", {"pydantic"}),
    "the driver of a prediction": ("from pulmospark.inference.batch import predict", _SETTINGS),
    "ingest": (
        "from pulmospark.experiment import pipeline; from pulmospark.data.ingest import ingest",
        _LISTS,
    ),
    "split": (
        "from pulmospark.experiment import pipeline, near_copies; "
        "from pulmospark.data.cohort import split",
        _LISTS | {"scipy"},
    ),
    "work on chunks": (
        "from pulmospark.audit import occlusion; from pulmospark.data.duplicates import overlays; "
        "from pulmospark.inference.batch import tasks; "
        "from pulmospark.inference.engine import tasks; "
        "from pulmospark.training import augmented_images",
        _IMAGES | {"scipy"},
    ),
    "phantoms": ("from pulmospark.phantoms import write", _IMAGES),
    "the checks before a run": ("from pulmospark.experiment import check", _IMAGES),
    "phrases of the report": (
        "from pulmospark.report import phrasing",
        _LISTS - {"pandas"} | {"scipy"},
    ),
}


def imported_by(code: str) -> set[str]:
    """Libraries that a fresh Python has imported after ``code``."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return set(json.loads(done.stdout)) & LIBRARIES


@pytest.mark.parametrize("name", _CASES)
def test_only_what_the_work_needs_is_imported(name: str) -> None:
    code, needed = _CASES[name]
    assert imported_by(code) <= needed


def test_the_libraries_are_those_there_are() -> None:
    """A name that no package has would pass every case above."""
    assert [name for name in LIBRARIES if importlib.util.find_spec(name) is None] == []


def test_the_stages_of_a_run_leave_the_distributions_of_scipy_out() -> None:
    """Half a second of every command that trains or evaluates; its special functions suffice."""
    program = (
        "from pulmospark.experiment import pipeline; pipeline.import_stages()\n"
        "import sys; print('scipy.special' in sys.modules, 'scipy.stats' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["True", "False"]
