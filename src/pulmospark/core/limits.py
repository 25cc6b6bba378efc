"""Every limit, with its unit and the reason for its value."""

from __future__ import annotations

FILE_BYTES_MAX = 512 * 1024 * 1024
"""bytes: a larger file is rejected unread; the largest public images are below 60 MB."""

READ_TRIES = 3
"""attempts to read a file if the machine fails: a network disk that moves to another server
responds again within a second."""

READ_PAUSE_S = 0.1
"""seconds after the first failure; four times as long after each further one."""

IMAGE_PIXELS_MAX = 100_000_000
"""pixels, height x width as the header declares them: 10,000 x 10,000, four times the
largest detector in use; more is a decompression bomb or a whole-slide image."""

DECODED_BYTES_MAX = 880 * 1024 * 1024
"""bytes that decoding one image may hold at once, its file included: a worker, which takes 130
MiB before it reads anything, then stays within 1 GiB. 100 megapixels of 8 bytes each are over."""

DECODE_SECONDS_MAX = 4.0
"""seconds of a core (not of the clock, which says more of the machine than of the image) that
decoding one image may take; a radiograph of 20 megapixels takes 0.1 to 0.5."""

JPEG_SCAN_PIXELS_MAX = 2_000_000_000
"""pixels times scans of a progressive JPEG: 200 megapixels at the ten scans that are usual. Each
scan visits all pixels, empty or not, at some 500 million a second."""

PNG_CHUNKS_MAX = 200_000
"""chunks of a PNG file; 512 MiB in the usual 8 KiB have 65,536."""

TIFF_FIELDS_MAX = 1_000
"""fields of a TIFF directory; an image's has below 100."""

TIFF_STRIPS_MAX = 200_000
"""strips or tiles of a TIFF file; 10,000 rows in strips of one, in three planes, are 30,000."""

EXIF_BYTES_MAX = 64 * 1024
"""bytes of an EXIF block, as one JPEG segment holds, above which an image is decoded apart: the
block's fields may share their values, each of which is copied."""

INLINE_PIXELS_MAX = 32_000_000
"""pixels of an image that is decoded by the worker itself; one of more, or of a kind whose cost
its header does not bound, in a child process that can be ended. The largest detectors have 20."""

INLINE_SCAN_PIXELS_MAX = 320_000_000
"""pixels times scans of a progressive JPEG that the worker itself decodes: below a second."""

INLINE_BYTES_MAX = 64 * 1024 * 1024
"""bytes of a file that the worker itself decodes."""

INLINE_STRIPS_MAX = 5_000
"""strips or tiles of a TIFF file that the worker itself decodes, at 20 microseconds each."""

INLINE_GIF_BYTES_MAX = 1024 * 1024
"""bytes of a GIF that the worker itself decodes: its blocks are looked at one by one."""

INLINE_RLE_PIXELS_MAX = 1_000_000
"""pixels of a run-length encoded BMP that the worker itself decodes, at a microsecond each."""

DECODER_START_SECONDS_MAX = 300
"""seconds that the process which decodes apart may take to start; loading its libraries takes
one, and longer where all cores are busy or a network's disk holds them."""

DECODER_SILENCE_SECONDS_MAX = 120
"""seconds of the clock after which a decoder that was given ``DECODE_SECONDS_MAX`` of a core is
ended although it has not used them: it hangs."""

IMAGE_SIDE_MIN = 16
"""pixels: an image with a shorter side shows nothing and is rejected."""

STANDARD_SIZE_MIN, STANDARD_SIZE_MAX = 16, 1024
"""pixels: the side of the standard image that a table may hold."""

FOLDER_DEPTH_MAX = 32
"""levels below a source's folder that are listed; deeper ones are an error, not a silence."""

SNIFF_BYTES = 132
"""bytes of a file's head that identify its format; DICOM's magic ends at byte 132."""

DICOM_HEAD_BYTES = 64 * 1024
"""bytes of a DICOM file in which recognising a layout looks for a patient; the header has only a
few kilobytes before it."""

JPEG_SCANS_MAX = 500
"""scans of a progressive JPEG; each costs a pass over all pixels, so that a small file could
hold a worker for hours. The number is that of libjpeg-turbo's own tools; images have below 20."""

DICOM_FRAMES_MAX = 2_000
"""frames of one DICOM file: a chest CT at the thinnest slices in use has below 1,000. Each is a
row of the images table, held in memory until its chunk is written."""

DICOM_PIXELS_MAX = 1_000_000_000
"""pixels of all frames of one DICOM file: 2,000 slices of 512 x 512 twice over; a worker would
decode more for minutes."""

DICOM_ELEMENTS_MAX = 200_000
"""elements and items of a DICOM header that are walked through; a chest CT of 1,000 slices in one
file has some 60,000, and 200,000 take half a second."""

DICOM_DEPTH_MAX = 16
"""sequences of a DICOM header within each other; the standard's deepest have below ten."""

DICOM_VALUE_BYTES_MAX = 1024 * 1024
"""bytes of one value of a DICOM header that is read; the longest, a lookup table of 65,536
entries, has 131,072."""

DICOM_INFLATED_HEADER_BYTES_MAX = 64 * 1024 * 1024
"""bytes of a deflated DICOM file's header, of which a copy is parsed; headers have kilobytes."""

DICOM_META_ELEMENTS_MAX = 1_000
"""elements of a DICOM file's meta group, of which the standard has below twenty."""

DICOM_FRAGMENTS_MAX = 200_000
"""pieces that a DICOM file's compressed pixels come in: 512 MiB in pieces of 4 KiB are below."""

DICOM_FRAMES_BYTES_MAX = 512 * 1024 * 1024
"""bytes of the standard images of one DICOM file of several frames, which are held until its rows
are written: 10,700 at 224 x 224, 512 at 1024 x 1024."""

PALETTE_ENTRIES_MAX = 65_536
"""entries of a colour table, as many as 16 bits can choose from; a segmented one could unfold
without end."""

JPEG2000_TILES_MAX = 4_096
"""tiles of a JPEG 2000 frame; each costs memory and time of its own, images have one or few."""

PSEUDONYM_AGE_MAX = 90
"""years: a higher age from a DICOM header is stored as this one, because so few people reach it
that it could identify them (45 CFR 164.514(b)(2)(i)(C) names 90)."""

SALT_BYTES_MIN = 16
"""bytes of the secret that identifiers are hashed with; a shorter one could be guessed."""

METADATA_FILE_BYTES_MAX = 1024 * 1024 * 1024
"""bytes: a larger metadata sheet (CSV) is rejected."""

DETAIL_CHARS_MAX = 200
"""characters of a reject's detail; library messages can be long."""

BUNDLE_READ_TRIES = 100
"""readings of a bundle that is replaced each time while it is read; a reading takes some
milliseconds, and writing a bundle longer."""

MESSAGE_CHARS_MAX = 2_000
"""characters of an error's or a warning's line: some 25 lines of a terminal."""

NAME_CHARS_MAX = 1_000
"""characters of a class's name; findings of real sheets are sentences at most."""

CHUNK_FILES_MAX = 256
"""files of a chunk: long enough to hide the 10 ms a Spark task costs, short enough that the
last one does not keep the others waiting."""

CHUNK_BYTES_MAX = 64 * 1024 * 1024
"""bytes of files of a chunk: bounds a worker's time between two signs of life."""

LIST_GROUP_ROWS = 4_096
"""rows of a row group in lists of files: 1.3 MB in a worker, which keeps one; ten million files
make 2,442 row groups, whose footer takes a worker 40 MB."""

LOCAL_IMAGES_MAX = 100_000
"""images from which a command uses Spark unasked: on two cores processes on this machine took 0.59
and 0.87 of its time for 2,000 and 20,000 (``python -m benchmarks cold --peers``)."""

LOCAL_THREADS_MAX = 4
"""threads of a local worker process: chosen because threads share Python's interpreter lock; other
numbers were not measured."""

TASK_CHUNKS_MAX = 8
"""chunks that a Spark task takes one after the other while there are many: seconds of work."""

ROW_GROUP_ROWS = 256
"""rows of a Parquet row group in tables that hold pixels: 13 MB at 224 x 224."""

EXPAND_PER_CLASS_MAX = 10_000_000
"""rows of a class in an expanded table; at 224 x 224 that many take half a terabyte."""

EXPAND_CHUNK_ROWS = 1024
"""rows of an expanded table that a task makes, fewer where they are over ``CHUNK_BYTES_MAX``:
a row takes a quarter of a millisecond, a Spark task 10 of them."""

CLASSES_MAX = 64
"""classes of an experiment; the evaluation's cost grows with their number."""

FEATURE_MATRIX_BYTES_MAX = 128 * 2**20
"""bytes of deep features up to which logistic regressions are fitted, and regularisation,
temperature and operating point chosen, on the driver: 26,000 images of MobileNetV2, and a copy for
each of four fits. Beyond it a validation part of a tenth is large enough."""

OPERATING_POSITIVES_MIN = 20
"""images of the positive class below which an operating point is reported as coarse: with fewer, a
sensitivity of 95 % means that none was missed, whatever the model."""

NAME_GROUP_SHARE_MAX = 0.2
"""share of a source's images that the rule of the last numbers in file names may make one group;
beyond it the number before them is a date or a class, not a patient."""

STATED_GROUP_SHARE_MAX = 0.5
"""the same where a name says that it is a person's (``patient12``), or a sheet a study's; a column
or folder that more than half of a source share is a constant."""

NAME_GROUP_IMAGES = 5
"""images that such a group may always have, in sources too small for a share."""

EVALUATION_ROWS_MAX = 5_000_000
"""predictions that one evaluation reads into memory (about 100 bytes each)."""

CONFIG_FILE_BYTES_MAX = 16 * 1024 * 1024
"""bytes of a JSON or TOML file that is read whole."""

TRAINING_PROCESSES_MAX = 256
"""processes of one distributed training."""

FEED_BYTES_MAX = 512 * 1024 * 1024
"""bytes of pixels that a training process holds of a part: 10,700 images at
224 x 224. A share below it is kept in memory; a larger one is read anew each epoch, and
shuffled within so many bytes."""

FROZEN_OUTPUTS_BYTES_MAX = 8 * 1024**3
"""bytes on disk of frozen stages' outputs in a training: 28,500 images at 224 x 224 for the first
two stages of MobileNetV2. Beyond it, or if the disk has less free, they are computed in
each epoch."""

FEED_BATCHES_AHEAD = 3
"""batches that are made ready while one is trained on."""

TRAINING_SILENCE_S_MAX = 1800
"""seconds for which a training process may wait for the others before it gives up."""

SHEET_HEAD_BYTES = 64 * 1024
"""bytes in which the first line of a metadata sheet, its columns' names, has to end."""

AGE_YEARS_MAX = 120
"""years: an age above it is a slip of the keyboard (NIH ChestX-ray14 has some over 400)."""

LAYOUT_ENTRIES_MAX = 5000
"""entries of one folder that are looked at to recognise a layout; sheets are looked for among
all, and a listing has no such limit."""

NOTE_EXAMPLES_MAX = 5
"""examples kept of each oddity that a listing notes; all are counted."""

NOTE_EXTENSIONS_MAX = 50
"""different extensions of ignored files counted by name; the others are counted together."""
CURVE_POINTS_MAX = 200
"""points of a ROC or precision-recall curve that are kept: one every 3 pixels of a drawing."""

BOOTSTRAP_BLOCK_BYTES = 64 * 1024 * 1024
"""bytes that a block of bootstrap replicates works in; bounds memory, not the result."""

BOOTSTRAP_UNDEFINED_SHARE_MAX = 0.05
"""share of bootstrap replicates in which a figure may be undefined (a class of three
patients is absent from 5 % of them); above it no CI is given."""

TEMPERATURE_MIN, TEMPERATURE_MAX = 0.05, 10_000.0
"""temperatures between which calibration searches; nearly equal logits would otherwise drive it
towards 0, indistinguishable classes towards infinity."""
REPORT_IMAGES_MAX = 12
"""images that the report shows as classified correctly, and as many wrongly."""

REPORT_THUMBNAIL_SIDE = 224
"""pixels: the longer side of an image in the report."""

REPORT_THUMBNAIL_BYTES_MAX = 64 * 1024
"""bytes of one image in the report; grey 224 x 224 fits even uncompressed, and 24 images stay
below 2.2 MB as base64."""

REPORT_ROWS_MAX = 40
"""rows of a list in the report; the rest is summed in a last row."""

REPORT_EXAMPLES_MAX = 5
"""file names that the report shows as examples of each kind."""

REPORT_CURVES_MAX = 8
"""classes (those with most images) or folds drawn in one figure: as many as the colour-blind
safe palette has."""

REPORT_LABEL_CHARS = 22
"""characters of a class name in a figure; the tables have the whole name."""

SMALL_CLASS_IMAGES = 30
"""tested images of a class below which the report calls its metrics coarse: one image moves the
sensitivity by more than 3 points."""

NEAR_SOURCE_RULE = 0.05
"""accuracy: a model less than this above the source-only baseline is reported as near it, even if
the CIs do not overlap."""

EXTERNAL_FALL_MARGIN = 0.05
"""sensitivity: on an external set a class is called non-inferior if the CI of the difference
excludes any fall larger than this; it would miss one more patient in twenty."""

EXTERNAL_PAIRS_MAX = 5_000
"""pairs of an external image and a training image with similar hashes that are overlaid: some 15 s
of one core and 125 MB; if there are more, the nearest."""

EXCLUDED_FINDINGS_NAMED_MAX = 20
"""unmapped findings that an external validation names with their counts; the rest are summed: a
set with radiologists' free text can have thousands."""

WEIGHTS_FILE_BYTES_MAX = 1024 * 1024 * 1024
"""bytes of a weights file, downloaded or read; VGG19, the largest of the zoo, has 575 MB."""

FETCH_SILENCE_S_MAX = 30
"""seconds without a byte after which downloading weights fails."""

BUNDLE_FORMAT_VERSION = 3
"""newest bundle format that this version reads: with the engine's form of the network."""

BUNDLE_CONFIG_VERSION = 2
"""format of a bundle's configuration that this version writes; the model id depends on it."""

ENGINE_XML_BYTES_MAX = 16 * 1024 * 1024
"""bytes of a bundle's network as OpenVINO describes it; EfficientNet-B7, the largest of
torchvision's descriptions, has 2 MB."""

DISTANCE_FILE_BYTES_MAX = 16 * 1024 * 1024
"""bytes of a bundle's statistics of its training images: 256 kB for each thousand of the features'
width, and no network of the zoo gives over 4,096."""

DISTANCE_IMAGES_MIN = 50
"""training images below which no statistics of their features are kept: a fence at a quantile of
so few says nothing, and directions of few images are nearly those of single ones."""

DISTANCE_IMAGES_MAX = 2_000
"""training images that statistics of features are fitted on: 10 MB on the driver with 1,280
features; more move the fence by less than its own uncertainty."""

DISTANCE_HELD_MIN = 20
"""validation images from which the fence of a network that was trained itself heeds them."""

DISTANCE_ORDERED_MIN = 500
"""training images from which the fence of distances is an order statistic: the fifth largest of
them, and no outlier alone."""

DISTANCE_RANK_MAX = 64
"""principal components kept of deep features; see benchmarks/cautions.py."""

DISTANCE_QUANTILE = 0.99
"""share of the training images that lie within the fence of distances: one caution in a hundred
is a false alarm that people still read."""

ENGINE_BATCH = 2
"""images the engine runs at once; on one thread in float32 batches of 1 and 2 ran 20 to 30 %
faster than 8, since their maps stay in the cache, and 2 was the better over all networks."""

ENGINE_RUNS_MAX = 4
"""threads that run one network in a process at the same time; each costs its weights again, and
others wait."""

ENGINE_BATCH_LOWER = 2
"""images the engine runs at once in a precision below float32."""

SCORING_BATCH = 32
"""images of a task that are handed to the engine together; it runs ``ENGINE_BATCH`` of them at
once, and what the hand-over costs is shared by all."""

SCORING_BATCH_GPU = 64
"""images of a task that are handed to PyTorch together, and that a GPU runs at once."""

SCORING_BATCHES_AHEAD = 2
"""batches of images that a task decodes ahead of the one the network runs on, where the network
leaves it something to decode with."""

FETCH_FILES = 32
"""files that a task reads together, ahead of those it decodes."""

FETCH_BYTES = 16 * 1024 * 1024
"""bytes of them, unless one alone has more."""

EXPLAIN_BATCH = 8
"""images whose heat maps PyTorch computes at once."""

HEAT_MAP_SIDE_MIN = 5
"""rows and columns of a convolution map below which Grad-CAM looks at an earlier one: a field of
4 x 4 covers a sixteenth of the image."""

HEAT_MAP_PICTURE_SIDE_MIN, HEAT_MAP_PICTURE_SIDE_MAX = 384, 768
"""longer side of the image in a heat map's picture, pixels: below it text has no room, and beyond
it a PNG only grows, for a grid of some 7 x 7."""

HEAT_MAP_LUNGS_SHARE_MIN = 0.6
"""share of an image that a standard image must show for lungs to be searched for in it: the finder
expects a whole frontal image."""

ENGINES_KEPT_MAX = 8
"""engines kept in the cache, those used last; MobileNetV2's takes 9 MB, ResNet50's 94."""

PARITY_IMAGES = 128
"""images of those to be scored that a lower precision is checked on: where no decision changes on
so many, with 95 % confidence fewer than 2.3 % do."""

PARITY_IMAGES_MIN = 32
"""images below which a check says too little, and float32 is used."""

INT8_WORTH_IMAGES = 50_000
"""images to be scored from which int8 is tried unasked. Quantising MobileNetV2 took 9.5 s of a
processor, and saved 2 ms an image where the check passed: 4 % of the time if it does not."""

PARITY_TASK_IMAGES = 16
"""images of the sample that a task of the check has at least: two engines take as long to open."""

PRECISION_GAIN_MAX = 0.9
"""time of a lower precision over float32's from which it is not used unasked."""

PARITY_WORTH_IMAGES = 512
"""images to be scored from which a lower precision is tried unasked: the check takes about as
long as it saves on so many."""

PARITY_PROBABILITY_MAX = 0.02
"""maximum change of a probability by a lower precision: two percentage points, which change a
decision only if it was as close to its threshold."""

PARITY_DECISIONS_MAX = 0.01
"""share of the check's images whose most probable class or decision a lower precision may change:
one in 128."""

ENGINE_BATCH_MAX = 256
"""images that the engine may be set to run at once; more only takes memory."""
PHANTOM_PATIENTS_MIN, PHANTOM_PATIENTS_MAX = 9, 100_000
"""synthetic patients drawn at once: at least three per hospital, at most 6 GB."""

PHANTOM_IMAGES_EACH_MAX = 16
"""frontal images of one synthetic patient."""

TELLING_SOURCES = 0.10
"""accuracy that knowing the source adds to the most frequent class, above which the report says
that the classes can be predicted from the source."""

EXPORT_DIFFERENCE_MAX = 1e-3
"""largest difference of a probability between an exported file and its bundle: a tenth of a
percent, the last digit shown. In float32 two programs' sums differ by 1e-6 to 1e-5; a larger
difference means another calculation."""

EXPORT_IMAGES_MAX = 64
"""images an export is checked on: seconds of work, and differences show in the first few."""

EXPORT_PHANTOMS = 12
"""phantoms an export is checked on if no images are given: four of each synthetic hospital."""
SPEED_SECONDS = 2.0
"""duration of a measurement of scoring speed, seconds"""

SPEED_IMAGES = 64
"""images that a network's speed is measured on"""

MLFLOW_SETTING_CHARACTERS_MAX = 6000
"""longest value of a setting that MLflow stores, characters; longer ones are truncated, and
``settings.json`` next to them has them in full"""

COMPARED_MODELS_MAX = 30
"""networks of one comparison; each pair of them is tested"""

GPU_TASKS_MAX = 4
"""tasks that share a GPU; each has a CUDA context and a network of its own, about 1 GB, and
more of them decode faster than the GPU takes images."""
STREAM_BATCH_IMAGES_MAX = 4096
"""images of a stream's micro-batch; their rows, some 300 bytes each, pass through the driver."""
STREAM_EARLY_IMAGES = 8
"""images of an entry that the driver scores itself while Spark starts."""

STREAM_PLANNED_MAX = 2
"""micro-batches of a stream that are listed and not yet committed: one that is scored, and one
that waits, so that Spark need not. What is over stays in the inbox."""
STREAM_SAMPLE_FILES = 4096
"""files of a folder among which the images are chosen that a stream's precision is checked on."""

STREAM_WARM_S = 30.0
"""seconds without an image after which a stream's workers are given something to do; Spark ends
those that had nothing for a minute, and the next image would wait for new ones."""
STREAM_RESTARTS_MAX = 12
"""consecutive restarts of a stream after its Spark job failed, without an image scored in between:
ten find two images among four that end their workers."""
STREAM_TRIES_MAX = 4
"""times that an image alone in a micro-batch may end its worker before it is rejected."""
STREAM_ENDED_MAX = 4
"""consecutive images, none scored in between, rejected because they ended their workers; if the
next one fails, too, the machine is at fault, not an image, and the stream ends."""

DATA_SET_ARCHIVE_BYTES_MAX = 8 * 1024 * 1024 * 1024
"""bytes of a data set's archive that can be downloaded; the largest, ieee8023's, has < 3 GB."""

DATA_SET_FETCH_MINUTES_MAX = 360
"""minutes of one download; the part so far is kept, and the next run resumes."""

ARCHIVE_FILES_MAX = 1_000_000
"""files in an archive; CC-CCII has 617,775 slices in several."""

ARCHIVE_UNPACKED_BYTES_MAX = 64 * 1024 * 1024 * 1024
"""bytes that an archive may unpack to, counted as they are written."""

ARCHIVE_RATIO_MAX = 200
"""bytes unpacked per packed byte, of a file over ``ARCHIVE_RATIO_BYTES``: images hardly shrink,
text some ten times; a factor of a thousand is a bomb."""

ARCHIVE_RATIO_BYTES = 16 * 1024 * 1024
"""bytes unpacked above which ``ARCHIVE_RATIO_MAX`` applies; small sheets may shrink more."""

NEAR_DISTANCE_MAX = 16
"""bits of 64 by which perceptual hashes may differ in a search; beyond it any two chests are
similar."""

AUDIT_EXAMPLES_MAX = 6
"""examples that an audit shows; all are counted."""

AUDIT_EXAMPLE_IMAGES_MAX = 4
"""images of one example that stand side by side."""

NEAR_PAIRS_MAX = 20_000_000
"""pairs of images with similar hashes that are compared: 500 MB of numbers, hours of work."""

BUCKET_HASHES_MAX = 2_000
"""hashes in one bucket of the index above which the next band must match, too; a fuller one would
take for ever, and only means that many images have the same coarse greys."""

AUDIT_MASKS_MAX = 200
"""images that are searched for lungs, to find where the images of a set may have them."""

AUDIT_HEAT_MAPS_MAX = 96
"""images with heat maps; each takes a backward pass through the network."""

AUDIT_IMAGES_MAX = 2_000
"""images that audits of a model score, whole and covered: a minute's work, and CIs of two
points."""

CLASS_ARCHIVES_MAX = 2
"""archives of Spark's classes that the cache keeps, some 200 MB each: for two installations used
in turn"""

CLASS_ARCHIVE_FREE_MIN = 1024**3
"""bytes of free space in the cache below which no archive of Spark's classes is written"""

PREFLIGHT_S_MAX = 10.0
"""seconds in which each executor should have answered before the work starts; one that has not
is checked when it begins its first chunk."""

PREFLIGHT_SETTLE_S = 2.0
"""seconds without a new executor after which a cluster is taken to have started all of them."""

PREFLIGHT_PAUSE_S = 0.05
"""seconds for which a task of the preflight keeps its slot, so that others go elsewhere."""

PREFLIGHT_SAMPLES = 3
"""listed images that each executor opens before the work starts: first, middle and last."""

ISOLATION_PIECES = 16
"""pieces into which a chunk that ended its worker is split: 256 images are down to one in two
steps, each of which costs a worker."""

ENDED_TRIES = 2
"""times that an image alone in its task may end its worker before it is rejected, and a worker may
end in a row before it begins anything: once may be the machine's."""

ENDED_IN_A_ROW_MAX = 16
"""images in a row, no chunk done between, that end their workers; more is the machine's fault."""

FAILED_JOBS_MAX = 1_000
"""Spark jobs of one run that workers' ends may cost: 250 images that end theirs."""

BROWSED_ROWS_MAX = 1_000_000
"""predictions of a run that the run browser reads into memory, some 250 bytes each."""

BROWSED_PAGE_MAX = 200
"""predictions of one page of the run browser; each shows an image."""

NEAREST_IMAGES_MAX = 20_000
"""training images that are searched for the nearest to an image: small copies of 80 MB, made
within seconds; of more, every n-th."""

NEAREST_SHOWN_MAX = 24
"""nearest training images that are shown next to an image."""
STORE_KEY_BYTES_MAX = 1_024
"""bytes of an object's key; the limit of S3, Azure and Google Cloud alike."""

STORE_REQUESTS = 16
"""requests to a bucket that one process has under way; at 20 ms to the first byte, 16 keep one
core busy with 73 kB each, and twice as many read no faster."""

STORE_AHEAD_BYTES = 64 * 1024 * 1024
"""bytes of objects that a task holds before they are used, unless one alone has more."""

STORE_RETRIES = 6
"""retries of a request that the store answered with 5xx, slowed down or cut off; with pauses that
double from 0.1 s, some 6 s."""

STORE_SECONDS_MAX = 180
"""seconds of one request with its retries, after which the store counts as unreachable."""

STORE_FETCHED_MAX = 8
"""bundles from stores that are kept on this machine, those used last."""

STORE_BUNDLE_FILES_MAX = 64
"""files of a bundle in a store: it has about ten."""

STORE_BUNDLE_BYTES_MAX = 2 * 1024 * 1024 * 1024
"""bytes of a bundle in a store: that of VGG19, the largest network, has 560 MB."""

STORE_SILENCE_S_MAX = 30
"""seconds without a byte after which a request is tried again."""
