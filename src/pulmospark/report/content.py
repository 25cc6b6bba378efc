"""What the report shows, as plain frozen values: the page is a pure function of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator

from pulmospark.audit.claim_checklist import ClaimItem
from pulmospark.core import limits
from pulmospark.evaluation.results import CrossValidation, Evaluation, Result
from pulmospark.report.audit_content import Audits
from pulmospark.report.paper_content import BesidePaper
from pulmospark.report.safe_text import Text, clean_text

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


Natural = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Count(Result):
    """How many there are of something, with a few of them by name."""

    name: Text
    count: Natural
    examples: tuple[Text, ...] = ()


class SourceSummary(Result):
    """One data set: what was seen of it."""

    name: Text
    layout: Text
    path: Text | None = None
    files_seen: Natural
    images: Natural
    frames: Natural = 0
    """of the images: those beyond the first of a file that has several"""
    rejects: Natural
    notes: tuple[Count, ...] = ()
    """rows without a file, files without a row, repeated rows, ignored files, ..."""


class RejectExample(Result):
    """One file that is no image of the table."""

    name: Text
    detail: Text = ""


class RejectGroup(Result):
    """Files that were rejected for one reason."""

    reason: Text
    count: Natural
    examples: tuple[RejectExample, ...] = ()


class Exclusion(Result):
    """Images that were read but take no part in the experiment."""

    reason: Text
    """in words: "lateral view", "finding in no class", "duplicate", "label conflict" """
    count: Natural
    finding: Text | None = None
    source: Text | None = None


class ClassSummary(Result):
    """A class of the experiment and the findings that make it."""

    name: Text
    findings: tuple[Count, ...] = ()
    """as the sources have them, with the number of images that take part"""


class SplitCell(Result):
    """Images and patients of one split in one class or source."""

    part: Text
    """"train", "validation", "test", or "fold 1" and so on"""
    name: Text
    """the class or the source"""
    images: Natural
    patients: Natural | None = None
    """``None`` where no patient is known"""


class SplitTotal(Result):
    """Images and patients of one split."""

    part: Text
    images: Natural
    patients: Natural | None = None


class SplitSummary(Result):
    """Who is in which split; patients do not add up where one has images of two classes."""

    totals: tuple[SplitTotal, ...] = ()
    """in the order they are shown"""
    by_class: tuple[SplitCell, ...] = ()
    by_source: tuple[SplitCell, ...] = ()
    notes: tuple[Text, ...] = ()
    """sentences on what keeps patients and near copies in the same split, and what that cost"""


class Epoch(Result):
    """One pass over the training images."""

    epoch: Natural
    loss: float
    validation_loss: float | None = None
    accuracy: Probability | None = None
    """on the validation split"""
    seconds: Seconds
    images_per_s: Annotated[float, Field(ge=0.0)] | None = None


class TrainingRun(Result):
    """One model that was trained: the only one, or one fold's."""

    name: Text = ""
    epochs: tuple[Epoch, ...] = ()
    objective: tuple[float, ...] = ()
    """of a logistic regression, before the first and after each iteration"""


class Operation(Result):
    """One operation of an augmentation."""

    name: Text
    probability: Probability
    """how often it is drawn"""
    reach: Text
    """how far it goes, in words"""


class ExpandedClass(Result):
    """What an expansion added to one class."""

    name: Text
    images: Natural
    copies: Natural
    copies_per_image: Natural
    """at most"""


class Augmentation(Result):
    """How training images were randomly augmented."""

    how: Text
    """in words: when, and of what"""
    rows_per_class: Natural | None = None
    """of an expanded table, including the original images"""
    images: Natural | None = None
    copies: Natural | None = None
    classes: tuple[ExpandedClass, ...] = ()
    operations: tuple[Operation, ...] = ()


class Training(Result):
    """How the model was trained."""

    method: Text
    """in words"""
    model: Text
    weights: Text | None = None
    """what it started from"""
    parameters: Natural | None = None
    trained_parameters: Natural | None = None
    processes: Natural | None = None
    preparation: Text | None = None
    """done to every image, also to those that are tested"""
    augmentations: tuple[Augmentation, ...] = ()
    """none: the images were not augmented"""
    runs: tuple[TrainingRun, ...] = ()


class Timing(Result):
    """How long a stage took."""

    stage: Text
    seconds: Seconds
    items: Natural | None = None
    unit: Text = "images"


class ExampleImage(Result):
    """One tested image, small."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    thumbnail: bytes
    """PNG or JPEG, at most ``limits.REPORT_THUMBNAIL_BYTES_MAX``; see ``images.thumbnail``"""
    image_id: Text
    """whole, or its beginning; the page shows 10 digits"""
    label: Text
    prediction: Text
    probability: Probability
    """of the prediction"""
    label_probability: Probability | None = None
    """of the label"""
    source: Text

    @field_validator("thumbnail")
    @classmethod
    def _small_image(cls, value: bytes) -> bytes:
        if not value.startswith((_PNG, _JPEG)):
            raise ValueError("the thumbnail is neither PNG nor JPEG")
        if len(value) > limits.REPORT_THUMBNAIL_BYTES_MAX:
            raise ValueError(
                f"the thumbnail has {len(value)} bytes, "
                f"over {limits.REPORT_THUMBNAIL_BYTES_MAX}: make it smaller"
            )
        return value

    @property
    def media_type(self) -> Literal["image/png", "image/jpeg"]:
        """Of the thumbnail, detected from its first bytes."""
        return "image/png" if self.thumbnail.startswith(_PNG) else "image/jpeg"


ExampleImages = Annotated[tuple[ExampleImage, ...], Field(max_length=limits.REPORT_IMAGES_MAX)]


class Level(Result):
    """Scans or patients, each scored as a whole."""

    unit: Text
    """scan or patient"""
    pooling: Text
    """how the probabilities of their images were pooled, in words"""
    evaluation: Evaluation


class ReportContent(Result):
    """Everything that the page shows."""

    title: Text
    made_at: datetime
    is_phantom: bool
    """the images are phantoms: the page says so above all else"""
    audits: Audits | None = None
    """results of the audits; ``None``: there were none"""
    evaluation: Evaluation
    """of images the model was not trained on; the pooled one where there are folds"""
    paper: BesidePaper | None = None
    """the published experiment that was reproduced; ``None``: it is none"""
    cross_validation: CrossValidation | None = None
    levels: tuple[Level, ...] = ()
    """in addition to the single images or slices"""
    images_without_patient: Natural = 0
    """of the evaluated images: how many have no known patient"""
    known_patients: Natural | None = None
    """whose the other evaluated images are; ``None``: a group each"""
    sources: tuple[SourceSummary, ...] = ()
    rejects: tuple[RejectGroup, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    classes: tuple[ClassSummary, ...] = ()
    split: SplitSummary = SplitSummary()
    warnings: tuple[Text, ...] = ()
    """plain sentences, in addition to those that the page itself finds"""
    training: Training | None = None
    timings: tuple[Timing, ...] = ()
    right: ExampleImages = ()
    """most certain first"""
    wrong: ExampleImages = ()
    """worst first: most certain of the wrong class"""
    figures_folder: Text = ""
    """of the plots and tables as files, relative to the page; empty: there are none"""
    claim: tuple[ClaimItem, ...] = ()
    """the CLAIM 2024 checklist, as far as it is known"""
    provenance: Annotated[dict[str, Any], BeforeValidator(clean_text)] = Field(
        default_factory=dict
    )
    """of ``core.provenance``, with ``commands``: those that reproduce it"""
