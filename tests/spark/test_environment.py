"""Environments in which Spark's JVM cannot start are named before it is tried."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pulmospark.core.errors import PlatformError
from pulmospark.spark.environment import check_spark_home, check_user


def test_spark_home_of_another_spark(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "pyspark"
    package.mkdir(parents=True)
    for fine in ({}, {"SPARK_HOME": ""}, {"SPARK_HOME": str(package)}):
        check_spark_home(fine, package, "4.0.1")
    other = tmp_path / "spark"
    with pytest.raises(PlatformError, match=r"SPARK_HOME=.*contains no Spark: unset"):
        check_spark_home({"SPARK_HOME": str(other)}, package, "4.0.1")
    (other / "jars").mkdir(parents=True)
    check_spark_home({"SPARK_HOME": str(other)}, package, "4.0.1")  # it does not say which
    (other / "jars" / "spark-core_2.12-3.5.1.jar").touch()
    with pytest.raises(PlatformError, match=r"contains Spark 3\.5\.1.*is 4\.0\.1: unset"):
        check_spark_home({"SPARK_HOME": str(other)}, package, "4.0.1")
    check_spark_home({"SPARK_HOME": str(other)}, package, "3.5.1")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_a_user_without_an_entry() -> None:
    code = (
        "import os; from pulmospark.spark.environment import check_user as check; "
        "from pulmospark.core.machine import cache_folder; os.setuid(54321); "
        "from pulmospark.core.errors import PlatformError\n"
        "for call in (check, cache_folder):\n"
        "    try: call()\n"
        "    except PlatformError as error: print(error.message)"
    )
    environment = {k: v for k, v in os.environ.items() if k not in {"HOME", "XDG_CACHE_HOME"}}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    user, home = done.stdout.splitlines()
    assert "user id 54321 has no entry in /etc/passwd" in user
    assert "set HOME or XDG_CACHE_HOME" in home


def test_this_user_is_fine() -> None:
    check_user()
