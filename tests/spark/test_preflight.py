"""An executor is held against the driver, and what it lacks is one line with its name."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

import pulmospark
from pulmospark.chunks.work_list import listed_chunks, reads_of
from pulmospark.chunks.worker_check import expected, faults
from pulmospark.core import limits
from pulmospark.core.errors import PlatformError
from pulmospark.spark import preflight as module
from pulmospark.spark.preflight import executors_known, preflight, seen_here

_HOST = platform.node()


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "READ_PAUSE_S", 0.0)


def test_a_worker_like_the_driver_lacks_nothing(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    (tmp_path / "token").touch()
    reads = (str(tmp_path / "images"), str(tmp_path / "images" / "a.png"))
    assert list(faults(expected(reads, str(tmp_path / "token")))) == []
    assert len(list(tmp_path.glob("token.*"))) == 1  # the driver sees that it was written


def test_each_lack_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulmospark.chunks.worker_check.MODULES", ("numpy", "no_such_package"))
    (tmp_path / "empty").mkdir()
    reads = (str(tmp_path / "lost"), str(tmp_path / "empty"))
    wanted = replace(expected(reads, str(tmp_path / "out" / "token")), version="0.1", python="3.8")
    version, python, modules, lost, empty, out = faults(wanted)
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert version.startswith(f"{_HOST}: has pulmospark {pulmospark.__version__}, but the driver")
    assert python.startswith(f"{_HOST}: has Python {own} ")
    assert "3.8: set PYSPARK_PYTHON to the same" in python
    assert f"{sys.executable} lacks no_such_package: install" in modules
    assert lost.startswith(f"{_HOST}: {tmp_path}/lost: No such file or directory, though")
    assert empty.startswith(f"{_HOST}: {tmp_path}/empty: the folder is empty, though")
    assert out.startswith(f"{_HOST}: {tmp_path}/out: No such file or directory, though")


def test_only_what_the_driver_reads_itself_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    names = ("a.png", "gone.png", "empty", "pipe.png", "a.png", "nul\0")
    assert seen_here(f"{tmp_path}/{name}" for name in names) == (f"{tmp_path}/a.png",)


def test_samples_are_the_first_the_middle_and_the_last(tmp_path: Path) -> None:
    problems = ["unreadable", *[None] * 99]
    table = pa.table(
        {
            "uri": [str(n) for n in range(100)],
            "size_bytes": [1] * 100,
            "problem": pa.array(problems, pa.string()),
        }
    )
    pq.write_table(table, tmp_path / "list.parquet")
    assert reads_of(listed_chunks([tmp_path / "list.parquet"], 10)) == ["1", "40", "90"]
    assert reads_of(listed_chunks([tmp_path / "list.parquet"])) == ["1"]
    assert reads_of([]) == []


@pytest.mark.spark
def test_a_session_passes_once(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert executors_known(spark) == 1
    preflight(spark, reads=["/nowhere"], folder=tmp_path)
    monkeypatch.setattr(module, "_probe", None)  # a second call would fail
    preflight(spark, reads=["/nowhere"], folder=tmp_path)


@pytest.mark.spark
def test_what_an_executor_lacks_is_raised(spark: SparkSession) -> None:
    wanted = replace(expected(), version="0.1")
    with pytest.raises(PlatformError, match=rf"^{_HOST}: has pulmospark") as caught:
        module._probe(spark, wanted, pause_s=0.0)
    assert "\n" not in caught.value.message
