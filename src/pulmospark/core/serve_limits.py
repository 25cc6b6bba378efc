"""Limits of ``pulmospark serve``, each with its unit and the reason for its value."""

from __future__ import annotations

SERVE_BODY_BYTES_MAX = 512 * 1024 * 1024
"""bytes of a request's body, as large as the largest image file: a zip of a CT study of 1,000
slices has 150 to 300 MB."""

SERVE_BODIES_BYTES_MAX = 4 * 1024 * 1024 * 1024
"""bytes of all bodies that are being received or scored; what is over is refused with 503. Beyond
a megabyte a file lies in a temporary file, not in memory."""

SERVE_JSON_BYTES_MAX = 64 * 1024
"""bytes of a body of JSON, except tensors."""

SERVE_TENSOR_BYTES_MAX = 64 * 1024 * 1024
"""bytes of a tensor request's body: 128 images of 224 x 224 as JSON numbers take 25 MB."""

SERVE_FILES_MAX = 2_000
"""files of a request, those in its zip archives included: a chest CT has below 1,000 slices."""

SERVE_FIELDS_MAX = 20
"""fields of a multipart form that are no files."""

SERVE_UNPACKED_BYTES_MAX = 2 * 1024 * 1024 * 1024
"""bytes that a request's zip archives may unpack to; one entry is unpacked at a time."""

SERVE_HEADER_SECONDS_MAX = 10.0
"""seconds in which a connection must have sent the headers of a request, and in which the next
request of an open connection must begin."""

SERVE_HEAD_BYTES_MAX = 64 * 1024
"""bytes of a request's line and headers; browsers send below 8 kB."""

SERVE_FRAMING_MAX = 8
"""bytes of chunks' framing for each byte of a body, beyond ``SERVE_HEAD_BYTES_MAX``: a chunk of a
single byte takes five more."""

SERVE_BODY_SILENCE_SECONDS_MAX = 10.0
"""seconds without a byte after which the wait for a body's rest ends."""

SERVE_BODY_GRACE_SECONDS = 20.0
"""seconds of a body, after which it must have come at ``SERVE_BODY_RATE_MIN``."""

SERVE_BODY_RATE_MIN = 16 * 1024
"""bytes per second of a body on average: an image of 120 kB takes 8 s, over any line in use less;
a slower client holds a connection for its own sake."""

SERVE_SEND_SECONDS_MAX = 30.0
"""seconds for which a client may take nothing of its answer before the connection is closed."""

SERVE_CONNECTIONS_MAX = 512
"""connections at once; further ones are answered 503. Each takes some 50 kB and a file
descriptor, of which a process has 1,024 by default."""

SERVE_REQUESTS_MAX = 128
"""requests with a complete body that are scored or wait for it; further ones are answered 503 with
Retry-After. At 100 images/s the last one waits about a second."""

SERVE_QUEUE_BYTES_MAX = 256 * 1024 * 1024
"""bytes of files in memory that wait to be decoded, unless one alone has more; further ones stay
in their temporary files."""

SERVE_QUEUE_IMAGES = 8
"""images that a worker decodes before it runs the network: enough to share the cost of a run, few
enough that the first of them does not wait long for the last."""

SERVE_STOP_SECONDS_MAX = 30
"""seconds that requests in progress have to end when the service is stopped."""

SERVE_WORKERS_MAX = 256
"""threads that decode and score."""

SERVE_STORED_BYTES = 10 * 1024 * 1024 * 1024
"""bytes of stored images by default: 80,000 radiographs as JPEG."""

SERVE_RESULTS_KEPT = 100_000
"""results of the worklist by default; each takes about 2 kB."""

SERVE_PAGE_RESULTS_MAX = 500
"""results of one page of the worklist."""

SERVE_STUDY_RESULTS_MAX = 5_000
"""images of a study that are listed: two series of the longest CT."""

SERVE_JOBS_WAITING_MAX = 100
"""batch jobs that wait."""

SERVE_JOB_RESTARTS_MAX = 5
"""times in a row that a batch job's process may end without a further image before it fails."""

SERVE_AUDIT_BYTES_MAX = 64 * 1024 * 1024
"""bytes of an audit log, some 250,000 requests; then a new one is begun."""

SERVE_AUDIT_FILES_MAX = 100
"""audit logs that are kept, those begun last."""

SERVE_TOKEN_CHARS_MIN = 32
"""characters of a token: 128 bits as hexadecimal digits; a shorter one can be guessed."""

SERVE_NAME_CHARS_MAX = 200
"""characters of a file's name that are kept for display."""

SERVE_KEY_CHARS_MAX = 200
"""characters of an ``Idempotency-Key``."""

SERVE_VIEW_PIXELS_MAX = 25_000_000
"""pixels of an image that is shown; a larger one is scaled down by a whole number."""

SERVE_VIEWS_MAX = 2
"""images that are decoded for viewing at once: each takes up to 300 MB, and others may wait."""

SERVE_JOB_CHUNK_FILES = 64
"""files of a batch job's chunk: what is scored again after a kill, a second's work."""

SERVE_HEAT_MAP_SIDE = 256
"""pixels of the longer side of a heat map that the service gives: the grid of a network has
7 x 7 to 32 x 32 fields, and a browser interpolates as well."""
