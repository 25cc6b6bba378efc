"""What is said of jobs that Spark gave up: the true cause and its remedy, in one line.

The texts are those of Spark 4.
"""

from __future__ import annotations

import pytest

from pulmospark.core.errors import PlatformError, SourceUnavailableError, UsageError
from pulmospark.spark.failures import ended_worker, job_errors, job_failure

_JAVA = """An error occurred while calling o54.collectToPython.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 1 in stage 0.0 failed
1 times, most recent failure: Lost task 1.0 in stage 0.0 (TID 1) (worker-7 executor 2): {why}
\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.applyOrElse(PythonRunner.scala)
"""


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("Python worker exited unexpectedly (crashed)",
         r"^worker-7: a worker ended .*\(Python worker exited .*\).* memory"),
        ("java.lang.OutOfMemoryError: Java heap space",
         r"\(OutOfMemoryError: Java heap space\): raise spark\.driver\.memory"),
        ("java.io.IOException: No space left on device", "the disk is full: make room"),
        ("org.apache.spark.api.python.PythonException: Traceback (most recent call last):\n"
         "pyspark.errors.exceptions.base.PySparkRuntimeError: [PYTHON_VERSION_MISMATCH] Python in "
         "worker has different version: 3.12 than that in driver: 3.11, PySpark cannot run with "
         "different minor versions.\nPlease check environment variables PYSPARK_PYTHON and "
         "PYSPARK_DRIVER_PYTHON are correctly set.",
         r"^worker-7: the workers run Python 3\.12, but the driver 3\.11: set PYSPARK_PYTHON"),
        ('java.io.IOException: Cannot run program "/nowhere/python": error=2, No such file or '
         "directory",
         r"^worker-7: the workers' Python /nowhere/python does not start \(No .*PYSPARK_P"),
        ("org.apache.spark.api.python.PythonException: Traceback (most recent call last):\n"
         '  File "x.py", line 1, in <module>\nModuleNotFoundError: No module named \'pulmospark\'',
         r"^worker-7: .*import a module \(No module named 'pulmospark'\): install pulmospark"),
        ("org.apache.spark.api.python.PythonException: Traceback (most recent call last):\n"
         "ImportError: libGL.so.1: cannot open shared object file: No such file or directory",
         r"cannot import a module \(libGL\.so\.1: cannot open"),
        ("org.apache.spark.SparkException: Python worker failed to connect back.",
         r"^worker-7: Python worker failed to connect back.*starts.*loopback"),
        ("java.net.UnknownHostException: node-3: Name or service not known",
         r"cannot be resolved \(node-3: Name.*/etc/hosts"),
        ("org.apache.spark.api.python.PythonException: Traceback (most recent call last):\n"
         '  File "x.py", line 1, in <module>\nAttributeError: module has no attribute x\n',
         r"^worker-7: Spark's job failed \(AttributeError: module has no attribute x\)"),
        ("java.lang.IllegalStateException: odd", r"^worker-7: Spark's job failed \(.*--debug"),
    ],
)  # fmt: skip
def test_one_line_says_why_and_what_to_do(why: str, words: str) -> None:
    error = RuntimeError(_JAVA.format(why=why))
    with pytest.raises(PlatformError, match=words) as caught, job_errors():
        raise error
    assert "\n" not in caught.value.message
    assert caught.value.detail == str(error)
    assert ("memory" in caught.value.message) == ("exited" in why or "OutOfMemory" in why)
    assert ended_worker(str(error)) == ("exited" in why)


def test_the_end_of_the_jvm_and_silence() -> None:
    ended = pytest.raises(PlatformError, match=r"JVM has ended \(Connection refused\)")
    with ended, job_errors():
        raise ConnectionRefusedError(111, "Connection refused")
    with pytest.raises(PlatformError, match=r"\(RuntimeError\)"), job_errors():
        raise RuntimeError


def test_an_unknown_cause_is_what_java_raised() -> None:
    failure = Exception(
        "An error occurred while calling z:org.apache.spark.api.PythonRDD.collectAndServe.\n"
        ": java.net.SocketException: Broken pipe\n\tat java.base/sun.nio.ch.FileDispatcherImpl"
    )
    assert str(job_failure(failure)) == (
        "Spark's job failed (SocketException: Broken pipe): --debug shows Spark's own message; "
        "fix its cause, then rerun the command"
    )


def test_our_own_error_comes_through_java() -> None:
    why = "\npulmospark.core.errors.SourceUnavailableError: host-7: cannot read /a.png: gone\n"
    ours = pytest.raises(SourceUnavailableError, match=r"^host-7: cannot read /a\.png: gone$")
    with ours, job_errors():
        raise RuntimeError(_JAVA.format(why=why))


def test_what_is_told_in_our_own_words_stands() -> None:
    with pytest.raises(UsageError, match="as it is"), job_errors():
        raise UsageError("as it is")
