"""The result of a prediction: frozen values that serialise to JSON."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict

import pulmospark
from pulmospark.core.html import html_table
from pulmospark.core.records import Record
from pulmospark.core.safe_text import percent
from pulmospark.inference.decision_point import DecisionPoint
from pulmospark.inference.precision.check import PrecisionOutcome
from pulmospark.layouts.base import NotesSummary


class Decision(Record):
    """The decision at an operating point for one image."""

    model_config = ConfigDict(frozen=True)

    positive_class: str
    threshold: float
    positive: bool


class Prediction(Record):
    """The prediction for one image.

    Notebooks display it as a table that includes the cautions.

    Example:
        >>> result = ps.load("runs/mine/bundle").predict("image.png")
        >>> result.prediction == max(result.probabilities, key=result.probabilities.get)
        True
    """

    model_config = ConfigDict(frozen=True)

    uri: str
    """absolute path of the file"""
    image_id: str
    """SHA-256 of the file's bytes"""
    prediction: str
    """the most probable class"""
    probabilities: dict[str, float]
    """class -> probability, in the order of the bundle"""
    decisions: tuple[Decision, ...]
    """at each operating point of the bundle: ``positive_class``, ``threshold``, ``positive``"""
    cautions: tuple[str, ...]
    """why the prediction may be meaningless, one sentence each"""
    distance: float | None
    """from the training images, about 1 for most of them; ``None``: not assessable"""
    heat_map: str | None = None
    """file of the heat map below the output folder; ``None``: none was written"""
    outside_lungs: float | None = None
    """share of the heat outside the lungs, 0 to 1; ``None``: not requested or not assessable"""
    hottest_tenth: str | None = None
    """where the hottest tenth of the image lies, in words; ``None``: not requested"""

    def __repr__(self) -> str:
        return (
            f"<Prediction {self.prediction}: {percent(self.probabilities[self.prediction])}"
            f"{'; with cautions' if self.cautions else ''}; {self.uri}>"
        )

    __str__ = __repr__

    def _repr_html_(self) -> str:
        ranked = sorted(self.probabilities.items(), key=lambda pair: -pair[1])
        rows = [(f"probability of {name}", percent(value)) for name, value in ranked]
        rows += [
            (
                f"operating point for {point.positive_class}",
                f"{'positive' if point.positive else 'negative'} "
                f"(threshold {percent(point.threshold)})",
            )
            for point in self.decisions
        ]
        rows += [("caution", text) for text in self.cautions]
        return html_table(
            f"{self.prediction}: {self.uri}", rows, note=pulmospark.NOT_A_MEDICAL_DEVICE
        )


class PredictResult(Record):
    """The result of a prediction run."""

    model_config = ConfigDict(frozen=True)

    folder: Path | None
    """of the output; ``None``: nothing was written, or to a store"""
    bundle: Path
    model_id: str
    model: str
    """the network's name in the zoo"""
    classes: tuple[str, ...]
    files: int
    """files and rows seen: images + rejects; a multi-frame file counts once, and so does each row
    of an images table"""
    images: int
    rejects: int
    rejects_by_reason: dict[str, int]
    address: str | None = None
    """of the output in a store"""
    predictions: dict[str, int]
    """class -> images for which it is the most probable"""
    decision_points: tuple[DecisionPoint, ...]
    positive: dict[str, int]
    """class of an operating point -> images at or above its threshold"""
    cautions: dict[str, int]
    """a ``core.schemas.Caution`` -> scored images that have it"""
    fence: float | None
    """distance beyond which an image is unlike the training images; ``None``: not assessable"""
    distances: str
    """``assessed``, or why they are not assessable"""
    layout: str | None
    """of the folders, named or recognised; ``None``: every image file in them"""
    notes: NotesSummary
    """anything unusual in the listing"""
    precision: PrecisionOutcome
    """precision of the network's arithmetic, and how it was chosen"""
    seconds: dict[str, float]
    already: int = 0
    """of ``--append``: files and rows that the output had, which were not read"""
    repeats: int = 0
    """of ``--append``: images that the output had from other files; rows of ``repeats``"""
    version: int | None = None
    """of the predictions table, after ``--append``"""
    heat_maps: int = 0
    """heat maps that were written"""
    image: Prediction | None = None
    """for a single image"""
