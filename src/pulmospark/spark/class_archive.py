"""An archive of Spark's classes for the JVM, which halves the start time of a local session.

The JVM reads, checks and links some ten thousand classes before Spark's first job has ended. A
class-data archive (JEP 350) holds them as they then lie in memory. It fits one Java and one
installation of Spark only; where it does not fit, or is damaged, the JVM does without.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pulmospark.core import limits
from pulmospark.core.errors import EnvironmentProblem
from pulmospark.core.files import disk_errors, whole_file
from pulmospark.core.hashing import value_id
from pulmospark.core.machine import cache_folder
from pulmospark.spark.java import Java

if TYPE_CHECKING:
    from py4j.java_gateway import JavaGateway  # type: ignore[import-untyped]

OPTIONS = "spark.driver.extraJavaOptions"
# Mismatches are warnings on standard output, which belongs to the command.
_SILENT = "-Xlog:disable -Xlog:all=error:stderr"


def class_archive(java: Java) -> Path:
    """Path of the archive for a Java and the installed Spark; it need not exist."""
    import pyspark  # noqa: PLC0415 - a tenth of a second, which only a session's start has

    spark = Path(pyspark.__file__).parent
    key = value_id([java.version, str(java.home.resolve()), pyspark.__version__, str(spark)])
    return cache_folder() / "java" / f"spark-{key[:16]}.jsa"


def archive_options(java: Java) -> str:
    """JVM options for the archive; empty: there is none."""
    archive = class_archive(java)
    return f'{_SILENT} "-XX:SharedArchiveFile={archive}"' if archive.is_file() else ""


@contextlib.contextmanager
def recorded(java: Java, conf: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Create the archive of the classes that a session uses.

    Args:
        java: that will run the session.
        conf: Spark's settings as the session has them otherwise.

    Yields:
        The settings to start the session with. It has to be stopped, and its JVM to be ended
        with :func:`end_jvm`, before the end: the JVM writes the archive as its last act.

    Raises:
        EnvironmentProblem: the JVM wrote none, or there is no space.
    """
    target = class_archive(java)
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as aside:
            options = f'{conf.get(OPTIONS, "")} {_SILENT} "-XX:ArchiveClassesAtExit={aside}"'
            yield {**conf, OPTIONS: options.strip()}
            if not aside.is_file():
                raise EnvironmentProblem(
                    f"Java {java.version} ({java.home}) cannot archive classes: sessions start as "
                    "before; another Java, 17 or newer, may be able to"
                )


def end_jvm(gateway: JavaGateway) -> None:
    """Wait for the JVM of a stopped session to end; this process cannot start another.

    Args:
        gateway: to the JVM, ``spark.sparkContext._gateway``.

    Raises:
        EnvironmentProblem: it does not end.
    """
    process: subprocess.Popen[bytes] = gateway.proc
    if process.stdin is not None:
        process.stdin.close()  # at which the JVM ends
    try:
        process.wait(limits.JVM_END_S_MAX)
    except subprocess.TimeoutExpired as error:
        process.kill()
        raise EnvironmentProblem(
            f"Spark's JVM did not end within {limits.JVM_END_S_MAX} s: try again"
        ) from error
