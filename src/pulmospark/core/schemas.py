"""The tables of pulmospark: names, types, units and meaning, in one place.

Every table is a folder of Parquet files. Types are Arrow's; Spark reads them as their
counterparts (``binary``, ``string``, ``int``, ``bigint``, ``float``, ``array<float>``).
"""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa


class RejectReason(StrEnum):
    """Why a file is not an image of the table; the list is closed."""

    EMPTY = "empty"
    """zero bytes"""
    NOT_AN_IMAGE = "not_an_image"
    """the content is of no image format, whatever its name"""
    UNSUPPORTED_FORMAT = "unsupported_format"
    """an image format that pulmospark does not read"""
    TRUNCATED = "truncated"
    """the file ends before the image does"""
    UNREADABLE = "unreadable"
    """the decoder, or the operating system, refused it"""
    VANISHED = "vanished"
    """listed, but missing when read, although its folder exists and holds other files"""
    TOO_MANY_BYTES = "too_many_bytes"
    """over ``limits.FILE_BYTES_MAX``"""
    TOO_MANY_PIXELS = "too_many_pixels"
    """over ``limits.IMAGE_PIXELS_MAX`` or ``DECODED_BYTES_MAX`` by its header; not decoded"""
    TOO_SLOW = "too_slow"
    """over ``limits.DECODE_SECONDS_MAX`` of a core, or certain to be, by its header"""
    TOO_SMALL = "too_small"
    """a side under ``limits.IMAGE_SIDE_MIN``"""
    CMYK = "cmyk"
    """printing colours: a scan of a page, not an image"""
    ANIMATED = "animated"
    """several frames where one image was expected"""
    NO_PIXELS = "no_pixels"
    """a DICOM object without an image: a report, a plan, a key object"""
    OTHER_MODALITY = "other_modality"
    """a DICOM image that is neither an X-ray image nor a CT slice"""
    ENDED_ITS_WORKER = "ended_its_worker"
    """alone in a task, it ended the process that read it more than once"""
    OTHER_BODY_PART = "other_body_part"
    """a DICOM image whose header names a part of the body other than the chest"""
    NOT_A_PHANTOM = "not_a_phantom"
    """an image not drawn by pulmospark, for a model that was trained on phantoms"""
    BAD_NAME = "bad_name"
    """the file's name is not valid UTF-8 and cannot be stored in a table"""


class Note(StrEnum):
    """Doubtful header entries and how they were read; the list is closed.

    An image's row has those that apply in ``notes``, joined by ``"; "`` in this order.
    """

    DECIMAL_COMMA = "decimal comma read as a point"
    SYNTAX_GUESSED = "no transfer syntax, guessed from the first bytes"
    ENCODING = "elements encoded otherwise than the transfer syntax says"
    FRAMES_ZERO = "NumberOfFrames 0 read as 1"
    NO_DELIMITER = "compressed pixels without their closing delimiter"
    OFFSET_TABLE = "wrong offset table ignored"
    PHOTOMETRIC_MISSING = "no PhotometricInterpretation, read as MONOCHROME2"
    BITS_MISSING = "no BitsStored, read as BitsAllocated"
    SIGN_MISSING = "no PixelRepresentation, read as unsigned"
    HIGH_BIT = "HighBit contradicts BitsStored, ignored"
    BITS_MASKED = "bits above BitsStored ignored"
    PRECISION = "compressed precision differs from BitsStored"
    SIGN = "compressed sign differs from PixelRepresentation"
    PADDING_UNREADABLE = "unreadable pixel padding ignored"
    RESCALE_INCOMPLETE = "rescale slope or intercept missing"
    SLOPE_ZERO = "RescaleSlope 0 read as 1"
    RESCALE_TYPE = "RescaleType is not HU, read as HU"
    NOT_HOUNSFIELD = "CT without rescale, not in Hounsfield units"
    LUT_BITS = "lookup table holds other bits than it declares, scaled by its maximum"
    LUT_UNREADABLE = "unreadable VOI lookup table ignored"
    WINDOW_UNREADABLE = "unreadable window ignored"
    WINDOW_FUNCTION = "unknown VOILUTFunction read as LINEAR"
    WINDOW_EMPTY = "window shows nothing, scaled between percentiles"
    PRESENTATION_SHAPE = "PresentationLUTShape contradicts PhotometricInterpretation, ignored"
    FOR_PROCESSING = "for processing: the detector's values, not meant to be looked at"
    ORIENTATION_UNREADABLE = "unreadable slice orientation ignored"


class View(StrEnum):
    """View position of an image, or the lack of one."""

    PA = "PA"
    AP = "AP"
    AP_SUPINE = "AP supine"
    FRONTAL = "frontal"
    """frontal, PA or AP unknown"""
    LATERAL = "lateral"
    AXIAL = "axial"
    """a CT slice"""
    UNKNOWN = "unknown"


FRONTAL_VIEWS = frozenset({View.PA, View.AP, View.AP_SUPINE, View.FRONTAL})


class Modality(StrEnum):
    """Imaging modality, as far as chest imaging needs it."""

    XRAY = "X-ray"
    CT = "CT"
    UNKNOWN = "unknown"


class BodyPart(StrEnum):
    """The part of the body that a DICOM header names."""

    CHEST = "chest"
    """the chest, what lies in it, or a region that includes it"""
    OTHER = "other"
    UNRECOGNISED = "unrecognised"
    """a word on no list, which is not repeated"""
    UNKNOWN = "unknown"
    """the header has no entry"""


class Caution(StrEnum):
    """Why a prediction may be unreliable: the image differs from the training images."""

    UNLIKE_TRAINING_IMAGES = "unlike_training_images"
    """its deep features lie beyond the fence of the training images"""
    OTHER_VIEW = "other_view"
    """a view that was not trained on, according to a header or sheet"""
    OTHER_VIEW_GUESSED = "other_view_guessed"
    """a view that was not trained on, as guessed from pixels"""
    OTHER_BODY_PART = "other_body_part"
    """the header names another part of the body than the chest; scored on request"""
    BODY_PART_UNRECOGNISED = "body_part_unrecognised"
    """the header names a part of the body by an unknown word"""
    PHANTOM_MODEL = "phantom_model"
    """the model was trained on phantoms: its output says nothing about a person"""
    NOT_A_PHANTOM = "not_a_phantom"
    """not a phantom, and scored on request by a model that was trained on phantoms"""


class Split(StrEnum):
    """The split that an image belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    EXCLUDED = "excluded"


_METADATA = [
    pa.field("uri", pa.string(), nullable=False),  # absolute path (and #frame-<n>)
    pa.field("source", pa.string(), nullable=False),  # the data set it came from
    pa.field("patient_id", pa.string()),  # "<source>:<id>", null where unknown
    pa.field("study_id", pa.string()),  # as the source has it; from DICOM: hashed
    pa.field("scan_id", pa.string()),  # of a CT series, as the source has it; from DICOM: hashed
    pa.field("slice_index", pa.int32()),  # place in the series
    pa.field("finding", pa.string()),  # as the source has it, null where it has none
    pa.field("view", pa.string(), nullable=False),  # a View
    pa.field("modality", pa.string(), nullable=False),  # a Modality
    pa.field("age", pa.float32()),  # years
    pa.field("sex", pa.string()),  # "M", "F", null where unknown
    pa.field("mask_uri", pa.string()),  # lung mask that came with the image
    pa.field("published_split", pa.string()),  # "train" or "test" as the source has it
]

MANIFEST = pa.schema(
    [
        *_METADATA,
        pa.field("size_bytes", pa.int64(), nullable=False),  # of the file
        pa.field("modified_ns", pa.int64(), nullable=False),  # since 1970, nanoseconds
        pa.field("problem", pa.string()),  # a RejectReason found while listing
        pa.field("header_patient", pa.bool_(), nullable=False),  # DICOM header has a patient
    ]
)
"""One row per listed file, before it is read."""

IMAGES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # SHA-256 of file's bytes (and frame)
        *_METADATA,
        pa.field("view_measured", pa.bool_(), nullable=False),  # view guessed from pixels
        pa.field("view_guess", pa.string()),  # a View guessed from pixels, used or not
        pa.field("laterality", pa.string()),  # "L" or "R" as a DICOM header has it
        pa.field("frame", pa.int32()),  # from 1, in a file of several; null: it has one
        pa.field("burned_in", pa.bool_()),  # burned-in text, according to a DICOM header
        pa.field("notes", pa.string()),  # Notes joined by "; ": doubtful header entries
        pa.field("body_part", pa.string()),  # a BodyPart, null where it is no DICOM file
        pa.field("phantom", pa.bool_()),  # drawn by pulmospark, by the file's own comment
        pa.field("format", pa.string(), nullable=False),  # of the content: "jpeg", "png", ...
        pa.field("size_bytes", pa.int64(), nullable=False),  # of the file
        pa.field("modified_ns", pa.int64(), nullable=False),  # since 1970, nanoseconds
        pa.field("height", pa.int32(), nullable=False),  # of the original, pixels
        pa.field("width", pa.int32(), nullable=False),  # of the original, pixels
        pa.field("pixels", pa.binary(), nullable=False),  # size x size uint8 grey, row-major
        pa.field("phash", pa.int64(), nullable=False),  # 64-bit perceptual hash, as signed
        pa.field("parent_id", pa.string()),  # image_id of its source image; null: original
        pa.field("listed", pa.int64()),  # hash of its row of the manifest, as signed
    ]
)
"""One row per standardised image or slice."""

REJECTS = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),  # absolute path of the file
        pa.field("source", pa.string(), nullable=False),  # the data set it came from
        pa.field("image_id", pa.string()),  # where the bytes could be read
        pa.field("size_bytes", pa.int64(), nullable=False),  # of the file
        pa.field("modified_ns", pa.int64(), nullable=False),  # since 1970, nanoseconds
        pa.field("reason", pa.string(), nullable=False),  # a RejectReason
        pa.field("detail", pa.string(), nullable=False),  # one line: what was found
    ]
)
"""One row per listed file that is no image: rows in = images + rejects, always."""

COHORT = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # SHA-256 of the file's bytes
        pa.field("uri", pa.string(), nullable=False),  # absolute path of the file
        pa.field("source", pa.string(), nullable=False),  # the data set it came from
        pa.field("patient_id", pa.string()),  # "<source>:<id>", null where unknown
        pa.field("scan_id", pa.string()),  # of a CT series, as the source has it
        pa.field("group_id", pa.string(), nullable=False),  # same split: patients, or an image
        pa.field("finding", pa.string()),  # as the source has it
        pa.field("label", pa.string()),  # after class mapping; null where excluded
        pa.field("view", pa.string(), nullable=False),  # a View
        pa.field("age", pa.float32()),  # years
        pa.field("sex", pa.string()),  # "M", "F", null where unknown
        pa.field("split", pa.string(), nullable=False),  # a Split
        pa.field("fold", pa.int32()),  # 0 to k-1, with cross-validation
        pa.field("reason", pa.string()),  # why it was excluded
    ]
)
"""One row per row of the images table: its class and split."""

EXPANDED = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # the image's; a copy has its own
        pa.field("uri", pa.string(), nullable=False),  # the image's; a copy's: with #draw-<n>
        pa.field("parent_id", pa.string()),  # image_id of its source image; null: the image itself
        pa.field("parent_uri", pa.string()),  # path of its source image
        pa.field("draw", pa.int32(), nullable=False),  # 0: the image itself; 1, 2, ...: copies
        pa.field("operations", pa.string(), nullable=False),  # of the augmentation, as JSON
        pa.field("source", pa.string(), nullable=False),  # the data set the image came from
        pa.field("patient_id", pa.string()),  # "<source>:<id>", null where unknown
        pa.field("scan_id", pa.string()),  # of a CT series, as the source has it
        pa.field("group_id", pa.string(), nullable=False),  # same split: patients, or an image
        pa.field("finding", pa.string()),  # as the source has it
        pa.field("label", pa.string(), nullable=False),  # after class mapping
        pa.field("view", pa.string(), nullable=False),  # a View
        pa.field("age", pa.float32()),  # years
        pa.field("sex", pa.string()),  # "M", "F", null where unknown
        pa.field("split", pa.string(), nullable=False),  # always "train"
        pa.field("fold", pa.int32()),  # the image's, also for its copies
        pa.field("reason", pa.string()),  # always null; so that this is a cohort, too
        pa.field("pixels", pa.binary(), nullable=False),  # size x size uint8 grey, row-major
    ]
)
"""One row per image of the training split and per augmented copy of it."""

FEATURES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # SHA-256 of the file's bytes
        pa.field("uri", pa.string(), nullable=False),  # absolute path of the file
        pa.field("features", pa.list_(pa.float32()), nullable=False),  # of the network's width
    ]
)
"""Deep features of a frozen network, one row per image."""

LOOKS = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),  # absolute path of the file
        pa.field("mean", pa.float32(), nullable=False),  # grey level of the whole image, 0 to 255
        pa.field("border_mean", pa.float32(), nullable=False),  # grey level of its outer 3 %
        pa.field("hashes", pa.list_(pa.int64()), nullable=False),  # of the whole, and of crops
        pa.field("small", pa.binary(), nullable=False),  # 112 x 112 uint8 grey, row-major
    ]
)
"""What audits compare images by, one row per image."""

COPIES = pa.schema(
    [
        pa.field("first", pa.int64(), nullable=False),  # number of an image, in the order of uri
        pa.field("second", pa.int64(), nullable=False),  # number of another, above the first
        pa.field("distance", pa.int32(), nullable=False),  # bits in which their hashes differ
        pa.field("correlation", pa.float32(), nullable=False),  # of the overlaid images, -1 to 1
    ]
)
"""Pairs of images with similar hashes, and their correlation."""

SCORES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # SHA-256 of the file's bytes
        pa.field("uri", pa.string(), nullable=False),  # absolute path of the file
        pa.field("model", pa.string(), nullable=False),  # "final", "fold-0", "fold-0-inner", ...
        pa.field("logits", pa.list_(pa.float64()), nullable=False),  # experiment's class order
    ]
)
"""Logits of the models of one training for the images of its cohort."""

PREDICTIONS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # SHA-256 of the file's bytes
        pa.field("uri", pa.string(), nullable=False),  # absolute path of the file
        pa.field("label", pa.string()),  # where known
        pa.field("prediction", pa.string(), nullable=False),  # most probable class
        pa.field("probability", pa.list_(pa.float64()), nullable=False),  # bundle's class order
        pa.field("logits", pa.list_(pa.float64()), nullable=False),  # before the temperature
        pa.field("cautions", pa.list_(pa.string())),  # each a Caution; null in an evaluation
        pa.field("distance", pa.float64()),  # from the training images; null: not assessable
        pa.field("source", pa.string()),  # the data set it came from
        pa.field("patient_id", pa.string()),  # "<source>:<id>", null where unknown
        pa.field("scan_id", pa.string()),  # of a CT series, as the source has it
        pa.field("group_id", pa.string()),  # same split: patients, or an image
        pa.field("split", pa.string()),  # a Split, null outside an experiment
        pa.field("fold", pa.int32()),  # 0 to k-1, with cross-validation
        pa.field("model_id", pa.string(), nullable=False),  # of the bundle
        pa.field("predicted_at", pa.timestamp("us", tz="UTC"), nullable=False),  # when
        pa.field("heat_map", pa.string()),  # file below the table's parent; null: not requested
        pa.field("outside_lungs", pa.float64()),  # share of the heat; null: not assessable
        pa.field("hottest_tenth", pa.string()),  # where it lies, in words
        pa.field("size_bytes", pa.int64()),  # of the file; null in an evaluation
        pa.field("modified_ns", pa.int64()),  # since 1970, nanoseconds; null in an evaluation
    ]
)
"""One row per scored image."""

REPEATS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # of the image's row in predictions
        pa.field("uri", pa.string(), nullable=False),  # of the image that was sent again
        pa.field("source", pa.string()),  # name of the stream's inbox
        pa.field("size_bytes", pa.int64(), nullable=False),  # of the file
        pa.field("modified_ns", pa.int64(), nullable=False),  # since 1970, nanoseconds
        pa.field("seen_at", pa.timestamp("us", tz="UTC"), nullable=False),  # when
    ]
)
"""One row per image of a stream whose content had been scored before."""
ARRIVALS = pa.schema(
    [
        pa.field("batch", pa.int64(), nullable=False),  # number of the micro-batch, from 1
        pa.field("uri", pa.string(), nullable=False),  # absolute path, or address in a store
        pa.field("size_bytes", pa.int64(), nullable=False),  # of the file
        pa.field("modified_ns", pa.int64(), nullable=False),  # since 1970, nanoseconds
        pa.field("etag", pa.string()),  # of an object in a store
        pa.field("parts", pa.list_(pa.string()), nullable=False),  # files that have its rows
    ]
)
"""One row per file that a stream has scored or rejected: its commits, by which it resumes."""
UNITS = pa.schema(
    [
        pa.field("level", pa.string(), nullable=False),  # "scan" or "patient"
        pa.field("unit", pa.string(), nullable=False),  # scan, patient, or image that has neither
        pa.field("source", pa.string(), nullable=False),  # the data set it came from
        pa.field("group_id", pa.string(), nullable=False),  # same split: patients, or an image
        pa.field("fold", pa.int32()),  # 0 to k-1, with cross-validation
        pa.field("images", pa.int32(), nullable=False),  # images or slices it was pooled from
        pa.field("label", pa.string(), nullable=False),  # the same for all of them
        pa.field("prediction", pa.string(), nullable=False),  # most probable class
        pa.field("probability", pa.list_(pa.float64()), nullable=False),  # pooled
    ]
)
"""One row per scan or patient of an evaluation, pooled from its slices."""
