"""Work handed to an executor chunk by chunk, without carrying pixels through the driver.

A task reads its chunks itself, works on them, and writes its output as Parquet parts named by the
content of their input; only the parts' names and counts travel back. So a task that is retried,
run twice by speculation, or run again after a kill finds its parts there or writes the same bytes
again, and the driver alone decides which parts make a table. Both sides see one work folder: one
that every machine mounts, or one in a store.

The first error ends the job. A chunk that ends its worker is taken apart, down to the one image
that does it (:mod:`.isolation`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pulmospark.chunks.carried import brought, carried
from pulmospark.chunks.executor import Executor
from pulmospark.chunks.isolation import Isolation
from pulmospark.chunks.jobs import Jobs
from pulmospark.chunks.parquet_files import Place
from pulmospark.chunks.parts import Part
from pulmospark.chunks.stored_folder import StoredFolder
from pulmospark.chunks.task import Unit, Work
from pulmospark.chunks.work_folder import DiskFolder, WorkFolder
from pulmospark.chunks.work_list import Chunk
from pulmospark.core.progress import Progress
from pulmospark.store.uri import StoreUri


def run_chunks(
    executor: Executor,
    work: Work,
    chunks: Sequence[Chunk],
    folder: Place,
    progress: Progress,
    *,
    reads: Sequence[str] = (),
    tables: StoreUri | None = None,
    stay: bool = False,
) -> list[Part]:
    """Apply ``work`` to every chunk; parts already in ``folder`` are kept.

    Workers that share only a store with the driver (:class:`.shared_store.SharedStore`) find it
    there, with the files of a :class:`.carried.Carrying` work; the parts are copied back.

    An image that ends its worker, alone in a task, becomes a reject where ``work`` is an
    :class:`.isolation.Rejecting`, and an error that names it elsewhere.

    Args:
        executor: runs the tasks.
        work: what to do with a chunk.
        chunks: what to do it on.
        folder: path or address where the parts are written, by one run at a time; a killed run
            finds them there again, until the caller removes it.
        progress: called with the number of rows done.
        reads: folders, files and addresses that tasks read as well; each worker must see them.
        tables: of workers that share a store, the address below which each table's parts lie in
            a folder of its name, and stay; the caller removes all else; ``None``: in ``folder``.
        stay: parts in a store stay there.

    Returns:
        The parts of all chunks, in the order of the chunks.

    Raises:
        PulmosparkError: what a task raised first, at once.
        PlatformError: the executor gave the job up, or has ended itself.
    """
    if not chunks:
        return []
    shared = executor.seen(folder) if isinstance(folder, Path) else folder
    executor.check(reads=reads, folder=shared)
    if isinstance(shared, StoreUri) and not executor.is_here:
        work, chunks = carried(work, chunks, shared)
    units = [Unit(place, chunk) for place, chunk in enumerate(chunks)]
    with _work_folder(shared, tables) as files:
        jobs = Jobs(
            executor=executor,
            work=work,
            files=files,
            progress=progress,
            wanted=executor.expected(list(filter(os.path.isdir, reads))),
        )
        pieces = _run_all(jobs, units)
        progress.to(sum(chunk.rows for chunk in chunks))
        done = [part for piece in pieces for part in jobs.done[piece.name]]
        parts = [Part(table, files.part(file, table), rows) for table, file, rows in done]
    if isinstance(files, StoredFolder) and isinstance(folder, Path) and not (tables or stay):
        return brought(parts, folder, files.tag)
    return parts


def _run_all(jobs: Jobs, units: Sequence[Unit]) -> list[Unit]:
    """Run units to their end; returns them with the pieces of those that were taken apart."""
    isolation = Isolation(jobs)
    todo = units
    while todo and (suspects := jobs.run_shares(todo, jobs.executor.shares(len(todo)))):
        isolation.take_apart(suspects)
        apart = isolation.pieces
        todo = [u for u in units if u.name not in jobs.done and u.place not in apart]
    return [piece for unit in units for piece in isolation.pieces.get(unit.place, [unit])]


def finished_parts(folder: Place, tables: StoreUri | None = None) -> Iterator[list[Part]]:
    """The parts of each chunk that an unfinished run has done; arguments of :func:`run_chunks`.

    Raises:
        SourceUnavailableError: the store fails.
    """
    if isinstance(folder, StoreUri):
        records = StoredFolder.records(folder)
        files: WorkFolder = StoredFolder(folder, tables or folder / "parts", folder, "")
    else:
        records = DiskFolder.records(folder)
        files = DiskFolder(str(folder), "")
    for record in records:
        parts = json.loads(record)
        yield [Part(table, files.part(file, table), rows) for table, file, rows in parts]


@contextlib.contextmanager
def _work_folder(folder: Place, tables: StoreUri | None) -> Iterator[WorkFolder]:
    """The work folder of a run; its plan and logs go at the end, unless all of it does soon."""
    files: WorkFolder
    if isinstance(folder, StoreUri):
        files = StoredFolder.begun(folder, tables)
    else:
        files = DiskFolder.begun(folder)
    try:
        yield files
    finally:
        if tables is None:
            files.end()
