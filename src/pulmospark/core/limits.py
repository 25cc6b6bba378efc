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

PHANTOM_PATIENTS_MIN, PHANTOM_PATIENTS_MAX = 9, 100_000
"""made-up patients that are drawn at once: three a hospital at least, 6 GB at most."""

PHANTOM_FILMS_EACH_MAX = 16
"""frontal films of one made-up patient."""
