"""Chunks: work on row groups, whose parts are written once and found again."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark import cloudpickle
from pyspark.sql import SparkSession

from pulmospark.chunks import Part, chunks_of, run_chunks
from pulmospark.core import errors
from pulmospark.core.errors import PlatformError, PulmosparkError, UsageError
from pulmospark.core.progress import Progress
from pulmospark.spark.executor import SparkExecutor, shares_of
from spark import works
from spark.works import Doubling

pytestmark = pytest.mark.spark
# The workers know the package, and not its tests.
cloudpickle.register_pickle_by_value(works)  # type: ignore[no-untyped-call]
_QUIET = Progress("test", 0, quiet=True)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """``numbers.parquet`` with 0 to 9 in row groups of three, and a folder for notes."""
    table = pa.table({"number": pa.array(range(10), pa.int64()), "text": ["x"] * 10})
    pq.write_table(table, tmp_path / "numbers.parquet", row_group_size=3)
    (tmp_path / "notes").mkdir()
    return tmp_path


def _run(place: Path, spark: SparkSession, work: Doubling | None = None) -> list[Part]:
    todo = chunks_of([place / "numbers.parquet"])
    work = work or Doubling(str(place / "notes"))
    return run_chunks(SparkExecutor(spark), work, todo, place / "parts", _QUIET)


def _rows(parts: list[Part], table: str) -> list[int]:
    return [
        number
        for part in parts
        if part.table == table
        for number in pq.read_table(part.path)["double"].to_pylist()
    ]


def _calls(place: Path) -> list[int]:
    return sorted(int(path.name.split("-")[0]) for path in (place / "notes").iterdir())


def test_each_chunk_is_worked_on_once_and_in_its_order(place: Path, spark: SparkSession) -> None:
    parts = _run(place, spark)
    assert _rows(parts, "even") == [0, 4, 8, 12, 16]
    assert _rows(parts, "odd") == [2, 6, 10, 14, 18]
    assert _calls(place) == [0, 3, 6, 9]
    assert [part.rows for part in parts] == [pq.read_metadata(p.path).num_rows for p in parts]
    assert len(parts) == 7  # the last chunk holds one odd number: it has no part of even ones
    assert not [path for path in (place / "parts").iterdir() if path.name.startswith(".")]


def test_many_chunks_in_few_tasks_give_the_same_parts(tmp_path: Path, spark: SparkSession) -> None:
    table = pa.table({"number": pa.array(range(120), pa.int64())})
    pq.write_table(table, tmp_path / "numbers.parquet", row_group_size=3)
    (tmp_path / "notes").mkdir()
    parts = _run(tmp_path, spark)
    assert _rows(parts, "even") == [2 * number for number in range(0, 120, 2)]
    assert _calls(tmp_path) == list(range(0, 120, 3))
    assert len(shares_of(40, 2)) < 40


def test_a_file_that_was_written_anew_is_read_anew(place: Path, spark: SparkSession) -> None:
    _run(place, spark)
    table = pa.table({"number": pa.array(range(50, 59), pa.int64()), "text": ["x"] * 9})
    pq.write_table(table, place / "numbers.parquet", row_group_size=3)
    assert _rows(_run(place, spark), "even") == [100, 104, 108, 112, 116]


def test_parts_that_are_there_are_used(place: Path, spark: SparkSession) -> None:
    first = _run(place, spark)
    assert _run(place, spark) == first
    assert _calls(place) == [0, 3, 6, 9]
    lost = sorted((place / "parts").glob("*.done"))[0]
    lost.unlink()
    assert _run(place, spark) == first
    assert len(_calls(place)) == 5


def test_one_chunk_run_twice_at_once_is_as_run_once(place: Path, spark: SparkSession) -> None:
    """What speculation and retries do: two tasks on the same chunk, both to the end."""
    todo = chunks_of([place / "numbers.parquet"])
    twice = [chunk for chunk in todo for _ in range(2)]
    work = Doubling(str(place / "notes"))
    parts = run_chunks(SparkExecutor(spark), work, twice, place / "parts", _QUIET)
    assert len(parts) == 14
    assert {part.path for part in parts} == {part.path for part in _run(place, spark)}
    assert sorted(_rows(list(dict.fromkeys(parts)), "even")) == [0, 4, 8, 12, 16]


@pytest.mark.parametrize("name", ["UsageError", "ClassError", "BundleError", "PlatformError"])
def test_an_error_of_a_task_comes_back_as_itself(
    name: str, place: Path, spark: SparkSession
) -> None:
    kind: type[PulmosparkError] = getattr(errors, name)
    with pytest.raises(kind) as caught:
        _run(place, spark, Doubling(str(place / "notes"), fails_at=4, error=name))
    assert type(caught.value) is kind
    assert caught.value.message == "cannot double 4"
    assert "works.py" in (caught.value.detail or "")
    assert _calls(place).count(3) == 1  # not tried again: it is a lost cause


def test_the_first_error_ends_the_job(tmp_path: Path, spark: SparkSession) -> None:
    """Four chunks wait for a second each behind the one that fails; they are not begun."""
    table = pa.table({"number": pa.array(range(40), pa.int64())})
    pq.write_table(table, tmp_path / "numbers.parquet", row_group_size=1)
    (tmp_path / "notes").mkdir()
    begun = time.monotonic()
    with pytest.raises(UsageError, match="cannot double 1"):
        slow = Doubling(str(tmp_path / "notes"), fails_at=1, error="UsageError", pause_s=0.5)
        _run(tmp_path, spark, slow)
    assert time.monotonic() - begun < 40 * 0.5 / 2 / 2
    assert len(_calls(tmp_path)) < 20


def test_any_other_error_is_told_in_one_line(place: Path, spark: SparkSession) -> None:
    with pytest.raises(PlatformError, match=r"^ValueError: cannot double 4$") as caught:
        _run(place, spark, Doubling(str(place / "notes"), fails_at=4))
    assert "Traceback" in (caught.value.detail or "")


def test_a_row_that_ends_its_worker_is_named(place: Path, spark: SparkSession) -> None:
    with pytest.raises(PlatformError, match=r"^row 1 of row group 1 of .* memory") as caught:
        _run(place, spark, Doubling(str(place / "notes"), fails_at=4, error="killed"))
    assert "\n" not in caught.value.message
    assert _rows(_run(place, spark), "odd") == [2, 6, 10, 14, 18]  # the session is sound


def test_what_was_done_before_an_error_is_kept(place: Path, spark: SparkSession) -> None:
    with pytest.raises(PlatformError):
        _run(place, spark, Doubling(str(place / "notes"), fails_at=4))
    assert _rows(_run(place, spark), "odd") == [2, 6, 10, 14, 18]
    assert _calls(place) == [0, 3, 3, 6, 9]


def test_a_file_that_is_gone_is_told(place: Path, spark: SparkSession) -> None:
    todo = chunks_of([place / "numbers.parquet"])
    (place / "numbers.parquet").unlink()
    with pytest.raises(PlatformError, match=r"numbers\.parquet") as caught:
        run_chunks(
            SparkExecutor(spark), Doubling(str(place / "notes")), todo, place / "parts", _QUIET
        )
    assert "\n" not in caught.value.message


def test_a_folder_that_cannot_be_is_told(place: Path, spark: SparkSession) -> None:
    (place / "parts").write_text("a file")
    with pytest.raises(PlatformError, match="--out"):
        _run(place, spark)
