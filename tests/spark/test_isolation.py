"""An image that ends its worker costs that image, in any work on chunks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark import cloudpickle
from pyspark.sql import SparkSession

from pulmospark.chunks import Part, chunks_of, run_chunks
from pulmospark.core import limits
from pulmospark.core.errors import PlatformError, SourceUnavailableError
from pulmospark.core.progress import Progress
from pulmospark.spark.executor import SparkExecutor
from spark import works
from spark.works import Killing, RejectingKilling

pytestmark = pytest.mark.spark
cloudpickle.register_pickle_by_value(works)  # type: ignore[no-untyped-call]
_COUNT = 96
_GROUP = 24


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """``numbers.parquet`` with 0 to 95 in four row groups, and a folder for notes."""
    numbers = range(_COUNT)
    table = pa.table({"number": pa.array(numbers, pa.int64()), "uri": [f"/{n}" for n in numbers]})
    pq.write_table(table, tmp_path / "numbers.parquet", row_group_size=_GROUP)
    (tmp_path / "notes").mkdir()
    return tmp_path


def _run(place: Path, spark: SparkSession, work: Killing) -> list[Part]:
    todo = chunks_of([place / "numbers.parquet"])
    return run_chunks(
        SparkExecutor(spark), work, todo, place / "parts", Progress("test", 0, quiet=True)
    )


def _column(parts: list[Part], table: str, column: str) -> list[Any]:
    rows = [pq.read_table(part.path)[column].to_pylist() for part in parts if part.table == table]
    return [value for values in rows for value in values]


def test_images_that_end_their_workers_are_rejected(place: Path, spark: SparkSession) -> None:
    deadly = (0, 1)
    work = RejectingKilling(str(place / "notes"), deadly)
    parts = _run(place, spark, work)
    assert _column(parts, "doubled", "double") == [2 * n for n in range(_COUNT) if n not in deadly]
    assert _column(parts, "rejects", "number") == list(deadly)
    (detail,) = set(_column(parts, "rejects", "detail"))
    assert detail == "ended the worker that read it, 2 times, alone in its task"
    assert not list((place / "parts").glob(".run-*"))
    ends = len(list((place / "notes").iterdir()))
    assert ends <= 5 * len(deadly)
    # Found again after a kill, nothing ends a worker anew.
    again = _run(place, spark, work)
    assert sorted(_column(again, "rejects", "number")) == list(deadly)
    assert sorted(_column(again, "doubled", "double")) == sorted(
        _column(parts, "doubled", "double")
    )


def test_work_that_rejects_nothing_names_the_image(place: Path, spark: SparkSession) -> None:
    with pytest.raises(PlatformError, match=r"^/57: ended the worker .*memory") as caught:
        _run(place, spark, Killing(str(place / "notes"), (57,)))
    assert "\n" not in caught.value.message


def test_a_worker_that_ends_for_another_reason_costs_no_image(
    place: Path, spark: SparkSession
) -> None:
    """Two workers end at the same image, and the third does not: it was the machine."""
    parts = _run(place, spark, RejectingKilling(str(place / "notes"), (57,), tries=2))
    assert _column(parts, "doubled", "double") == [2 * n for n in range(_COUNT)]
    assert not _column(parts, "rejects", "number")


def test_too_many_in_a_row_are_the_machine_s_fault(
    place: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ENDED_IN_A_ROW_MAX", 1)
    with pytest.raises(PlatformError, match=r"image 2 in a row.*memory"):
        _run(place, spark, RejectingKilling(str(place / "notes"), (57, 58)))


def test_a_machine_that_reads_nothing_is_named_and_no_image_rejected(
    place: Path, spark: SparkSession
) -> None:
    work = RejectingKilling(str(place / "notes"), (57,), error="SourceUnavailableError")
    with pytest.raises(SourceUnavailableError, match=r"^host-7: cannot read 57$"):
        _run(place, spark, work)
    assert _column(_run(place, spark, Killing(str(place), ())), "rejects", "number") == []
