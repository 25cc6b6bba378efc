"""The task of an executor, run in this process: its rows, its log, its errors, its parts."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pulmospark
from pulmospark.chunks import task as chunk_task
from pulmospark.chunks.task import (
    ENDED,
    Name,
    Task,
    Unit,
    error_from,
    error_row,
    line_of,
    settle_worker,
    unit_from,
    write_parts,
)
from pulmospark.chunks.work_folder import PLAN, DiskFolder, log_name
from pulmospark.chunks.work_list import Chunk
from pulmospark.chunks.worker_check import Expected, expected
from pulmospark.core import errors
from pulmospark.core.errors import PlatformError, SourceUnavailableError, UsageError
from pulmospark.spark.executor import SparkTask


@dataclass(frozen=True)
class _Copying:
    """Copies numbers, and raises at some.

    Attributes:
        raises: pairs of a number and the error that it raises.
    """

    raises: tuple[tuple[int, Exception], ...] = ()
    columns: Sequence[str] | None = ("number",)

    def key(self, chunk: pa.Table) -> str:
        return "-".join(map(str, chunk["number"].to_pylist()))

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        for number, error in self.raises:
            if number in chunk["number"].to_pylist():
                raise error
        return {"copies": chunk, "none": chunk.schema.empty_table()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """``numbers.parquet`` with 0 to 8 in row groups of three, and folders of a run."""
    table = pa.table({"number": pa.array(range(9), pa.int64()), "text": ["x"] * 9})
    pq.write_table(table, tmp_path / "numbers.parquet", row_group_size=3)
    (tmp_path / "parts" / "run").mkdir(parents=True)
    return tmp_path


def _task(place: Path, shares: list[list[int]], work: Any = None, **settings: Any) -> Task:
    """A task on row groups, as many shares as are named; the plan is written."""
    plan, offsets = b"", [0]
    for share in shares:
        for group in share:
            plan += line_of(Unit(group + 10, Chunk(str(place / "numbers.parquet"), group, 3)))
        offsets.append(len(plan))
    run = place / "parts" / "run"
    (run / PLAN).write_bytes(plan)
    return Task(
        work=work or _Copying(),
        files=DiskFolder(str(place / "parts"), str(run)),
        offsets=np.asarray(offsets, np.int64).tobytes(),
        **settings,
    )


def _run(task: Task, *shares: int) -> list[dict[str, Any]]:
    answers = [json.loads(answer) for share in shares for answer in SparkTask(task)(share)]
    return [
        {**dict(zip(Name._fields, name, strict=True)), "parts": json.dumps(parts), "error": error}
        for name, parts, error in answers
    ]


def _log(place: Path) -> list[Any]:
    lines = (place / "parts" / "run" / log_name()).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_a_share_is_done_in_its_order_and_written_down(place: Path) -> None:
    rows = _run(_task(place, [[0], [2, 1]]), 1)
    assert [(row["place"], row["first"], row["rows"], row["error"]) for row in rows] == [
        (12, 0, 3, None),
        (11, 0, 3, None),
    ]
    first = [["copies", "copies-6-7-8.parquet", 3]]
    second = [["copies", "copies-3-4-5.parquet", 3]]
    assert [json.loads(row["parts"]) for row in rows] == [first, second]
    assert _log(place) == [
        ["begin", [12, 0, 3], None],
        ["end", [12, 0, 3], first],
        ["begin", [11, 0, 3], None],
        ["end", [11, 0, 3], second],
    ]
    written = pq.read_table(place / "parts" / "copies-6-7-8.parquet")
    assert written.to_pydict() == {"number": [6, 7, 8]}  # the columns that the work asks for
    assert not list((place / "parts").glob("none-*"))
    assert not list((place / "parts" / "run").glob("*.begun"))


def test_an_error_is_a_row_and_ends_the_task(place: Path) -> None:
    task = _task(place, [[0, 1, 2], [2]], _Copying(((4, UsageError("cannot copy 4")),)))
    rows = _run(task, 0)
    assert [row["place"] for row in rows] == [10, 11]
    assert rows[1]["parts"] == "[]"
    told = json.loads(rows[1]["error"])
    assert (told["kind"], told["message"]) == ("UsageError", "cannot copy 4")
    assert "in __call__" in told["detail"]
    assert _log(place)[-1] == ["error", [11, 0, 3], rows[1]["error"]]


def test_a_source_that_is_gone_is_raised_for_spark_to_try_another_machine(place: Path) -> None:
    error = SourceUnavailableError("host-7: cannot read 1")
    with pytest.raises(SourceUnavailableError, match=r"^host-7: cannot read 1$"):
        _run(_task(place, [[0]], _Copying(((1, error),))), 0)
    event, name, text = _log(place)[-1]
    assert (event, name) == ("fault", [10, 0, 3])
    assert json.loads(text)["kind"] == "SourceUnavailableError"
    assert json.loads(text)["message"] == "host-7: cannot read 1"


def test_too_little_memory_is_as_though_the_worker_had_ended(place: Path) -> None:
    with pytest.raises(MemoryError):
        _run(_task(place, [[0]], _Copying(((1, MemoryError()),))), 0)
    assert _log(place) == [["begin", [10, 0, 3], None]]


def test_a_chunk_that_ended_a_process_is_not_tried_in_another(place: Path) -> None:
    task = _task(place, [[0, 1, 2]], _Copying(((4, MemoryError()),)), marks="job")
    with pytest.raises(MemoryError):
        _run(task, 0)
    run = place / "parts" / "run"
    marks = {path.name for path in run.glob("job-*")}
    assert marks == {"job-10-0-3.begun", "job-10-0-3.ended", "job-11-0-3.begun"}
    before = _log(place)
    rows = _run(task, 0)  # what Spark does
    assert [(row["place"], row["error"]) for row in rows] == [(10, None), (11, ENDED)]
    assert rows[1]["parts"] == "[]"
    assert _log(place)[len(before) :] == before[:2]
    other = Task(**{**vars(task), "marks": "another job", "work": _Copying()})
    assert [row["error"] for row in _run(other, 0)] == [None] * 3


def test_a_worker_of_another_version_begins_nothing(place: Path) -> None:
    wanted = Expected("0.0.1", expected().python, "driver-1")
    (row,) = _run(_task(place, [[0, 1]], wanted=wanted), 0)
    told = json.loads(row["error"])
    assert told["kind"] == "PlatformError"
    assert "driver-1" in told["message"]
    assert not list((place / "parts").glob("copies-*"))
    (row,) = _run(_task(place, [[0]], wanted=expected()), 0)
    assert row["error"] is None


def test_a_plan_that_the_machine_does_not_see(place: Path) -> None:
    task = _task(place, [[0]])
    plan = place / "parts" / "run" / PLAN
    plan.unlink()
    words = (
        f"{platform.node()}: cannot read {plan}, written by the driver: "
        "No such file or directory: mount the output's folder there at the same path"
    )
    with pytest.raises(SourceUnavailableError) as caught:
        _run(task, 0)
    assert caught.value.message == words


def test_a_list_that_the_machine_does_not_see(place: Path) -> None:
    task = _task(place, [[0]])
    (place / "numbers.parquet").unlink()
    with pytest.raises(SourceUnavailableError) as caught:
        _run(task, 0)
    assert caught.value.message == (
        f"{platform.node()}: cannot read {place / 'numbers.parquet'}: No such file or directory; "
        "check that machine's mounts, then rerun the command"
    )


def test_an_error_without_a_number_is_told_in_its_own_words(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the footer is cut")

    monkeypatch.setattr(chunk_task, "read_chunk", fail)
    with pytest.raises(SourceUnavailableError, match=r"numbers\.parquet: the footer is cut; "):
        _run(_task(place, [[0]]), 0)


def test_a_full_disk_is_told_with_its_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("write_part", "write_down"):
        with monkeypatch.context() as patch:
            patch.setattr(DiskFolder, name, fail)
            with pytest.raises(PlatformError) as caught:
                raise error_from(_run(_task(place, [[0]]), 0)[0]["error"])
        assert caught.value.message.startswith(f"{place / 'parts'}: the disk is full")


def test_parts_are_written_once(tmp_path: Path) -> None:
    calls = []

    def work() -> Mapping[str, pa.Table]:
        calls.append(1)
        full = pa.table({"a": [1, 2]})
        return {"one": full, "none": full.slice(0, 0), "two": full.slice(1)}

    expected_parts = [("one", "one-k.parquet", 2), ("two", "two-k.parquet", 1)]
    files = DiskFolder(str(tmp_path), str(tmp_path))
    assert write_parts(files, "k", work) == expected_parts
    assert write_parts(files, "k", work) == expected_parts
    assert len(calls) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "k.done",
        "one-k.parquet",
        "two-k.parquet",
    ]
    assert write_parts(files, "other", lambda: {}) == []
    assert (tmp_path / "other.done").read_bytes() == b"[]"
    assert len(calls) == 1


def test_a_line_of_the_plan_is_one_line_and_gives_the_unit_back() -> None:
    for path in ("/a.parquet", "/Röntgen\n1.parquet"):
        unit = Unit(3, Chunk(path, 4, 2, 7))
        line = line_of(unit)
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert unit_from(line) == unit
        assert unit.name == Name(3, 7, 2)


def test_the_log_is_this_process_s_own(tmp_path: Path) -> None:
    host = hashlib.sha256(platform.node().encode()).hexdigest()[:16]
    assert log_name() == f"{host}-{os.getpid()}.log"
    files = DiskFolder(str(tmp_path), str(tmp_path))
    files.write_down(b"one\n")
    files.write_down(b"two\n")
    log = tmp_path / log_name()
    assert log.read_bytes() == b"one\ntwo\n"
    assert log.stat().st_mode & 0o777 == 0o644 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_what_was_imported_is_taken_out_of_garbage_collection(place: Path) -> None:
    settle_worker.cache_clear()
    gc.unfreeze()
    try:
        _run(_task(place, [[0]], _Copying(((1, UsageError("no")),))), 0)
        assert gc.get_freeze_count() == 0
        _run(_task(place, [[0]]), 0)
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        settle_worker.cache_clear()


def _handled(error: Exception) -> str:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001 - whatever was given
        return error_row(caught)


@pytest.mark.parametrize("name", ["UsageError", "BundleError", "SourceUnavailableError"])
def test_an_error_travels_as_itself(name: str) -> None:
    kind = getattr(errors, name)
    error = error_from(_handled(kind("cannot do 4")))
    assert type(error) is kind
    assert error.message == "cannot do 4"
    assert (error.detail or "").startswith("Traceback (most recent call last):\n")
    assert (error.detail or "").endswith(f"{name}: cannot do 4\n")


def test_errors_of_others_travel_as_a_problem_of_the_machine() -> None:
    plain = error_from(_handled(ValueError("odd")))
    assert type(plain) is PlatformError
    assert plain.message == "ValueError: odd"
    install = f"install pulmospark {pulmospark.__version__} with its requirements there"
    host = platform.node()
    for error, name in (
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), "cv2"),
        (ImportError("No module named 'cv2'"), "a module"),
    ):
        told = error_from(_handled(error))
        assert type(told) is PlatformError
        assert told.message == (
            f"{host}: {sys.executable} cannot import {name} (No module named 'cv2'): {install}"
        )
    unknown = json.dumps({"kind": "LaterError", "message": "of a later version", "detail": "d"})
    later = error_from(unknown)
    assert (type(later), later.message, later.detail) == (
        PlatformError,
        "of a later version",
        "d",
    )
