"""The session: whose it is, what it is told, and what is said where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from pyspark.sql import SparkSession

from pulmospark.core.errors import PlatformError
from pulmospark.spark.session import slots, spark_session

pytestmark = pytest.mark.spark


def test_an_active_session_is_used_and_stays(spark: SparkSession) -> None:
    with spark_session("local[7]", {"spark.app.name": "other"}) as inner:
        assert inner is spark
    assert spark.range(3).count() == 3


def test_other_children_of_the_caller_keep_their_path(spark: SparkSession) -> None:
    """What guards Spark's Pythons from the current folder ends with the start of its JVM."""
    assert "PYTHONSAFEPATH" not in os.environ


def test_slots_are_those_of_the_session(spark: SparkSession) -> None:
    assert slots(spark) == 2


class _Gone:
    """A session whose JVM has ended."""

    stops = 0

    def stop(self) -> None:
        self.stops += 1
        raise ConnectionRefusedError("nobody answers")


def test_an_error_on_its_way_is_not_hidden_by_a_spark_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = _Gone()
    none_active = SimpleNamespace(getActiveSession=lambda: None)
    monkeypatch.setattr("pulmospark.spark.session.SparkSession", none_active)
    monkeypatch.setattr("pulmospark.spark.session._start", lambda *_: session)
    with pytest.raises(PlatformError, match="why"), spark_session():
        raise PlatformError("why")
    assert session.stops == 1
    with pytest.raises(ConnectionRefusedError), spark_session():
        pass


_OWN = """
from pyspark.sql import SparkSession
from pulmospark.spark.session import slots, spark_session

conf = {"spark.sql.shuffle.partitions": "3", "spark.app.name": "mine"}
with spark_session("local[1]", conf) as spark:
    assert spark.conf.get("spark.sql.shuffle.partitions") == "3"
    assert spark.conf.get("spark.app.name") == "mine"
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert slots(spark) == 1
    rows = spark.range(4).mapInArrow(lambda batches: batches, "id bigint")
    assert rows.count() == 4
assert SparkSession.getActiveSession() is None
"""


def _python(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_settings_given_win_and_its_own_session_ends() -> None:
    done = _python(_OWN)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr == ""  # Spark's own dozen lines are not the user's


_REFUSED = """
from pulmospark.core.errors import PlatformError
from pulmospark.spark.session import spark_session

try:
    with spark_session({master!r}):
        pass
except PlatformError as error:
    print(error.message)
"""


@pytest.mark.parametrize(
    ("master", "words"),
    [
        ("spark://127.0.0.1:1", "spark://127.0.0.1:1 does not answer"),
        ("spark://nowhere.invalid:7077", "spark://nowhere.invalid:7077 does not answer"),
        ("sprak://127.0.0.1:1", "sprak://127.0.0.1:1"),
    ],
)
def test_a_master_that_does_not_answer_is_told_soon(master: str, words: str) -> None:
    started = time.monotonic()
    done = _python(_REFUSED.format(master=master))
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    assert words in line
    assert "--master" in line
    assert time.monotonic() - started < 60


def test_an_active_session_stays_where_another_thread_enters(spark: SparkSession) -> None:
    context = spark_session("local[7]")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(context.__enter__).result() is spark
        pool.submit(context.__exit__, None, None, None).result()
    assert spark.range(3).count() == 3
