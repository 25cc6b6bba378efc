"""Limits of published tables, each with its unit and the reason for its value."""

from __future__ import annotations

APPEND_TRIES = 64
"""attempts at one commit while other writers commit; each that is lost was won by another."""

APPEND_PAUSE_S_MAX = 0.2
"""seconds of a pause between two attempts, at random, so that writers do not keep in step."""

COMPACT_PARTS_MIN = 256
"""parts of a table from which small ones are merged when it is published; fewer are linked, which
takes no time. At some 250 images a part that is a table of 60,000 images."""

COMPACT_ROWS = 100_000
"""rows that a merged file of a table without pixels has at least."""

COMPACT_GROUP_ROWS = 16_384
"""rows of its row groups: predictions with logits take some 10 MB while one is written."""

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
