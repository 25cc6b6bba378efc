"""Limits of published tables, each with its unit and the reason for its value."""

from __future__ import annotations

APPEND_TRIES = 64
"""attempts at one commit while other writers commit; each that is lost was won by another. Of 16
writers at once on a disk the slowest needed 8, of 4 in a store 5 (`python -m benchmarks
table_limits`)."""

APPEND_PAUSE_S_MAX = 0.2
"""seconds of a pause between two attempts, at random, so that writers do not keep in step."""

COMPACT_PARTS_MIN = 256
"""parts of a table from which small ones are merged when it is published; fewer are linked, which
takes no time. At some 250 images a part that is a table of 60,000 images. Its files take 0.2 s to
read on a disk, one file 0.03 s (`python -m benchmarks table_limits`)."""

STORED_PARTS_MIN = 16
"""the same of a table in a store, some 4,000 images. At 20 ms to the first byte deltalake reads
one file in 0.17 s, 16 in 0.30 s, 64 in 0.81 s, and 256 in 2.9 s (`python -m benchmarks
table_limits`)."""

COMPACT_ROWS = 100_000
"""rows that a merged file of a table without pixels has at least."""

COMPACT_GROUP_ROWS = 4_096
"""rows of its row groups, of which memory holds a few while one is written: merging 500 parts of
wide rows kept 25 MB, and 75 with 16,384."""

COMPACT_BYTES = 128 * 1024 * 1024
"""bytes that a merged file of a table with pixels has at least; at most, with the remainder of the
table, about twice as many, below the 512 MB from which a task on one file takes long."""

SOURCE_TASK_BYTES = 64 * 1024 * 1024
"""bytes of the files that one task of Spark's format `pulmospark` reads, unless one alone has
more: a task costs some 10 ms, and small files share one."""

SOURCE_BATCH_ROWS = 1_024
"""rows of its Arrow batches: 50 MB of images of 224 x 224 pixels."""

SINK_PART_BYTES = 64 * 1024 * 1024
"""bytes of rows after which a task of Spark's format `pulmospark` begins another file: it holds
one in memory."""
