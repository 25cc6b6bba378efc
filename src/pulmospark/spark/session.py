"""The Spark session: local by default, or any other by its master."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pyspark
from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from pulmospark.core import machine
from pulmospark.core.errors import PlatformError
from pulmospark.core.extras import how_to_install
from pulmospark.core.python_path import SAFE_PATH, guard_children
from pulmospark.core.safe_text import first_line
from pulmospark.spark import worker_daemon
from pulmospark.spark.class_archive import OPTIONS, Archiving, archiving, discard
from pulmospark.spark.environment import check_spark_home, check_user
from pulmospark.spark.java import Java, find_java

_LOG = logging.getLogger(__name__)

GIB = 1024**3
_DRIVER_MEMORY_SHARE = 0.25
_LOG_TAIL_LINES = 20
_CONNECT_S_MAX = 10
_CONNECT_PORT = 15002
"""where a Spark Connect server listens by default"""
_CLIENT_NEEDS = ("grpc", "grpc_status", "zstandard")

_NEAR = {
    # Over TCP the JVM and its Python workers wait for each other's acknowledgements, tens
    # of milliseconds a task. Not under YARN or Kubernetes: the path of a socket may have 108
    # bytes, and their temporary folders often take more.
    "spark.python.unix.domain.socket.enabled": "true",
}
_CLUSTER = {
    # A task whose machine failed twice goes to another one: the one that is free first is mostly
    # the one that has just failed. Where there is no other, the job is to end, not to wait for
    # two minutes.
    "spark.excludeOnFailure.taskAndStage.enabled": "true",
    "spark.excludeOnFailure.task.maxTaskAttemptsPerExecutor": "2",
    "spark.scheduler.excludeOnFailure.unschedulableTaskSetTimeout": "5s",
}
_OF_A_CLIENT = {
    "spark.sql.session.timeZone": "UTC",
    # Not INT96, which Parquet deprecates: it is read as nanoseconds without a time zone.
}
"""what a client of Spark Connect may set; the rest is the server's"""

_EVERYWHERE = {
    # Python workers decode and run networks: one thread each, or cores are fought over.
    **{f"spark.executorEnv.{name}": value for name, value in machine.ONE_THREAD.items()},
    # No code of the folder that an executor was started in.
    f"spark.executorEnv.{SAFE_PATH}": "1",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.pyspark.udf.faulthandler.enabled": "true",
    "spark.ui.showConsoleProgress": "false",
    **_OF_A_CLIENT,
}


def spark_session(
    master: str | None = None, conf: Mapping[str, str] | None = None
) -> contextlib.AbstractContextManager[SparkSession]:
    """A Spark session, stopped at the end if it was started here.

    In this order: the session that is already active (a notebook's, a managed platform's);
    the one that ``spark-submit`` or ``SPARK_REMOTE`` describes; ``master``; ``local[*]``.

    Args:
        master: ``local[2]``, ``spark://host:7077``, ``yarn``, ``sc://host:15002``, ...
        conf: Spark settings that win over those chosen here.

    Raises:
        PlatformError: no Java, or the master does not answer; when the context is entered.
    """
    # Of the calling thread: another one, in which it may be entered, has none that is active.
    active = SparkSession.getActiveSession()
    if active is not None:
        return contextlib.nullcontext(active)
    return _own_session(master, dict(conf or {}))


@contextlib.contextmanager
def _own_session(master: str | None, conf: dict[str, str]) -> Iterator[SparkSession]:
    session = _start(master, conf)
    try:
        yield session
    except BaseException:
        # Where Spark itself is gone, the error that is on its way says why.
        with contextlib.suppress(Exception):
            session.stop()
        raise
    session.stop()


def is_connect(spark: SparkSession) -> bool:
    """Whether the session is a client of Spark Connect: it has no ``sparkContext`` and no RDD."""
    return type(spark).__module__.startswith("pyspark.sql.connect.")


def slots(spark: SparkSession) -> int:
    """How many tasks the session can run at once, as far as it reports; at least 1."""
    reported = (
        _reported_slots(spark) if is_connect(spark) else spark.sparkContext.defaultParallelism
    )
    return max(reported, 1)


def _reported_slots(spark: SparkSession) -> int:
    """The same from the server's settings, the only source with Spark Connect."""

    def number(key: str) -> int:
        text = spark.conf.get(key, "0") or "0"
        return int(text) if text.isdecimal() else 0

    if parallelism := number("spark.default.parallelism"):
        return parallelism
    local = re.fullmatch(r"local\[(\d+)(?:,.*)?\]", spark.conf.get("spark.master", "") or "")
    if local:
        return int(local.group(1))
    executors = number("spark.executor.instances") * max(number("spark.executor.cores"), 1)
    return executors or number("spark.cores.max") or number("spark.sql.shuffle.partitions")


def _start(master: str | None, conf: dict[str, str]) -> SparkSession:
    if master is None:
        master = os.environ.get("SPARK_REMOTE") or None
    if master is not None and master.startswith("sc://"):
        _check_client(master)
        _check_answers(master.partition(";")[0].rstrip("/"), "sc://", _CONNECT_PORT)
        return _session(SparkSession.builder.remote(master), _OF_A_CLIENT | conf, master)
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # the JVM runs: spark-submit started us
        builder = SparkSession.builder.appName("pulmospark")
        return _session(builder, _EVERYWHERE | conf, "the submitted session")
    check_user()
    check_spark_home(os.environ, Path(pyspark.__file__).parent, pyspark.__version__)
    java = find_java()
    _LOG.info("Java %s from %s: %s", java.version, java.origin, java.home)
    os.environ["JAVA_HOME"] = str(java.home)
    if python := conf.get("spark.pyspark.python"):
        os.environ["PYSPARK_PYTHON"] = python  # PySpark itself goes by the variable alone
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    master = master or "local[*]"
    if master.startswith("spark://"):
        _check_answers(master, "spark://")
    chosen = _settings(master) | conf
    if not master.startswith("local") or OPTIONS in conf:
        return _launched(master, chosen)
    # Else Spark looks up the machine's own name, which not every machine can resolve.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    return _launched_fast(master, chosen, java)


def _settings(master: str) -> dict[str, str]:
    """Spark's settings for a session whose JVM is started here."""
    chosen = _EVERYWHERE | {"spark.master": master, "spark.app.name": "pulmospark"}
    if master.startswith(("local", "spark://")):
        chosen |= _NEAR
    if not master.startswith("local"):
        return chosen | _CLUSTER
    if os.environ["PYSPARK_PYTHON"] == sys.executable:
        chosen["spark.python.daemon.module"] = worker_daemon.MODULE
    return chosen | local_settings()


def _launched_fast(master: str, conf: dict[str, str], java: Java) -> SparkSession:
    """A local session with the class archive; without, should Java not start with it."""
    if SparkContext._gateway is not None:  # the JVM of an earlier session, which stays
        return _launched(master, conf)
    archive = archiving(java)
    try:
        return _launched(master, conf, archive)
    except PlatformError:
        if not archive.options or SparkContext._gateway is not None:
            raise
        session = _launched(master, conf)
        discard(java)
        return session


def _launched(master: str, conf: dict[str, str], archive: Archiving | None = None) -> SparkSession:
    if archive is not None:
        conf = conf | {OPTIONS: f"{conf[OPTIONS]} {archive.options}".strip()}
    try:
        with _guarded_children(), _jvm_log() as log:
            try:
                if SparkContext._gateway is None:
                    _launch(conf, log, () if archive is None else archive.descriptors)
                return _session(SparkSession.builder, conf, master)
            except Exception as error:
                raise _not_started(master, error, _tail(log)) from error
    finally:
        if archive is not None:
            archive.close()


def _launch(conf: Mapping[str, str], log: IO[bytes] | None, descriptors: tuple[int, ...]) -> None:
    """Start a JVM, as PySpark would, with an output of its own."""
    settings = SparkConf(loadDefaults=False)
    for key, value in conf.items():
        settings.set(key, value)
    popen = {"stdout": log, "stderr": log, "pass_fds": descriptors}
    gateway = launch_gateway(settings, popen)  # type: ignore[no-untyped-call]
    SparkContext._ensure_initialized(gateway=gateway, conf=settings)


@contextlib.contextmanager
def _guarded_children() -> Iterator[None]:
    """Let the JVM keep its Pythons from the current folder; other children of the caller's are not
    ours to change."""
    before = {name: os.environ.get(name) for name in (SAFE_PATH, "PYTHONPATH")}
    guard_children()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _check_client(master: str) -> None:
    lacking = [name for name in _CLIENT_NEEDS if importlib.util.find_spec(name) is None]
    if lacking:
        raise PlatformError(
            f"{master}: Spark Connect needs {', '.join(lacking)}: {how_to_install('connect')}"
        )


def _check_answers(master: str, scheme: str, port: int | None = None) -> None:
    """Spark itself would try for a minute, and then fail with an unrelated message."""
    for place in master.removeprefix(scheme).split(","):
        host, _, port_text = place.rpartition(":")
        if not host and port is not None:
            host, port_text = port_text, str(port)
        try:
            socket.create_connection((host, int(port_text)), timeout=_CONNECT_S_MAX).close()
        except ValueError:
            return  # no port: Spark says what is wrong with it
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            return
    raise PlatformError(
        f"{master} does not answer ({reason}): start Spark there, or use another --master"
    )


def local_settings() -> dict[str, str]:
    """Spark's settings for a local session, without the class archive."""
    memory = min(max(int(machine.memory_bytes() * _DRIVER_MEMORY_SHARE), GIB), 8 * GIB)
    return {
        "spark.driver.memory": f"{memory // 1024**2}m",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        # A local session lives for minutes and its JVM moves no pixels: compiling its code
        # twice over, writing code for each query, and collecting garbage on threads of its own
        # costs more than it ever gains.
        OPTIONS: "-XX:TieredStopAtLevel=1 -XX:+UseParallelGC",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.shuffle.partitions": str(2 * machine.cores()),
        "spark.executorEnv.GLOO_SOCKET_IFNAME": machine.loopback(),
    }


def _session(builder: Any, conf: Mapping[str, str], master: str) -> SparkSession:
    for key, value in conf.items():
        builder = builder.config(key, value)
    try:
        session: SparkSession = builder.getOrCreate()
    except Exception as error:
        raise _not_started(master, error, []) from error
    _LOG.info("Spark %s with master %s, %d tasks at once", session.version, master, slots(session))
    return session


def _not_started(master: str, error: Exception, tail: list[str]) -> PlatformError:
    cause = error.__cause__ if isinstance(error, PlatformError) else error
    return PlatformError(
        f"Spark did not start with {master}: {_reason(tail) or first_line(cause or error)}; "
        f"{_remedy(tail)}",
        detail=" | ".join(tail) or str(cause or error),
    )


@contextlib.contextmanager
def _jvm_log() -> Iterator[IO[bytes] | None]:
    """A file for the output of the JVM started here; ``None``: this process's own.

    Spark and the JVM write a dozen lines before any setting of theirs is read; a user would take
    them for faults. And a JVM that records its classes ends after the command, at whose output a
    pipe would wait for it. ``PULMOSPARK_SPARK_LOG=1`` leaves all on the terminal.
    """
    if os.environ.get("PULMOSPARK_SPARK_LOG") == "1":
        yield None
        return
    with tempfile.TemporaryFile(prefix="pulmospark-") as log:  # its space goes with the JVM
        yield log


def _tail(log: IO[bytes] | None) -> list[str]:
    if log is None:
        return []
    log.seek(0)
    return log.read().decode(errors="replace").splitlines()[-_LOG_TAIL_LINES:]


def _reason(tail: list[str]) -> str:
    """The JVM's last error; Python only knows that it ended."""
    errors = [line for line in tail if re.search(r"(Exception|Error): ", line)]
    return re.split(r"(?:Exception|Error): ", errors[-1], maxsplit=1)[1][:200] if errors else ""


def _remedy(tail: list[str]) -> str:
    if any("UnknownHostException" in line for line in tail):
        return (
            "this machine's name cannot be resolved: add it to /etc/hosts, or set SPARK_LOCAL_IP "
            "and --conf spark.driver.host=ADDRESS to an address that the workers reach"
        )
    return "check Java, memory and --master"
