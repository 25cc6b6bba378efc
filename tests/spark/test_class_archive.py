"""Classes that Java keeps ready for Spark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pulmospark.core.errors import EnvironmentProblem
from pulmospark.spark.class_archive import OPTIONS, archive_options, class_archive, recorded
from pulmospark.spark.java import Java, find_java

_JAVA = Java(Path("/opt/java"), "17.0.1", "PATH")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache of mine"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def _name_of(options: str) -> Path:
    return Path(options.rpartition("=")[2].rstrip('"'))


@pytest.mark.usefixtures("cache")
def test_another_java_has_another_archive() -> None:
    found = {
        class_archive(java)
        for java in (_JAVA, Java(_JAVA.home, "17.0.2", "PATH"), Java(Path("/j"), "17.0.1", "PATH"))
    }
    assert len(found) == 3


def test_what_the_jvm_wrote_is_there_afterwards_and_is_then_taken(cache: Path) -> None:
    assert archive_options(_JAVA) == ""
    with recorded(_JAVA, {OPTIONS: "-Xss4m", "spark.ui.enabled": "false"}) as conf:
        assert conf["spark.ui.enabled"] == "false"
        assert conf[OPTIONS].startswith("-Xss4m ")
        assert "-XX:ArchiveClassesAtExit=" in conf[OPTIONS]
        assert archive_options(_JAVA) == ""  # it is not whole yet
        _name_of(conf[OPTIONS]).write_bytes(b"classes")
    assert class_archive(_JAVA).read_bytes() == b"classes"
    assert f'"-XX:SharedArchiveFile={class_archive(_JAVA)}"' in archive_options(_JAVA)
    assert [path.suffix for path in (cache / "pulmospark" / "java").iterdir()] == [".jsa"]


@pytest.mark.usefixtures("cache")
def test_a_java_that_writes_none_is_told() -> None:
    with pytest.raises(EnvironmentProblem, match="cannot archive classes"), recorded(_JAVA, {}):
        pass
    assert archive_options(_JAVA) == ""


_OWN = """
import psutil
from pulmospark.spark.session import spark_session

with spark_session("local[1]") as spark:
    print(*psutil.Process(spark.sparkContext._gateway.proc.pid).cmdline(), sep="\\n")
"""


@pytest.mark.spark
def test_a_session_takes_it_where_it_is() -> None:
    """``make test`` has made it; where the tests are run alone there may be none.

    A process of its own: the JVM of this one may have been started for another test, without.
    """
    done = subprocess.run(
        [sys.executable, "-c", _OWN], capture_output=True, text=True, timeout=120, check=True
    )
    archive = class_archive(find_java())
    told = f"-XX:SharedArchiveFile={archive}" in done.stdout.splitlines()
    assert told is archive.is_file()
