"""The configuration of a bundle: the content of its ``config.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from pulmospark.config.base import Fraction, Settings
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.core.errors import UsageError
from pulmospark.core.safe_text import is_name, one_line
from pulmospark.models.bundle.feature_distance import DistanceFacts
from pulmospark.models.zoo.catalogue import check_size, entry

if TYPE_CHECKING:
    from pulmospark.models.zoo.network import Network

_IMAGE_SETTINGS = {
    "input_size": "size",
    "fit": "fit",
    "equalise": "equalise",
    "crop": "crop",
    "ct_window": "ct_window",
    "body_parts": "body_parts",
}
"""field of a bundle -> setting of ingest"""


def _named(text: str) -> str:
    if not is_name(text):
        raise ValueError(
            f"{one_line(text, 80)!r} is not a valid name: blank, over {limits.NAME_CHARS_MAX} "
            "characters, or with control characters"
        )
    return text


Name = Annotated[str, AfterValidator(_named)]
"""name of a class, network or file, without control characters"""

Scale = Annotated[float, Field(gt=0.0, le=1.0)]
Temperature = Annotated[float, Field(ge=limits.TEMPERATURE_MIN, le=limits.TEMPERATURE_MAX)]
"""range of the calibration"""


class BundleOperatingPoint(Settings):
    """A threshold on one class's probability, chosen outside the test set."""

    positive_class: Name
    threshold: Fraction
    sensitivity_target: Fraction
    chosen_on: Annotated[int, Field(ge=0, le=limits.EVALUATION_ROWS_MAX)]
    """images it was chosen on, each counted once"""
    reached: bool
    """whether the target was reached"""
    positives: Annotated[int, Field(ge=0, le=limits.EVALUATION_ROWS_MAX)] | None = None
    """images of the class among them; ``None``: an older version did not count them"""
    positive_groups: Annotated[int, Field(ge=0, le=limits.EVALUATION_ROWS_MAX)] | None = None
    """patients, or groups, of these images"""
    expected_low: Fraction | None = None
    """lower bound of the sensitivity expected on new patients"""
    expected_high: Fraction | None = None
    """its upper bound"""


class BundleConfig(Settings):
    """The network of a bundle and its preprocessing."""

    format_version: Annotated[int, Field(ge=1, le=limits.BUNDLE_FORMAT_VERSION)] = (
        limits.BUNDLE_CONFIG_VERSION
    )
    model: Name
    """name in the zoo, or a library name"""
    classes: Annotated[
        tuple[Name, ...],
        Field(min_length=2, max_length=limits.CLASSES_MAX),
    ]
    """in the order of the output"""
    input_size: Annotated[int, Field(ge=limits.STANDARD_SIZE_MIN, le=limits.STANDARD_SIZE_MAX)]
    """side of the standard image, pixels"""
    fit: Literal["stretch", "pad", "crop"]
    """how non-square images are made square"""
    equalise: bool = False
    """whether histograms are equalised"""
    ct_window: Literal["lung", "soft", "header"] = "lung"
    """window of CT slices from DICOM"""
    crop: Literal["none", "lungs"] = "none"
    """initial cropping, as in ``ingest.crop``"""
    body_parts: Literal["chest", "any"] = "chest"
    """whether DICOM files of other body parts are rejected, as in ``ingest.body_parts``"""
    phantoms: bool = False
    """trained on phantoms: every prediction says so, and other images are refused by default"""
    mean: Annotated[tuple[Fraction, ...], Field(min_length=1, max_length=3)]
    """mean of each input channel, in [0, 1]"""
    std: Annotated[tuple[Scale, ...], Field(min_length=1, max_length=3)]
    """standard deviation of each input channel, in [0, 1]"""
    temperature: Temperature = 1.0
    """logits are divided by it before the softmax"""
    operating_points: tuple[BundleOperatingPoint, ...] = ()
    method: Literal["features", "network"]
    """``features``: logistic regression on a frozen network; ``network``: fine-tuned"""
    weights: Name | None = None
    """file or bundle of the initial weights; ``None``: from scratch"""
    distance: DistanceFacts | None = None
    """out-of-distribution detection; ``None``: none"""
    training: dict[str, Any] = Field(default_factory=dict)
    """provenance: versions, settings, seed, time"""
    data: dict[str, Any] = Field(default_factory=dict)
    """summary of the data: included views; images and groups per class, source and split"""

    @field_validator("model")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            entry(value)
        except UsageError as error:
            raise ValueError(error.message.removeprefix("model ")) from error
        return value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("class names must be unique")
        try:
            check_size(self.model, self.input_size)
        except UsageError as error:
            raise ValueError(error.message) from error
        channels = len(entry(self.model).mean)
        if not len(self.mean) == len(self.std) == channels:
            raise ValueError(f"mean and std need {channels} channels")
        for point in self.operating_points:
            if point.positive_class not in self.classes:
                raise ValueError(
                    f"operating point of {point.positive_class!r}, which is not a class"
                )
        return self

    @property
    def ingest(self) -> IngestSettings:
        """Settings that turn an image into the network's standard image."""
        return IngestSettings(
            **{setting: getattr(self, name) for name, setting in _IMAGE_SETTINGS.items()}
        )

    @classmethod
    def for_network(cls, network: Network, **values: Any) -> BundleConfig:
        """A configuration with ``model``, ``mean`` and ``std`` of the network."""
        return cls(
            model=network.name, mean=network.channel_mean, std=network.channel_std, **values
        )


def image_values(settings: IngestSettings) -> dict[str, Any]:
    """Image settings for a :class:`BundleConfig`; see its ``ingest``."""
    return {name: getattr(settings, setting) for name, setting in _IMAGE_SETTINGS.items()}
