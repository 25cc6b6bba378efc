"""Jobs that Spark gave up, and Spark's own end, in one line."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator

from pulmospark.core.errors import EnvironmentProblem, PulmosparkError

_TELLING = re.compile(
    r"(Python worker exited unexpectedly|ExecutorLostFailure|OutOfMemoryError|Connection refused|"
    r"Answer from Java side is empty)[^\n]{0,120}"
)
_FULL = os.strerror(errno.ENOSPC)


@contextlib.contextmanager
def job_errors() -> Iterator[None]:
    """Turn what Spark raises into one line with its remedy.

    Tasks tell of their own errors otherwise, as rows of their answer. So what Spark itself raises
    is that a worker or the JVM has ended, mostly because the system was short of memory.

    Raises:
        EnvironmentProblem: Spark raised something.
    """
    try:
        yield
    except PulmosparkError:
        raise
    except Exception as error:
        text = str(error)
        if _FULL in text:
            raise EnvironmentProblem(
                "the disk is full: make room, also where Spark keeps files of its own "
                "(spark.local.dir), and run the same command again",
                detail=text,
            ) from error
        raise EnvironmentProblem(
            f"Spark's job failed ({_reason(text) or type(error).__name__}): see that its workers "
            "and its JVM have the memory they need, or give it fewer cores with --master "
            "local[1], and run the same command again",
            detail=text,
        ) from error


def _reason(text: str) -> str:
    """The words among Spark's many that say why."""
    if found := _TELLING.search(text):
        return found[0]
    return (text.strip().splitlines() or [""])[0][:200]
