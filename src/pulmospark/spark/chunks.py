"""Work handed to the executors chunk by chunk, without carrying pixels through the JVM.

A Spark task reads its chunks itself, works on them, and writes its output as Parquet parts named
by the content of their input; only the parts' names and counts travel back. So a task that is
retried, run twice by speculation, or run again after a kill finds its parts there or writes the
same bytes again, and the driver alone decides which parts make a table. Both sides must see the
same file system.

The first error ends the job. A chunk that ends its worker is taken apart, down to the one image
that does it (:mod:`.isolation`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pulmospark.core import limits
from pulmospark.core.files import disk_errors
from pulmospark.core.progress import Progress
from pulmospark.spark.chunk_job import Jobs
from pulmospark.spark.chunk_task import (
    Unit,
    Work,
    error_from,
    error_row,
    settle_worker,
)
from pulmospark.spark.failures import job_errors
from pulmospark.spark.isolation import Isolation
from pulmospark.spark.parts import (
    Part,
    link_parts,
    parts_of,
    publish_table,
    write_empty,
    write_part,
)
from pulmospark.spark.preflight import on_this_machine, preflight, seen_here
from pulmospark.spark.work_list import Chunk, chunks_of, evened, listed_chunks, read_chunk
from pulmospark.spark.worker_check import expected

if TYPE_CHECKING:  # half a second, which what only reads parts is spared
    from pyspark.resource import ResourceProfile
    from pyspark.sql import SparkSession

__all__ = [
    "Chunk",
    "Part",
    "Work",
    "chunks_of",
    "error_from",
    "error_row",
    "evened",
    "link_parts",
    "listed_chunks",
    "parts_of",
    "publish_table",
    "read_chunk",
    "run_chunks",
    "settle_worker",
    "shares_of",
    "write_empty",
    "write_part",
]

_SHARES_A_SLOT = 4
_RUN = ".run-"


def run_chunks(
    spark: SparkSession,
    work: Work,
    chunks: Sequence[Chunk],
    folder: Path,
    progress: Progress,
    *,
    profile: ResourceProfile | None = None,
    reads: Sequence[str] = (),
) -> list[Part]:
    """Apply ``work`` to every chunk on the executors; parts already in ``folder`` are kept.

    An image that ends its worker, alone in a task, becomes a reject where ``work`` is an
    :class:`.isolation.Rejecting`, and an error that names it elsewhere.

    Args:
        spark: the session.
        work: what to do with a chunk.
        chunks: what to do it on.
        folder: where the parts are written, by one run at a time; a killed run finds them there
            again.
        progress: called with the number of rows done.
        profile: resources of a task, such as GPUs; ``None``: those of the session.
        reads: folders and files that the tasks read in addition to the chunks; each executor must
            see them.

    Returns:
        The parts of all chunks, in the order of the chunks.

    Raises:
        PulmosparkError: what a task raised first, at once.
        EnvironmentProblem: Spark gave the job up, or has ended itself.
    """
    if not chunks:
        return []
    # Inside: it needs pyspark, which a session brings along.
    from pulmospark.spark.session import slots  # noqa: PLC0415

    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    preflight(spark, reads=reads, folder=folder)
    with job_errors():
        at_once = slots(spark)
        local = on_this_machine(spark)
    units = [Unit(place, chunk) for place, chunk in enumerate(chunks)]
    with _run_folder(folder) as run:
        jobs = Jobs(
            spark=spark,
            work=work,
            folder=folder,
            run=run,
            progress=progress,
            profile=profile,
            wanted=None if local else expected(seen_here(filter(os.path.isdir, reads))),
        )
        isolation = Isolation(jobs)
        todo = units
        while todo and (suspects := jobs.run_shares(todo, shares_of(len(todo), at_once))):
            isolation.take_apart(suspects)
            apart = isolation.pieces
            todo = [u for u in units if u.name not in jobs.done and u.place not in apart]
        progress.to(sum(chunk.rows for chunk in chunks))
        return [
            Part(table, folder / file, rows)
            for unit in units
            for piece in isolation.pieces.get(unit.place, [unit])
            for table, file, rows in jobs.done[piece.name]
        ]


@contextlib.contextmanager
def _run_folder(folder: Path) -> Iterator[Path]:
    """A folder for the plan and the workers' logs; removes those of killed runs, too."""
    with disk_errors(folder):
        for old in folder.glob(f"{_RUN}*"):
            shutil.rmtree(old, ignore_errors=True)
        run = folder / f"{_RUN}{uuid.uuid4().hex}"
        run.mkdir()
    try:
        yield run
    finally:
        shutil.rmtree(run, ignore_errors=True)


def shares_of(count: int, at_once: int) -> tuple[tuple[int, int], ...]:
    """Number of chunks of each task: many at first, one at the end.

    A task costs 10 to 40 ms, whatever it does; but the last ones must be small, or one slot
    works on while the others wait. So each takes a share of what is left ("guided
    self-scheduling", Polychronopoulos and Kuck 1987), at most ``limits.TASK_CHUNKS_MAX``.

    Args:
        count: chunks.
        at_once: tasks that run at the same time.

    Returns:
        First chunk and number of chunks of each task.
    """
    shares = []
    start = 0
    while start < count:
        size = (count - start) // (_SHARES_A_SLOT * at_once)
        size = max(1, min(size, limits.TASK_CHUNKS_MAX))
        shares.append((start, size))
        start += size
    return tuple(shares)
