"""Limits of streams in stores, each with its unit and the reason for its value."""

from __future__ import annotations

STORE_PAUSE_S = 1.0
"""seconds before a stream repeats what a store refused, at first; obstore has repeated each
request ``limits.STORE_RETRIES`` times by then."""

STORE_PAUSE_S_MAX = 20.0
"""seconds of the longest such pause."""

STORE_PATIENCE_S = 300.0
"""seconds for which a stream waits for a store that fails or throttles, before it ends with an
error: a store's disturbances last minutes, and a service manager restarts the stream."""

STREAM_UPKEEP_BATCHES = 100
"""batches after which a stream's tables get a checkpoint and, where readers use the log, larger
files: readers then open hundreds of objects at most, whatever the age of the stream."""

STREAM_COMPACT_BYTES = 8 * 1024 * 1024
"""bytes of a file made of a stream's small ones; those at least as large are never rewritten, so
each row is at most some eight times."""

STREAM_BACKSTOP_S = 3_600.0
"""seconds between two listings of an inbox whose store sends notifications: for those that were
lost."""

STREAM_MESSAGES_MAX = 1_000
"""messages of a queue that are held and not yet settled; the rest waits in the queue."""

STREAM_MESSAGE_BYTES_MAX = 256 * 1024
"""bytes of a message, the most that SQS delivers."""

STREAM_MESSAGE_HIDDEN_S = 600
"""seconds for which a message that was received is hidden from other receivers; one whose image is
not committed by then arrives again, and is recognised."""
