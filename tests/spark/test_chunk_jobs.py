"""The driver's side of jobs over chunks, on a stand-in for Spark: what ends a worker is found."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pulmospark.core import limits
from pulmospark.core.errors import EnvironmentProblem, SourceUnavailableError, UsageError
from pulmospark.core.progress import Progress
from pulmospark.spark import chunks, preflight, share_job
from pulmospark.spark.chunk_task import Name, Unit, error_row, write_down
from pulmospark.spark.chunks import Part, chunks_of, run_chunks, shares_of
from pulmospark.spark.share_job import Jobs, Logs
from pulmospark.spark.work_list import Chunk
from spark.local_spark import ConnectSpark, LocalSpark

_COUNT, _GROUP = 96, 24
_MEMORY = (
    "give the workers more memory, or run fewer at once with --master local[1], and run the same "
    "command again"
)


@dataclass(frozen=True)
class _Deadly:
    """Doubles numbers; at some it ends its worker, as too little memory does, or raises.

    Attributes:
        deadly: numbers.
        error: what is raised.
        tries: times that a number ends a worker; later calls succeed.
        calls: numbers of each call.
        pause_s: seconds that a call takes.
    """

    deadly: tuple[int, ...] = ()
    error: type[Exception] = MemoryError
    tries: int = 1000
    calls: list[list[int]] = field(default_factory=list)
    pause_s: float = 0.0
    columns: Sequence[str] | None = None

    def key(self, chunk: pa.Table) -> str:
        return "-".join(map(str, chunk["number"].to_pylist()))

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        numbers = chunk["number"].to_pylist()
        ends = sum(bool(set(one) & set(self.deadly)) for one in self.calls)
        self.calls.append(numbers)
        time.sleep(self.pause_s)
        if set(numbers) & set(self.deadly) and ends < self.tries:
            raise self.error(f"cannot double {numbers[0]}")
        return {"doubled": pa.table({"double": [2 * number for number in numbers]})}


@dataclass(frozen=True)
class _Rejecting(_Deadly):
    def rejects(self, rows: pa.Table, detail: str) -> Mapping[str, pa.Table]:
        return {"rejects": rows.append_column("detail", [[detail] * rows.num_rows])}


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
    """``numbers.parquet`` with 0 to 95 in four row groups."""
    numbers = range(_COUNT)
    table = pa.table({"number": pa.array(numbers, pa.int64()), "uri": [f"/{n}" for n in numbers]})
    pq.write_table(table, tmp_path / "numbers.parquet", row_group_size=_GROUP)
    return tmp_path


def _run(
    place: Path, work: _Deadly, spark: LocalSpark | None = None, **settings: Any
) -> list[Part]:
    todo = chunks_of([place / "numbers.parquet"])
    progress = settings.pop("progress", None) or Progress("test", 0, quiet=True)
    session = cast("Any", spark or LocalSpark())
    folder = settings.pop("folder", place / "parts")
    return run_chunks(session, work, todo, folder, progress, **settings)


def _column(parts: list[Part], table: str, column: str) -> list[Any]:
    rows = [pq.read_table(part.path)[column].to_pylist() for part in parts if part.table == table]
    return [value for values in rows for value in values]


@pytest.mark.parametrize("kind", [LocalSpark, ConnectSpark])
def test_parts_are_those_of_all_chunks_in_their_order(place: Path, kind: Any) -> None:
    spark, told = kind(), _Told()
    profile = object()
    work = _Deadly()
    parts = _run(place, work, spark, progress=told, profile=profile)
    assert _column(parts, "doubled", "double") == [2 * n for n in range(_COUNT)]
    assert [(part.table, part.rows) for part in parts] == [("doubled", 24)] * 4
    assert {part.path.parent for part in parts} == {place / "parts"}
    assert told.rows[-1] == _COUNT
    assert spark.jobs == [(len(shares_of(4, 2)), profile)]
    assert len(work.calls) == 4
    assert not list((place / "parts").glob(".run-*"))
    # Found again, nothing is done anew.
    assert _run(place, work, kind()) == parts
    assert len(work.calls) == 4


def test_the_folder_for_parts_is_made(place: Path) -> None:
    assert len(_run(place, _Deadly(), folder=place / "deep" / "parts")) == 4


def test_the_folder_of_a_killed_run_goes(place: Path) -> None:
    old = place / "parts" / ".run-old"
    old.mkdir(parents=True)
    (old / "plan.jsonl").touch()
    (place / "parts" / "kept.parquet").touch()
    _run(place, _Deadly())
    assert not old.exists()
    assert (place / "parts" / "kept.parquet").exists()


def test_the_folder_of_a_run_that_fails_goes(place: Path) -> None:
    with pytest.raises(UsageError, match=r"^cannot double 24$") as caught:
        _run(place, _Deadly((30,), UsageError))
    assert "test_chunk_jobs.py" in (caught.value.detail or "")
    assert not list((place / "parts").glob(".run-*"))


def test_a_folder_that_is_a_file_is_told(place: Path) -> None:
    (place / "parts").write_text("a file")
    with pytest.raises(EnvironmentProblem, match=r"parts: a file stands.* --out"):
        _run(place, _Deadly())


def test_no_chunk_is_no_job(place: Path) -> None:
    spark = LocalSpark()
    progress = Progress("test", 0, quiet=True)
    assert run_chunks(cast("Any", spark), _Deadly(), [], place / "none", progress) == []
    assert not (place / "none").exists()
    assert not spark.jobs


def test_executors_of_a_cluster_are_held_against_the_driver(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster what tasks read is looked for on each executor: folders alone, once a chunk."""
    seen: list[Any] = []
    looked: list[Any] = []
    monkeypatch.setattr(
        chunks, "preflight", lambda session, **told: looked.append(told) or preflight.preflight(
            session, **told
        ),
    )  # fmt: skip
    monkeypatch.setattr(share_job, "Task", lambda **told: seen.append(told) or _raise())
    monkeypatch.setattr(preflight, "_probe", lambda *_, **__: None)
    monkeypatch.setattr(preflight, "_replies", lambda token: [token])
    reads = [str(place), str(place / "numbers.parquet"), "/nowhere"]
    for master, wanted in (("spark://driver:7077", (str(place),)), ("local[2]", None)):
        with pytest.raises(_StopError):
            _run(place, _Deadly(), LocalSpark(master=master), reads=reads)
        told = seen.pop()
        assert (told["wanted"].reads if told["wanted"] else None) == wanted
        assert told["folder"] == str(place / "parts")
        assert told["run"].startswith(str(place / "parts" / ".run-"))
        assert told["marks"] is None
        assert looked.pop() == {"reads": reads, "folder": place / "parts"}


class _StopError(Exception):
    pass


def _raise() -> None:
    raise _StopError


def test_what_spark_cannot_tell_is_told_in_one_line(place: Path) -> None:
    class Ended(LocalSpark):
        def range(self, *_: object, **__: object) -> Any:
            raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(EnvironmentProblem, match=r"JVM has ended \(Connection refused\)"):
        _run(place, _Deadly(), Ended())


def test_images_that_end_their_workers_are_rejected(place: Path) -> None:
    deadly = (0, 1, 57)
    work, spark = _Rejecting(deadly), LocalSpark()
    parts = _run(place, work, spark)
    assert _column(parts, "doubled", "double") == [2 * n for n in range(_COUNT) if n not in deadly]
    assert _column(parts, "rejects", "number") == list(deadly)
    assert set(_column(parts, "rejects", "detail")) == {
        "ended the worker that read it, 2 times, alone in its task"
    }
    # Each number ends a worker: with its chunk, with the piece it is in, and twice alone.
    ends = [len(set(call) & set(deadly)) > 0 for call in work.calls]
    assert sum(ends) <= 5 * len(deadly)
    assert [call for call in work.calls if len(call) == 1 and call[0] in deadly] == [
        *([[0]] * 2), *([[1]] * 2), *([[57]] * 2),
    ]  # fmt: skip
    # Found again after a kill, nothing ends a worker anew.
    calls = len(work.calls)
    again = _run(place, work)
    assert sorted(_column(again, "rejects", "number")) == list(deadly)
    assert not [call for call in work.calls[calls:] if len(call) == 1]


def _first_of(parts: list[Part]) -> list[tuple[str, int]]:
    column = {"doubled": "double", "rejects": "number"}
    return [(p.table, pq.read_table(p.path)[column[p.table]][0].as_py()) for p in parts]


def _starts(parts: list[Part]) -> list[int]:
    return [n // 2 if t == "doubled" else -n for t, n in _first_of(parts)]


def test_a_chunk_is_cut_into_pieces_of_which_one_is_cut_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ISOLATION_PIECES", 4)
    work = _Rejecting((31,))
    parts = _run(place, work)
    # 24 rows in 4 pieces of 6, the deadly one (30 to 35) in pieces of 2, then of 1.
    own = [call for call in work.calls if set(call) <= set(range(24, 48))]
    assert own == [
        list(range(24, 48)),
        list(range(24, 30)),
        list(range(30, 36)),
        [30, 31],
        [30],
        [31],
        [31],
        [32, 33],
        [34, 35],
        list(range(36, 42)),
        list(range(42, 48)),
    ]
    assert _starts(parts) == [0, 24, 30, -31, 32, 34, 36, 42, 48, 72]


def test_work_that_rejects_nothing_names_the_image(place: Path) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        _run(place, _Deadly((57,)))
    words = "ended the worker that read it, 2 times, alone in its task"
    assert caught.value.message == f"/57: {words}: {_MEMORY}"
    plain = pq.read_table(place / "numbers.parquet").drop_columns(["uri"])
    pq.write_table(plain, place / "numbers.parquet", row_group_size=_GROUP)
    with pytest.raises(EnvironmentProblem) as caught:
        _run(place, _Deadly((57,)))
    where = f"row 9 of row group 2 of {place / 'numbers.parquet'}"
    assert caught.value.message == f"{where}: {words}: {_MEMORY}"


def test_the_columns_that_the_work_asks_for_are_rejected(place: Path) -> None:
    parts = _run(place, _Rejecting((57,), columns=("number",)))
    rejects = [pq.read_table(part.path) for part in parts if part.table == "rejects"]
    assert [table.column_names for table in rejects] == [["number", "detail"]]


def test_a_chunk_of_one_row_whose_worker_ended_once_is_done(tmp_path: Path) -> None:
    table = pa.table({"number": pa.array(range(3), pa.int64())})
    pq.write_table(table, tmp_path / "numbers.parquet", row_group_size=1)
    parts = _run(tmp_path, _Rejecting((1,), tries=1))
    assert _column(parts, "doubled", "double") == [0, 2, 4]


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_a_worker_that_ends_for_another_reason_costs_no_image(place: Path, tries: int) -> None:
    """As often as the chunk, a piece of it and the image once: only the image twice counts."""
    parts = _run(place, _Rejecting((57,), tries=tries))
    assert sorted(_column(parts, "doubled", "double")) == [2 * n for n in range(_COUNT)]
    assert not _column(parts, "rejects", "number")


def test_several_at_work_are_run_alone_and_none_of_them_ends_a_worker(place: Path) -> None:
    """Two were at work when a worker ended: together they took too much, alone they do not."""
    work = _Rejecting((50,), tries=1)
    spark = LocalSpark()
    todo = chunks_of([place / "numbers.parquet"])
    jobs = Jobs(
        spark=cast("Any", spark), work=work, folder=place, run=place,
        progress=Progress("test", 0, quiet=True), profile=None, wanted=None,
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
    work = _Deadly((50,))
    jobs = Jobs(
        spark=cast("Any", spark), work=work, folder=place, run=place,
        progress=Progress("test", 0, quiet=True), profile=None, wanted=None,
    )  # fmt: skip
    units = [Unit(n, chunk) for n, chunk in enumerate(todo)]
    assert jobs.run_alone(units) == units[2]
    assert set(jobs.done) == {units[0].name, units[1].name}
    # Spark's second attempt does not begin it again.
    assert [call[0] for call in work.calls].count(48) == 1


def test_too_many_in_a_row_are_the_machine_s_fault(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ENDED_IN_A_ROW_MAX", 1)
    with pytest.raises(EnvironmentProblem) as caught:
        _run(place, _Rejecting((56, 57)))
    assert caught.value.message == (
        "/57: ended the worker that read it, 2 times, alone in its task (image 2 in a row): "
        f"{_MEMORY}"
    )


def test_images_apart_are_not_in_a_row(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ENDED_IN_A_ROW_MAX", 1)
    parts = _run(place, _Rejecting((50, 60)))
    assert _column(parts, "rejects", "number") == [50, 60]


def test_more_ends_than_the_limit_end_the_run(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A chunk, its piece, and the image twice: four jobs.
    monkeypatch.setattr(limits, "FAILED_JOBS_MAX", 4)
    assert _column(_run(place, _Rejecting((57,))), "rejects", "number") == [57]
    monkeypatch.setattr(limits, "FAILED_JOBS_MAX", 3)
    for path in (place / "parts").iterdir():
        path.unlink()
    with pytest.raises(EnvironmentProblem) as caught:
        _run(place, _Rejecting((57,)))
    assert caught.value.message == (
        f"4 jobs ended with their workers, over the limit of 3: {_MEMORY}"
    )


def test_a_machine_that_reads_nothing_is_named_and_no_image_rejected(place: Path) -> None:
    with pytest.raises(SourceUnavailableError, match=r"^cannot double 48$"):
        _run(place, _Rejecting((57,), SourceUnavailableError))


def test_a_fault_that_another_machine_mended_is_no_error(place: Path) -> None:
    """The second attempt reads it; then a worker ends: that is what is told."""
    spark = LocalSpark(attempts=2)
    parts = _run(place, _Deadly((57,), SourceUnavailableError, tries=1), spark)
    assert len(_column(parts, "doubled", "double")) == _COUNT
    assert len(spark.jobs) == 1


def test_a_job_that_fails_for_another_reason_is_told(place: Path) -> None:
    class Broken(LocalSpark):
        def stopped(self) -> bool:
            raise RuntimeError("java.lang.OutOfMemoryError: Java heap space")

    spark = Broken()
    spark.conf.set("pulmospark.preflight.waited", "yes")
    with pytest.raises(EnvironmentProblem, match=r"spark\.driver\.memory"):
        _run(place, _Deadly(), spark)


@pytest.mark.parametrize("kind", [LocalSpark, ConnectSpark])
def test_the_first_error_ends_the_job(
    place: Path, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share_job, "_POLL_S", 0.01)
    spark = kind(attempts=1)
    spark.pause_s = 0.15
    work = _Deadly((0,), UsageError)
    with pytest.raises(UsageError, match=r"^cannot double 0$"):
        _run(place, work, spark)
    assert len(work.calls) <= 2
    context = getattr(spark, "sparkContext", None) or spark._context
    (tag,) = context.cancelled
    assert tag.startswith("pulmospark-")
    assert threading.get_ident() not in context.tags  # Spark's tags are those of a thread


def test_progress_is_told_while_a_job_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share_job, "_POLL_S", 0.01)
    told = _Told()
    _run(place, _Deadly(pause_s=0.06), progress=told)
    assert {0, 24, 48, 72} <= set(told.rows)
    assert told.rows == sorted(told.rows)
    assert told.rows[-1] == _COUNT


def test_logs_are_read_as_they_grow(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.look()
    first, second = Unit(0, Chunk("/a", 0, 3)), Unit(1, Chunk("/a", 1, 2))
    log = tmp_path / "host-1.log"
    write_down(log, "begin", first)
    write_down(tmp_path / "host-2.log", "begin", second)
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
        write_down(log, "begin", second)
        write_down(log, event, second, error_row(UsageError(event)))
    logs.look()
    logs.look()
    assert [error.message for error in logs.errors] == ["error"]
    assert [error.message for error in logs.faults] == ["fault"]
    assert logs.begun == set()
