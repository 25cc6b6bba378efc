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

REPORT_FILMS_MAX = 12
"""films the report shows that the model got right, and as many that it got wrong."""

REPORT_THUMBNAIL_SIDE = 224
"""pixels: the longer side of a film in the report."""

REPORT_THUMBNAIL_BYTES_MAX = 64 * 1024
"""bytes of one film in the report; grey 224 x 224 fits even uncompressed, and 24 films stay
below 2.2 MB as base64."""

REPORT_ROWS_MAX = 40
"""rows of a list in the report; the rest stands in one last row with its sum."""

REPORT_EXAMPLES_MAX = 5
"""file names that the report shows as examples of one kind."""

REPORT_CURVES_MAX = 8
"""classes (those with most films) or folds drawn in one figure: as many as the colour-blind
safe palette has."""

REPORT_LABEL_CHARS = 22
"""characters of a class name in a figure; the tables have the whole name."""

SMALL_CLASS_FILMS = 30
"""tested films of a class below which the report says that its figures are coarse: one film
moves the sensitivity by more than 3 points."""

NEAR_SOURCE_RULE = 0.05
"""accuracy: a model less than this above the rule that only knows the source is called near
it, even where the intervals part."""

TELLING_SOURCES = 0.10
"""accuracy that knowing the source adds to the most frequent class, above which the report
says that the sources give the classes away."""
