"""Every limit has its name here, with its unit and the reason for its value."""

from __future__ import annotations

FILE_BYTES_MAX = 512 * 1024 * 1024
"""bytes: a larger file is rejected unread; the largest public films are below 60 MB."""

IMAGE_PIXELS_MAX = 100_000_000
"""pixels, height x width as the header declares them: 10,000 x 10,000, four times the
largest detector in use; more is a decompression bomb or a whole-slide image."""

IMAGE_SIDE_MIN = 16
"""pixels: a film with a shorter side shows nothing and is rejected."""

STANDARD_SIZE_MIN, STANDARD_SIZE_MAX = 16, 1024
"""pixels: the side of the standard image that a table may hold."""

FOLDER_DEPTH_MAX = 32
"""levels below a source's folder that are listed; deeper ones are an error, not a silence."""

SNIFF_BYTES = 64
"""bytes of a file's head from which its format is told."""

METADATA_FILE_BYTES_MAX = 1024 * 1024 * 1024
"""bytes: a larger metadata sheet (CSV) is refused."""

DETAIL_CHARS_MAX = 200
"""characters of a reject's detail; library messages can be long."""

CHUNK_FILES_MAX = 256
"""files a task reads: long enough to hide the 10 ms a Spark task costs, short enough
that the last task does not keep the others waiting."""

CHUNK_BYTES_MAX = 64 * 1024 * 1024
"""bytes of files a task reads: bounds a worker's time between two signs of life."""

ROW_GROUP_ROWS = 256
"""rows of a Parquet row group in tables that hold pixels: 13 MB at 224 x 224."""

CLASSES_MAX = 64
"""classes of an experiment; the evaluation's cost grows with their number."""

EVALUATION_ROWS_MAX = 5_000_000
"""predictions that one evaluation reads into memory (about 100 bytes each)."""

CONFIG_FILE_BYTES_MAX = 16 * 1024 * 1024
"""bytes of a JSON or TOML file that is read whole."""

TRAINING_PROCESSES_MAX = 256
"""processes of one distributed training."""

TRAINING_SILENCE_S_MAX = 1800
"""seconds for which a training process may wait for the others before it gives up."""

WEIGHTS_FILE_BYTES_MAX = 1024 * 1024 * 1024
"""bytes of a file of weights, fetched or read; VGG19, the largest of the zoo, has 575 MB."""

FETCH_SILENCE_S_MAX = 30
"""seconds without a byte after which fetching weights gives up."""

BUNDLE_FORMAT_VERSION = 1
"""newest format of a model bundle that this version reads, and the one it writes."""

ENGINE_BATCH = 2
"""films the engine runs at once; on one thread in float32 batches of 1 and 2 ran 20 to 30 %
faster than 8, since their maps stay in the cache, and 2 was the better over all networks."""

ENGINE_BATCH_MAX = 256
"""films the engine may be told to run at once; more only takes memory."""
