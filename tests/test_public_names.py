"""What ``import pulmospark as ps`` gives, and that the import itself takes next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import pulmospark as ps
from pulmospark.core import errors

HEAVY = ("pyspark", "torch", "pandas", "pydantic", "pyarrow", "numpy", "openvino", "matplotlib")


def test_the_public_names_are_these() -> None:
    assert sorted(ps.__all__) == [
        *("AuditError", "AuditReport", "BundleError", "ClassError", "Experiment", "HeatMap"),
        *("InputError", "LayoutError", "Model", "NOT_A_MEDICAL_DEVICE", "PlatformError"),
        *("Prediction", "PulmosparkError", "Run", "SourceSettings", "SourceUnavailableError"),
        *("TrainingError", "UsageError", "__version__"),
        *("load", "open_run", "read_table", "run"),
    ]  # fmt: skip


def test_each_name_is_there_and_is_listed() -> None:
    for name in ps.__all__:
        assert getattr(ps, name) is not None
        assert name in dir(ps)


def test_all_errors_are_public() -> None:
    own = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.PulmosparkError)
    }
    assert own <= set(ps.__all__)
    assert all(getattr(ps, name) is getattr(errors, name) for name in own)


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'pulmospark' has no attribute 'trian'"):
        ps.trian  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="trian"):
        from pulmospark import trian  # type: ignore[attr-defined]  # noqa: F401


def test_the_import_is_quick_and_brings_no_library() -> None:
    code = f"""
import json, sys, time
started = time.perf_counter()
import pulmospark as ps
seconds = time.perf_counter() - started
dir(ps)
libraries = [name for name in {HEAVY!r} if name in sys.modules]
ps.InputError
print(json.dumps([seconds, libraries, "pydantic" in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, libraries, errors_bring_pydantic = json.loads(done.stdout)
    assert seconds <= 0.1
    assert libraries == []
    assert not errors_bring_pydantic
