"""Report failed Spark jobs, or the end of Spark itself, in one line with the cause."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator

import pulmospark
from pulmospark.core import errors
from pulmospark.core.errors import PlatformError, PulmosparkError

_FULL = os.strerror(errno.ENOSPC)
_OURS = re.compile(r"pulmospark\.core\.errors\.(\w+): ([^\n]+)")
_MACHINE = re.compile(r"\(TID \d+\) \((\S+) executor \S+\)")
_WORKER_ENDED = re.compile(
    r"(Python worker exited unexpectedly|ExecutorLostFailure|(?<!OutOf)MemoryError|"
    r"Python worker process terminated)[^\n]{0,120}"
)
_JVM_ENDED = re.compile(
    r"(Connection refused|Answer from Java side is empty|Connection reset by peer)[^\n]{0,120}"
)
_JVM_MEMORY = re.compile(r"OutOfMemoryError[^\n]{0,120}")
_OTHER_PYTHON = re.compile(
    r"Python in worker has different version:? '?\(?([\d., ]+?)\)?'? than that in driver:? "
    r"'?\(?([\d., ]+\d)"
)
_NO_PYTHON = re.compile(r'Cannot run program "([^"\n]+)"[^\n]*?: (?:error=\d+, )?([^\n]{0,80})')
_NO_MODULE = re.compile(r"(?:ModuleNotFoundError|ImportError): ([^\n]{0,160})")
_NOT_BACK = re.compile(r"Python worker failed to connect back[^\n]{0,80}")
_NO_HOST = re.compile(r"UnknownHostException: ([^\n]{0,120})")

_RAISED = re.compile(
    r"^(?:[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b: [^\n]+)", re.MULTILINE
)

_JAVA_RAISED = re.compile(r"^: (?:[\w.$]+\.)?([\w$]+(?:: [^\n]+)?)", re.MULTILINE)
"""below Py4J's "An error occurred while calling": the exception, without its package"""

_AGAIN = "then rerun the command"


@contextlib.contextmanager
def job_errors() -> Iterator[None]:
    """Turn Spark's exceptions into one line with cause and remedy.

    Raises:
        PlatformError: Spark raised something.
    """
    try:
        yield
    except PulmosparkError:
        raise
    except Exception as error:
        raise job_failure(error) from error


def ended_worker(text: str) -> bool:
    """Whether a Spark job failed because a worker ended without an error message."""
    return _WORKER_ENDED.search(text) is not None


def job_failure(error: BaseException) -> PulmosparkError:
    """Spark's exception in one line."""
    text = str(error)
    if ours := _OURS.search(text):
        kind: type[PulmosparkError] = getattr(errors, ours[1], PlatformError)
        return kind(ours[2], detail=text)
    machine = _MACHINE.search(text)
    where = f"{machine[1]}: " if machine else ""
    return PlatformError(
        _python_cause(text, where) or _other_cause(text, where) or _unknown(error, where),
        detail=text,
    )


def _python_cause(text: str, where: str) -> str | None:
    """The fault of the workers' Python; ``None``: another cause."""
    ours = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    if versions := _OTHER_PYTHON.search(text):
        return (
            f"{where}the workers run Python {versions[1]}, but the driver {versions[2]}: set "
            f"PYSPARK_PYTHON (or spark.pyspark.python) to a {ours} with pulmospark on every "
            "machine"
        )
    if program := _NO_PYTHON.search(text):
        return (
            f"{where}the workers' Python {program[1]} does not start ({program[2]}): set "
            f"PYSPARK_PYTHON (or spark.pyspark.python) to a {ours} with pulmospark on every "
            "machine"
        )
    if module := _NO_MODULE.search(text):
        return (
            f"{where}the workers' Python cannot import a module ({module[1]}): install pulmospark "
            f"{pulmospark.__version__} with its requirements there, or use another with "
            "PYSPARK_PYTHON"
        )
    if back := _NOT_BACK.search(text):
        return (
            f"{where}{back[0]}: check that the workers' Python starts, and that loopback "
            f"connections are allowed there, {_AGAIN}"
        )
    return None


def _other_cause(text: str, where: str) -> str | None:
    if _FULL in text:
        return (
            f"{where}the disk is full: make room, also in Spark's temporary folder "
            f"(spark.local.dir), {_AGAIN}"
        )
    if memory := _JVM_MEMORY.search(text):
        return (
            f"{where}Spark's JVM ran out of memory ({memory[0]}): raise spark.driver.memory "
            f"or spark.executor.memory, {_AGAIN}"
        )
    if ended := _WORKER_ENDED.search(text):
        return (
            f"{where}a worker ended without an error message ({ended[0]}), probably out of "
            "memory: give the workers more, or run fewer at once with --master local[1], "
            f"{_AGAIN}"
        )
    if host := _NO_HOST.search(text):
        return (
            f"{where}a machine's name cannot be resolved ({host[1]}): add it to /etc/hosts or "
            "DNS, or set spark.driver.host to an address that the workers reach"
        )
    if ended := _JVM_ENDED.search(text):
        return (
            f"Spark's JVM has ended ({ended[0]}), killed or out of memory: see "
            f"spark.driver.memory and the system log, {_AGAIN}"
        )
    return None


def _unknown(error: BaseException, where: str) -> str:
    text = str(error)
    # A Python traceback ends with what was raised; Java's begins with it.
    raised = _RAISED.findall(text) if "Traceback (most recent call last)" in text else []
    words = raised[-1:] or _JAVA_RAISED.findall(text)[:1] or text.strip().splitlines()[:1]
    first = "".join(words)[:200]
    return (
        f"{where}Spark's job failed ({first or type(error).__name__}): --debug shows Spark's own "
        f"message; fix its cause, {_AGAIN}"
    )
