"""The driver's side of jobs over chunks, on a stand-in for Spark: what ends a worker is found."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest

from pulmospark.chunks import chunks_of, run_chunks
from pulmospark.chunks import jobs as chunk_job
from pulmospark.chunks.jobs import Jobs, Logs
from pulmospark.chunks.task import Name, Unit, error_row
from pulmospark.chunks.work_folder import DiskFolder
from pulmospark.chunks.work_list import Chunk
from pulmospark.core import limits
from pulmospark.core.errors import PlatformError, SourceUnavailableError, UsageError
from pulmospark.core.progress import Progress
from pulmospark.spark import executor, preflight
from pulmospark.spark.executor import SparkExecutor, shares_of
from spark.local_spark import ConnectSpark, LocalSpark
from spark.local_works import COUNT, Deadly, RejectingDeadly, column, numbers_in, run


class _Told(Progress):
    """Keeps how many rows were told."""

    def __init__(self) -> None:
        super().__init__("test", 0, quiet=True)
        self.rows: list[int] = []

    def to(self, done: int, note: str = "") -> None:
        self.rows.append(done)
        super().to(done, note)


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PREFLIGHT_PAUSE_S", 0.0)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return numbers_in(tmp_path)


@pytest.mark.parametrize("kind", [LocalSpark, ConnectSpark])
def test_parts_are_those_of_all_chunks_in_their_order(place: Path, kind: Any) -> None:
    spark, told = kind(), _Told()
    profile = object()
    work = Deadly()
    parts = run(place, work, spark, progress=told, profile=profile)
    assert column(parts, "doubled", "double") == [2 * n for n in range(COUNT)]
    assert [(part.table, part.rows) for part in parts] == [("doubled", 24)] * 4
    assert {part.path.parent for part in parts} == {place / "parts"}
    assert told.rows[-1] == COUNT
    assert spark.jobs == [(len(shares_of(4, 2)), profile)]
    assert len(work.calls) == 4
    assert not list((place / "parts").glob(".run-*"))
    # Found again, nothing is done anew.
    assert run(place, work, kind()) == parts
    assert len(work.calls) == 4


def test_the_folder_for_parts_is_made(place: Path) -> None:
    assert len(run(place, Deadly(), folder=place / "deep" / "parts")) == 4


def test_the_folder_of_a_killed_run_goes(place: Path) -> None:
    old = place / "parts" / ".run-old"
    old.mkdir(parents=True)
    (old / "plan.jsonl").touch()
    (place / "parts" / "kept.parquet").touch()
    run(place, Deadly())
    assert not old.exists()
    assert (place / "parts" / "kept.parquet").exists()


def test_the_folder_of_a_run_that_fails_goes(place: Path) -> None:
    with pytest.raises(UsageError, match=r"^cannot double 24$") as caught:
        run(place, Deadly((30,), UsageError))
    assert "local_works.py" in (caught.value.detail or "")
    assert not list((place / "parts").glob(".run-*"))


def test_a_folder_that_is_a_file_is_told(place: Path) -> None:
    (place / "parts").write_text("a file")
    with pytest.raises(PlatformError, match=r"parts: is a file, but must be a folder.* --out"):
        run(place, Deadly())


def test_no_chunk_is_no_job(place: Path) -> None:
    spark = LocalSpark()
    progress = Progress("test", 0, quiet=True)
    assert (
        run_chunks(SparkExecutor(cast("Any", spark)), Deadly(), [], place / "none", progress) == []
    )
    assert not (place / "none").exists()
    assert not spark.jobs


def test_executors_of_a_cluster_are_held_against_the_driver(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster what tasks read is looked for on each executor: folders alone, once a chunk."""
    seen: list[Any] = []
    looked: list[Any] = []

    def look(session: Any, **told: Any) -> None:
        looked.append(told)
        preflight.preflight(session, **told)

    def stop(**told: Any) -> None:
        seen.append(told)
        raise _StopError

    monkeypatch.setattr(executor, "preflight", look)
    monkeypatch.setattr(chunk_job, "Task", stop)
    monkeypatch.setattr(preflight, "_probe", lambda *_, **__: None)
    monkeypatch.setattr(preflight, "_replies", lambda token: [token])
    reads = [str(place), str(place / "numbers.parquet"), "/nowhere"]
    for master, wanted in (("spark://driver:7077", (str(place),)), ("local[2]", None)):
        with pytest.raises(_StopError):
            run(place, Deadly(), LocalSpark(master=master), reads=reads)
        told = seen.pop()
        assert (told["wanted"].reads if told["wanted"] else None) == wanted
        assert told["files"].folder == str(place / "parts")
        assert told["files"].run.startswith(str(place / "parts" / ".run-"))
        assert told["marks"] is None
        assert looked.pop() == {"reads": reads, "folder": place / "parts"}


class _StopError(Exception):
    pass


def test_what_spark_cannot_tell_is_told_in_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    spark = LocalSpark()
    monkeypatch.setattr(spark.sparkContext, "parallelize", gone)
    with pytest.raises(PlatformError, match=r"JVM has ended \(Connection refused\)"):
        run(place, Deadly(), spark)


def test_several_at_work_are_run_alone_and_none_of_them_ends_a_worker(place: Path) -> None:
    """Two were at work when a worker ended: together they took too much, alone they do not."""
    work = RejectingDeadly((50,), tries=1)
    spark = LocalSpark()
    todo = chunks_of([place / "numbers.parquet"])
    jobs = Jobs(
        executor=SparkExecutor(cast("Any", spark)), work=work,
        files=DiskFolder(str(place), str(place)),
        progress=Progress("test", 0, quiet=True), wanted=None,
    )  # fmt: skip
    units = [Unit(n, chunk) for n, chunk in enumerate(todo)]
    assert jobs.run_shares(units, ((0, 2), (2, 2))) == [units[2]]
    assert set(jobs.done) == {units[0].name, units[1].name}
    assert jobs.run_alone(units) is None
    assert set(jobs.done) == {unit.name for unit in units}
    assert jobs.run_alone(units) is None  # all are done: no job
    assert [count for count, _ in spark.jobs] == [2, 1]
    assert len(work.calls) == 5


def test_the_unit_that_ends_its_worker_alone_is_named(place: Path) -> None:
    spark = LocalSpark(attempts=2)
    todo = chunks_of([place / "numbers.parquet"])
    work = Deadly((50,))
    jobs = Jobs(
        executor=SparkExecutor(cast("Any", spark)), work=work,
        files=DiskFolder(str(place), str(place)),
        progress=Progress("test", 0, quiet=True), wanted=None,
    )  # fmt: skip
    units = [Unit(n, chunk) for n, chunk in enumerate(todo)]
    assert jobs.run_alone(units) == units[2]
    assert set(jobs.done) == {units[0].name, units[1].name}
    # Spark's second attempt does not begin it again.
    assert [call[0] for call in work.calls].count(48) == 1


def test_a_fault_that_another_machine_mended_is_no_error(place: Path) -> None:
    """The second attempt reads it; then a worker ends: that is what is told."""
    spark = LocalSpark(attempts=2)
    parts = run(place, Deadly((57,), SourceUnavailableError, tries=1), spark)
    assert len(column(parts, "doubled", "double")) == COUNT
    assert len(spark.jobs) == 1


def test_a_job_that_fails_for_another_reason_is_told(place: Path) -> None:
    class Broken(LocalSpark):
        def stopped(self) -> bool:
            raise RuntimeError("java.lang.OutOfMemoryError: Java heap space")

    spark = Broken()
    spark.conf.set("pulmospark.preflight.waited", "yes")
    with pytest.raises(PlatformError, match=r"spark\.driver\.memory"):
        run(place, Deadly(), spark)


@pytest.mark.parametrize("kind", [LocalSpark, ConnectSpark])
def test_the_first_error_ends_the_job(
    place: Path, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiskFolder, "look_s", 0.01)
    spark = kind(attempts=1)
    spark.pause_s = 0.15
    work = Deadly((0,), UsageError)
    with pytest.raises(UsageError, match=r"^cannot double 0$"):
        run(place, work, spark)
    assert len(work.calls) <= 2
    context = getattr(spark, "sparkContext", None) or spark._context
    (tag,) = context.cancelled
    assert tag.startswith("pulmospark-")
    assert threading.get_ident() not in context.tags  # Spark's tags are those of a thread


def test_progress_is_told_while_a_job_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiskFolder, "look_s", 0.01)
    told = _Told()

    class Followed(Deadly):
        """Begins a chunk once the rows of those before are told; for at most 30 s."""

        def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
            end = time.monotonic() + 30
            while 24 * len(self.calls) not in told.rows and time.monotonic() < end:
                time.sleep(0.001)
            return super().__call__(chunk)

    run(place, Followed(), progress=told)
    assert {0, 24, 48, 72} <= set(told.rows)
    assert told.rows == sorted(told.rows)
    assert told.rows[-1] == COUNT


def _write_down(log: Path, event: str, unit: Unit, content: Any = None) -> None:
    with log.open("ab") as file:
        file.write(json.dumps([event, unit.name, content]).encode() + b"\n")


def test_logs_are_read_as_they_grow(tmp_path: Path) -> None:
    logs = Logs(DiskFolder(str(tmp_path), str(tmp_path)))
    logs.look()
    first, second = Unit(0, Chunk("/a", 0, 3)), Unit(1, Chunk("/a", 1, 2))
    log = tmp_path / "host-1.log"
    _write_down(log, "begin", first)
    _write_down(tmp_path / "host-2.log", "begin", second)
    (tmp_path / "plan.jsonl").write_text("no log")
    logs.look()
    assert logs.begun == {Name(0, 0, 3), Name(1, 0, 2)}
    whole = log.read_bytes()
    line = json.dumps(["end", [0, 0, 3], [["t", "f", 3]]]).encode() + b"\n"
    log.write_bytes(whole + line[:9])  # half written
    logs.look()
    assert logs.done == {}
    log.write_bytes(whole + line)
    logs.look()
    assert logs.done == {Name(0, 0, 3): [("t", "f", 3)]}
    assert logs.begun == {Name(1, 0, 2)}
    for event in ("fault", "error"):
        _write_down(log, "begin", second)
        _write_down(log, event, second, error_row(UsageError(event)))
    logs.look()
    logs.look()
    assert [error.message for error in logs.errors] == ["error"]
    assert [error.message for error in logs.faults] == ["fault"]
    assert logs.begun == set()
