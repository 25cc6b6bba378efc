"""An image that ends its worker is found, on a stand-in for Spark, and costs that image alone."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pulmospark.chunks import Part
from pulmospark.core import limits
from pulmospark.core.errors import PlatformError, SourceUnavailableError
from spark.local_spark import LocalSpark
from spark.local_works import COUNT, GROUP, Deadly, RejectingDeadly, column, numbers_in, run


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PREFLIGHT_PAUSE_S", 0.0)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return numbers_in(tmp_path)


_MEMORY = (
    "give the workers more memory, or run fewer at once with --master local[1], then rerun "
    "the command"
)


def test_images_that_end_their_workers_are_rejected(place: Path) -> None:
    deadly = (0, 1, 57)
    work, spark = RejectingDeadly(deadly), LocalSpark()
    parts = run(place, work, spark)
    assert column(parts, "doubled", "double") == [2 * n for n in range(COUNT) if n not in deadly]
    assert column(parts, "rejects", "number") == list(deadly)
    assert set(column(parts, "rejects", "detail")) == {
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
    again = run(place, work)
    assert sorted(column(again, "rejects", "number")) == list(deadly)
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
    work = RejectingDeadly((31,))
    parts = run(place, work)
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
    with pytest.raises(PlatformError) as caught:
        run(place, Deadly((57,)))
    words = "ended the worker that read it, 2 times, alone in its task"
    assert caught.value.message == f"/57: {words}: {_MEMORY}"
    plain = pq.read_table(place / "numbers.parquet").drop_columns(["uri"])
    pq.write_table(plain, place / "numbers.parquet", row_group_size=GROUP)
    with pytest.raises(PlatformError) as caught:
        run(place, Deadly((57,)))
    where = f"row 9 of row group 2 of {place / 'numbers.parquet'}"
    assert caught.value.message == f"{where}: {words}: {_MEMORY}"


def test_the_columns_that_the_work_asks_for_are_rejected(place: Path) -> None:
    parts = run(place, RejectingDeadly((57,), columns=("number",)))
    rejects = [pq.read_table(part.path) for part in parts if part.table == "rejects"]
    assert [table.column_names for table in rejects] == [["number", "detail"]]


def test_a_chunk_of_one_row_whose_worker_ended_once_is_done(tmp_path: Path) -> None:
    table = pa.table({"number": pa.array(range(3), pa.int64())})
    pq.write_table(table, tmp_path / "numbers.parquet", row_group_size=1)
    parts = run(tmp_path, RejectingDeadly((1,), tries=1))
    assert column(parts, "doubled", "double") == [0, 2, 4]


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_a_worker_that_ends_for_another_reason_costs_no_image(place: Path, tries: int) -> None:
    """As often as the chunk, a piece of it and the image once: only the image twice counts."""
    parts = run(place, RejectingDeadly((57,), tries=tries))
    assert sorted(column(parts, "doubled", "double")) == [2 * n for n in range(COUNT)]
    assert not column(parts, "rejects", "number")


def test_too_many_in_a_row_are_the_machine_s_fault(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ENDED_IN_A_ROW_MAX", 1)
    with pytest.raises(PlatformError) as caught:
        run(place, RejectingDeadly((56, 57)))
    assert caught.value.message == (
        "/57: ended the worker that read it, 2 times, alone in its task (image 2 in a row): "
        f"{_MEMORY}"
    )


def test_images_apart_are_not_in_a_row(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ENDED_IN_A_ROW_MAX", 1)
    parts = run(place, RejectingDeadly((50, 60)))
    assert column(parts, "rejects", "number") == [50, 60]


def test_more_ends_than_the_limit_end_the_run(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A chunk, its piece, and the image twice: four jobs.
    monkeypatch.setattr(limits, "FAILED_JOBS_MAX", 4)
    assert column(run(place, RejectingDeadly((57,))), "rejects", "number") == [57]
    monkeypatch.setattr(limits, "FAILED_JOBS_MAX", 3)
    for path in (place / "parts").iterdir():
        path.unlink()
    with pytest.raises(PlatformError) as caught:
        run(place, RejectingDeadly((57,)))
    assert caught.value.message == (
        f"4 jobs failed because their workers ended, over the limit of 3: {_MEMORY}"
    )


def test_a_machine_that_reads_nothing_is_named_and_no_image_rejected(place: Path) -> None:
    with pytest.raises(SourceUnavailableError, match=r"^cannot double 48$"):
        run(place, RejectingDeadly((57,), SourceUnavailableError))
