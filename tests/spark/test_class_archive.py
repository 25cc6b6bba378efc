"""The archive of Spark's classes: recorded once, adopted whole, bounded."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pulmospark.core import limits
from pulmospark.spark.class_archive import archiving, class_archive, discard
from pulmospark.spark.java import Java

_JAVA = Java(Path("/opt/java"), "17.0.1", "PATH")
_WHOLE = (0xF00BABA8).to_bytes(4, sys.byteorder) + b"classes"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache of mine"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "pulmospark" / "java"


def _part_of(options: str) -> Path:
    assert "-XX:ArchiveClassesAtExit=" in options
    return Path(options.rpartition("=")[2].rstrip('"'))


def _used_before(java: Java) -> None:
    """A cache that a session before has used."""
    lock = class_archive(java).with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()


def _recorded(java: Java, content: bytes) -> None:
    """A session whose JVM writes ``content``."""
    _used_before(java)
    recording = archiving(java)
    _part_of(recording.options).write_bytes(content)
    recording.close()


@pytest.mark.usefixtures("cache")
def test_another_java_has_another_archive() -> None:
    archives = {
        class_archive(java)
        for java in (_JAVA, Java(_JAVA.home, "17.0.2", "PATH"), Java(Path("/j"), "17.0.1", "PATH"))
    }
    assert len(archives) == 3


def test_the_first_session_of_a_cache_records_nothing(cache: Path) -> None:
    """It may be the only one: a container's cache ends with the container."""
    first = archiving(_JAVA)
    assert (first.options, first.descriptors) == ("", ())
    assert list(cache.iterdir()) == [class_archive(_JAVA).with_suffix(".lock")]
    recording = archiving(_JAVA)
    assert "-XX:ArchiveClassesAtExit=" in recording.options
    recording.close()


def test_what_a_jvm_wrote_whole_is_used_from_the_next_session_on(cache: Path) -> None:
    _recorded(_JAVA, _WHOLE)
    assert not class_archive(_JAVA).exists()
    used = archiving(_JAVA)
    assert f'"-XX:SharedArchiveFile={class_archive(_JAVA)}"' in used.options
    assert used.descriptors == ()
    assert class_archive(_JAVA).read_bytes() == _WHOLE
    assert list(cache.glob("*.part")) == []


def test_what_a_killed_jvm_left_is_removed_and_recorded_again(cache: Path) -> None:
    for content in (b"", b"\0" * 4096):
        _recorded(_JAVA, content)
        assert len(list(cache.glob("*.part"))) == 1
    recording = archiving(_JAVA)
    assert "-XX:ArchiveClassesAtExit=" in recording.options
    assert list(cache.iterdir()) == [class_archive(_JAVA).with_suffix(".lock")]
    recording.close()


@pytest.mark.usefixtures("cache")
def test_it_is_recorded_by_one_at_a_time_until_the_jvm_ends() -> None:
    _used_before(_JAVA)
    first = archiving(_JAVA)
    program = "import sys; sys.stdin.read()"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=first.descriptors) as jvm:
        first.close()  # as a driver does, which may then end
        _part_of(first.options).write_bytes(_WHOLE)  # it may still be writing
        assert archiving(_JAVA).options == ""
        assert not class_archive(_JAVA).exists()
        jvm.communicate()
    assert "-XX:SharedArchiveFile=" in archiving(_JAVA).options


def test_archives_of_a_java_that_has_changed_and_all_but_the_last_used_are_removed(
    cache: Path,
) -> None:
    javas = [Java(Path(f"/java-{n}"), "17.0.1", "PATH") for n in range(limits.CLASS_ARCHIVES_MAX)]
    for age, java in enumerate([*javas, _JAVA]):
        _recorded(java, _WHOLE)
        archiving(java)
        os.utime(class_archive(java), (age, age))
    archiving(javas[0])  # was removed for the last: recorded again, not adopted yet
    assert not class_archive(javas[0]).exists()
    updated = Java(_JAVA.home, "17.0.2", "PATH")
    _recorded(updated, _WHOLE)
    archiving(updated)
    assert not class_archive(_JAVA).exists()
    assert len(list(cache.glob("*.jsa"))) == limits.CLASS_ARCHIVES_MAX


def test_none_is_recorded_where_there_is_no_space_or_no_permission(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _used_before(_JAVA)
    with monkeypatch.context() as patch:
        patch.setattr(limits, "CLASS_ARCHIVE_FREE_MIN", 2**62)
        assert archiving(_JAVA).options == ""
    cache.parent.chmod(0o700)
    for path in cache.iterdir():
        path.unlink()
    cache.rmdir()
    cache.write_text("a file in its place")
    assert archiving(_JAVA).options == ""


@pytest.mark.usefixtures("cache")
def test_one_that_java_does_not_start_with_is_removed() -> None:
    _recorded(_JAVA, _WHOLE)
    archiving(_JAVA)
    discard(_JAVA)
    assert not class_archive(_JAVA).exists()


_SESSION = """
import psutil
from pulmospark.spark.session import spark_session

with spark_session("local[1]") as spark:
    process = psutil.Process(spark.sparkContext._gateway.proc.pid)
    print(process.pid, *process.cmdline(), sep="\\n")
"""


def _session() -> list[str]:
    """A session in a process of its own: the JVM of this one was started without."""
    done = subprocess.run(
        [sys.executable, "-c", _SESSION], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.spark
def test_the_second_session_records_and_the_next_uses_it(cache: Path) -> None:
    _, *first = _session()
    assert not any("Archive" in word for word in first)
    jvm, *second = _session()
    assert any(word.startswith("-XX:ArchiveClassesAtExit=") for word in second)
    (lock,) = cache.glob("*.lock")
    with lock.open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its JVM still writes, in the background
    psutil.wait_procs([psutil.Process(int(jvm))], timeout=120)
    archive = lock.with_suffix(".jsa")
    started = time.monotonic()
    _, *third = _session()
    assert f"-XX:SharedArchiveFile={archive}" in third
    assert time.monotonic() - started < 60
    archive.chmod(0o644)
    archive.write_bytes(_WHOLE)  # damaged: the JVM does without
    _session()
