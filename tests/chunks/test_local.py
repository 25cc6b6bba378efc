"""Chunks in processes on this machine: the same parts and the same faults as on Spark."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pulmospark.chunks import Part, chunks_of, run_chunks
from pulmospark.chunks.local import LocalPool, ThisProcess
from pulmospark.core import errors, limits
from pulmospark.core.errors import PlatformError, SourceUnavailableError, UsageError
from pulmospark.core.progress import Progress
from pulmospark.core.worker_process import start_workers
from spark.works import Doubling, Killing, RejectingKilling

_COUNT, _GROUP = 96, 8
_TESTS = Path(__file__).parents[1]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``numbers.parquet`` with 0 to 95 in twelve row groups, and a folder for notes."""
    monkeypatch.setenv("PYTHONPATH", str(_TESTS))
    numbers = range(_COUNT)
    table = pa.table({"number": pa.array(numbers, pa.int64()), "uri": [f"/{n}" for n in numbers]})
    pq.write_table(table, tmp_path / "numbers.parquet", row_group_size=_GROUP)
    (tmp_path / "notes").mkdir()
    return tmp_path


@pytest.fixture
def pool(place: Path) -> Iterator[LocalPool]:
    del place  # it sets where workers find the tests
    with LocalPool(3) as made:
        yield made


def _run(place: Path, executor: Any, work: Any) -> list[Part]:
    todo = chunks_of([place / "numbers.parquet"])
    return run_chunks(executor, work, todo, place / "parts", Progress("test", 0, quiet=True))


def _column(parts: list[Part], table: str, column: str) -> list[Any]:
    rows = [pq.read_table(part.path)[column].to_pylist() for part in parts if part.table == table]
    return [value for values in rows for value in values]


def _alive(folder: Path) -> list[str]:
    """Processes whose environment or command line names a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"LOCAL_POOL_TEST={folder}".encode() in environment:
                found.append(entry.name)
    return found


def test_parts_are_those_of_this_process(place: Path, pool: LocalPool) -> None:
    parts = _run(place, pool, Doubling(str(place / "notes")))
    assert _column(parts, "even", "double") == [2 * n for n in range(0, _COUNT, 2)]
    calls = len(list((place / "notes").iterdir()))
    assert calls == _COUNT // _GROUP
    assert not list((place / "parts").glob(".run-*"))
    contents = {part.path.name: part.path.read_bytes() for part in parts}
    assert _run(place, pool, Doubling(str(place / "notes"))) == parts
    assert len(list((place / "notes").iterdir())) == calls  # they were there
    for part in (place / "parts").iterdir():
        part.unlink()
    here = _run(place, ThisProcess(), Doubling(str(place / "notes")))
    assert {part.path.name: part.path.read_bytes() for part in here} == contents


def test_images_that_end_their_workers_are_rejected(place: Path, pool: LocalPool) -> None:
    deadly = (0, 1)
    parts = _run(place, pool, RejectingKilling(str(place / "notes"), deadly))
    assert _column(parts, "doubled", "double") == [2 * n for n in range(_COUNT) if n not in deadly]
    assert _column(parts, "rejects", "number") == list(deadly)
    (detail,) = set(_column(parts, "rejects", "detail"))
    assert detail == "ended the worker that read it, 2 times, alone in its task"


def test_an_image_that_cannot_be_rejected_is_named(place: Path, pool: LocalPool) -> None:
    with pytest.raises(PlatformError, match=r"^/57: ended the worker .*memory"):
        _run(place, pool, Killing(str(place / "notes"), (57,)))


@pytest.mark.parametrize("name", ["UsageError", "BundleError", "PlatformError"])
def test_an_error_comes_back_as_itself_and_ends_the_job(
    name: str, place: Path, pool: LocalPool
) -> None:
    kind = getattr(errors, name)
    with pytest.raises(kind, match=r"^cannot double 4$") as caught:
        _run(place, pool, Doubling(str(place / "notes"), fails_at=4, error=name, pause_s=0.3))
    assert type(caught.value) is kind
    assert "works.py" in (caught.value.detail or "")
    assert len(list((place / "notes").iterdir())) < _COUNT // _GROUP
    parts = _run(place, pool, Doubling(str(place / "notes")))  # the pool is sound
    assert len(_column(parts, "even", "double")) == _COUNT // 2


def test_an_unreachable_source_is_no_reject(place: Path, pool: LocalPool) -> None:
    work = RejectingKilling(str(place / "notes"), (57,), error="SourceUnavailableError")
    with pytest.raises(SourceUnavailableError, match=r"^host-7: cannot read 57$"):
        _run(place, pool, work)


def test_a_worker_that_cannot_start_says_why(place: Path) -> None:
    work = Doubling(str(place / "notes"))
    fault = pytest.raises(PlatformError, match="No module named 'no_such_module'")
    with LocalPool(workers=start_workers(1, ("no_such_module",))) as pool, fault:
        _run(place, pool, work)


def test_a_worker_that_is_ended_before_it_begins_costs_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_POOL_TEST", str(place))
    with LocalPool(1) as pool:
        (number,) = _alive(place)
        os.kill(int(number), signal.SIGSTOP)  # it takes the job, and does not begin
        ended = threading.Timer(0.5, os.kill, (int(number), signal.SIGKILL))
        ended.start()
        parts = _run(place, pool, Doubling(str(place / "notes")))
        ended.join()
    assert _column(parts, "even", "double") == [2 * n for n in range(0, _COUNT, 2)]


def test_several_processes_share_the_chunks(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOCAL_THREADS_MAX", 2)
    with LocalPool(3) as pool:
        _run(place, pool, Doubling(str(place / "notes"), pause_s=0.2))
    processes = {note.name.split("-")[1] for note in (place / "notes").iterdir()}
    assert len(processes) == 2


_SCRIPT = """
import sys
from pathlib import Path
from chunks.test_local import _run
from pulmospark.chunks.local import LocalPool
from pulmospark.core.worker_process import start_workers
from spark.works import Doubling
place = Path(sys.argv[1])
with LocalPool(2) as pool:
    _run(place, pool, Doubling(str(place / "notes"), pause_s=0.3))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_driver_and_the_next_run_resumes(
    place: Path, number: signal.Signals
) -> None:
    environment = {**os.environ, "LOCAL_POOL_TEST": str(place), "PYTHONPATH": str(_TESTS)}
    driver = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, str(place)],
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while len(list((place / "parts").glob("*.done"))) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    driver.send_signal(number)
    driver.wait(30)
    until = time.monotonic() + 10
    while _alive(place) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _alive(place)
    done = len(list((place / "parts").glob("*.done")))
    assert 2 <= done < _COUNT // _GROUP
    calls = len(list((place / "notes").iterdir()))
    parts = _run(place, ThisProcess(), Doubling(str(place / "notes")))
    assert _column(parts, "even", "double") == [2 * n for n in range(0, _COUNT, 2)]
    assert len(list((place / "notes").iterdir())) == calls + _COUNT // _GROUP - done


def test_a_lack_of_memory_in_this_process_is_one_line(place: Path) -> None:
    class Greedy(Doubling):
        def __call__(self, _: pa.Table) -> Any:
            raise MemoryError

    with pytest.raises(PlatformError, match="memory"):
        _run(place, ThisProcess(), Greedy(str(place / "notes")))


def test_an_error_in_this_process_comes_back_as_itself(place: Path) -> None:
    with pytest.raises(UsageError, match=r"^cannot double 4$"):
        _run(place, ThisProcess(), Doubling(str(place / "notes"), fails_at=4, error="UsageError"))
