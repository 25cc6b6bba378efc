"""What is said of jobs that Spark gave up."""

from __future__ import annotations

import pytest

from pulmospark.core.errors import EnvironmentProblem, UsageError
from pulmospark.spark.failures import job_errors

_JAVA = """An error occurred while calling o54.collectToPython.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 1 in stage 0.0 failed
1 times, most recent failure: {why}
\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.applyOrElse(PythonRunner.scala)
"""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError(_JAVA.format(why="Python worker exited unexpectedly (crashed)")),
         r"\(Python worker exited unexpectedly \(crashed\)\): see that its workers .* memory"),
        (RuntimeError(_JAVA.format(why="java.lang.OutOfMemoryError: Java heap space")),
         r"\(OutOfMemoryError: Java heap space\)"),
        (RuntimeError(_JAVA.format(why="java.io.IOException: No space left on device")),
         "the disk is full: make room"),
        (ConnectionRefusedError(111, "Connection refused"), r"\(Connection refused\)"),
        (RuntimeError(), r"\(RuntimeError\)"),
    ],
)  # fmt: skip
def test_one_line_says_why_and_what_to_do(error: Exception, words: str) -> None:
    with pytest.raises(EnvironmentProblem, match=words) as caught, job_errors():
        raise error
    assert "\n" not in caught.value.message
    assert caught.value.detail == str(error)


def test_what_is_told_in_our_own_words_stands() -> None:
    with pytest.raises(UsageError, match="as it is"), job_errors():
        raise UsageError("as it is")
