"""What an output says of what made it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path


def _pyspark_told(code: str, **more: str) -> str:
    told = "import json; from pulmospark.core.provenance import provenance; "
    told += "print(json.dumps(provenance({})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {told}"],
        capture_output=True,
        text=True,
        env={**os.environ, **more},
        check=True,
    )
    version: str = json.loads(done.stdout)["libraries"]["pyspark"]
    return version


def test_the_pyspark_that_runs_is_told_not_the_one_that_is_installed(tmp_path: Path) -> None:
    """As under spark-submit, which puts the PySpark of SPARK_HOME before all others."""
    (tmp_path / "pyspark").mkdir()
    (tmp_path / "pyspark" / "__init__.py").write_text("__version__ = '9.8.7'\n")
    assert _pyspark_told("import pyspark", PYTHONPATH=str(tmp_path)) == "9.8.7"
    assert _pyspark_told("pass") == metadata.version("pyspark")
