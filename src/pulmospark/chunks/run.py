"""Work handed to an executor chunk by chunk, without carrying pixels through the driver.

A task reads its chunks itself, works on them, and writes its output as Parquet parts named by the
content of their input; only the parts' names and counts travel back. So a task that is retried,
run twice by speculation, or run again after a kill finds its parts there or writes the same bytes
again, and the driver alone decides which parts make a table. Both sides must see the same file
system.

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

from pulmospark.chunks.executor import Executor
from pulmospark.chunks.isolation import Isolation
from pulmospark.chunks.jobs import Jobs
from pulmospark.chunks.parts import Part
from pulmospark.chunks.task import Unit, Work
from pulmospark.chunks.work_list import Chunk
from pulmospark.core.files import disk_errors
from pulmospark.core.progress import Progress

_RUN = ".run-"


def run_chunks(
    executor: Executor,
    work: Work,
    chunks: Sequence[Chunk],
    folder: Path,
    progress: Progress,
    *,
    reads: Sequence[str] = (),
) -> list[Part]:
    """Apply ``work`` to every chunk; parts already in ``folder`` are kept.

    An image that ends its worker, alone in a task, becomes a reject where ``work`` is an
    :class:`.isolation.Rejecting`, and an error that names it elsewhere.

    Args:
        executor: runs the tasks.
        work: what to do with a chunk.
        chunks: what to do it on.
        folder: where the parts are written, by one run at a time; a killed run finds them there
            again.
        progress: called with the number of rows done.
        reads: folders and files that the tasks read in addition to the chunks; each worker must
            see them.

    Returns:
        The parts of all chunks, in the order of the chunks.

    Raises:
        PulmosparkError: what a task raised first, at once.
        PlatformError: the executor gave the job up, or has ended itself.
    """
    if not chunks:
        return []
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    executor.check(reads=reads, folder=folder)
    units = [Unit(place, chunk) for place, chunk in enumerate(chunks)]
    with _run_folder(folder) as run:
        jobs = Jobs(
            executor=executor,
            work=work,
            folder=folder,
            run=run,
            progress=progress,
            wanted=executor.expected(list(filter(os.path.isdir, reads))),
        )
        isolation = Isolation(jobs)
        todo = units
        while todo and (suspects := jobs.run_shares(todo, executor.shares(len(todo)))):
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
