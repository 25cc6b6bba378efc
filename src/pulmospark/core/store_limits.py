"""Limits of work folders in stores, with their units and reasons; see :mod:`.limits`."""

from __future__ import annotations

LOG_BYTES_MAX = 16 * 1024
"""bytes of a worker's log object, which is written anew with each line; then it begins another.
That is some 100 chunks, and costs a few per cent of what they read."""

LOG_LOOK_S = 1.0
"""seconds between two looks of the driver at the workers' logs: a listing, and what has grown."""

SENT_UNITS_MAX = 64
"""chunks whose plan is sent with the task, some 13 kB; that of more is an object, which the driver
writes and each worker reads, one after the other."""

PROBE_TRIES = 2
"""before a store counts as one that ignores conditions."""

PROBE_LEFT_S = 3_600
"""seconds after which the object of that check was left by a killed process, and is deleted: the
check makes three requests in turn, of at most ``STORE_SECONDS_MAX`` each."""

LIST_ROWS_MAX = 16 * 16_384
"""files of one list of a long listing, in row groups of ``LIST_GROUP_ROWS``: some 1,000 chunks, of
whose footer a worker holds 1 MB."""

LIST_PAGE_ROWS = 1_000
"""objects of one page of a listing: S3's and Google Cloud's own limit, and a page of Azure's."""

LIST_REQUESTS = 8
"""requests of a listing that are under way: at 20 ms to the first byte they bring 200,000 objects
a second, more than the driver takes, and the more there are, the more of their pages overlap."""

LIST_PAGES_AHEAD = 128
"""pages of a listing that wait until those before them are used: 128,000 objects, some 50 MB."""

LIST_MISSES_MAX = 6
"""guesses at one position of the keys that brought no page of their own, less two for each that
did, after which a listing is not divided there any more: each costs a request."""

WHOLE_BYTES_MAX = 1024 * 1024
"""bytes of an object that is read at once where a reader asks for parts of it: at 20 ms to the
first byte, two requests take longer."""

FOOTERS_KEPT = 1_024
"""Parquet files in stores of which a training process keeps the footer, those read last: some
10 kB each."""

DELETED_AT_ONCE = 1_000
"""objects that are deleted with one request: S3's own limit."""

LEASE_S = 45.0
"""seconds without a sign of life after which the writer of a run folder, or a prediction, in a
store counts as killed, and another takes over: four signs may fail, so that a pause of the store
or of a busy machine ends no work. One of the same machine that is gone is known at once."""

LEASE_BEAT_S = 10.0
"""seconds between two signs of life: 360 requests an hour."""

LEASE_BYTES_MAX = 16 * 1024
"""bytes of the object that says who works in a folder: it has some 200."""

ENGINE_FILES_MAX = 16
"""files of a network's folder that a worker copies from the work folder: it has two or three."""

ENGINE_BYTES_MAX = 2 * 1024 * 1024 * 1024
"""bytes of the same: those of VGG19, the largest network, are 560 MB."""

CARRIED_BYTES_MAX = 16 * 1024 * 1024 * 1024
"""bytes of a file that a worker copies to its disk: thumbnails of 1.3 million images, which the
search for near copies overlays."""
