"""Runs a function of a test in a Python whose Spark has a store's credentials.

Credentials are those with which a JVM was started; the tests' common session has none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_SCRIPT = """
import importlib, json, sys
from pulmospark.spark.session import spark_session
module, function, place = sys.argv[1:]
called = getattr(importlib.import_module(module), function)
with spark_session("local[1]") as spark:
    print(json.dumps(called(spark, place)))
"""


def in_own_session(module: str, function: str, place: object) -> Any:
    """What a function answers that takes a session and a text; values of JSON's kinds."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, module, function, str(place)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
