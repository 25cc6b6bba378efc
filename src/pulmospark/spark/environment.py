"""Check the environment for what would keep Spark's JVM from starting."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from pulmospark.core.errors import PlatformError

_CORE_JAR = re.compile(r"spark-core_[\d.]+-(\d[^/]*)\.jar")


def check_spark_home(environment: Mapping[str, str], package: Path, version: str) -> None:
    """Check that ``SPARK_HOME``, if set, matches the installed pyspark package.

    Args:
        environment: variables.
        package: folder of the pyspark package, which has a Spark of its own.
        version: of the pyspark package.

    Raises:
        PlatformError: it names another Spark, or none.
    """
    home = environment.get("SPARK_HOME")
    if not home or Path(home).resolve() == package.resolve():
        return
    remedy = "unset SPARK_HOME: the pyspark package includes Spark"
    jars = Path(home) / "jars"
    if not jars.is_dir():
        raise PlatformError(f"SPARK_HOME={home}: contains no Spark: {remedy}")
    versions = [m[1] for path in jars.iterdir() if (m := _CORE_JAR.fullmatch(path.name))]
    if versions and versions[0] != version:
        raise PlatformError(
            f"SPARK_HOME={home}: contains Spark {versions[0]}, but the pyspark package is "
            f"{version}: {remedy}; or install pyspark=={versions[0]}"
        )


def check_user() -> None:
    """Check that this process's user has a name, without which Java's login fails.

    Raises:
        PlatformError: the system knows no name for its id.
    """
    try:
        import pwd  # noqa: PLC0415 - not on Windows, where users have names
    except ImportError:
        return
    uid = os.getuid()
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise PlatformError(
            f"user id {uid} has no entry in /etc/passwd, but Spark needs one: add "
            f"'spark:x:{uid}:{os.getgid()}::/tmp:/bin/sh' there, or run as another user"
        ) from None
