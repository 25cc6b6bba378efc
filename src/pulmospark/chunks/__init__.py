"""Work on chunks of rows: one surface, run on Spark or by processes on this machine.

Imports ``core`` and ``config``, and neither Spark nor torch.
``spark`` and all packages above it may import it.
"""

from __future__ import annotations

from pulmospark.chunks.compaction import regrouped, rows_where, write_rows
from pulmospark.chunks.executor import Executor, Workers
from pulmospark.chunks.parts import (
    Part,
    link_parts,
    part_bytes,
    parts_of,
    publish_table,
    read_part,
    write_empty,
    write_part,
)
from pulmospark.chunks.run import finished_parts, run_chunks
from pulmospark.chunks.task import Work, error_from, error_row, settle_worker
from pulmospark.chunks.work_list import Chunk, chunks_of, evened, listed_chunks, read_chunk

__all__ = [
    "Chunk",
    "Executor",
    "Part",
    "Work",
    "Workers",
    "chunks_of",
    "error_from",
    "error_row",
    "evened",
    "finished_parts",
    "link_parts",
    "listed_chunks",
    "part_bytes",
    "parts_of",
    "publish_table",
    "read_chunk",
    "read_part",
    "regrouped",
    "rows_where",
    "run_chunks",
    "settle_worker",
    "write_empty",
    "write_part",
    "write_rows",
]
