"""What ``/api/v1/runs`` answers."""

from __future__ import annotations

from pulmospark.audit.results import Verdict
from pulmospark.serve.responses import Answer


class FigureAnswer(Answer):
    """A metric and its CI."""

    value: float | None
    low: float | None
    high: float | None


class RunSummary(Answer):
    """A run in the list."""

    name: str
    images: int | None = None
    """tested images"""
    errors: int | None = None
    """of them, those whose most probable class is not their label"""
    classes: tuple[str, ...] = ()
    accuracy: FigureAnswer | None = None
    problem: str | None = None
    """why it cannot be shown"""


class RunsAnswer(Answer):
    """The evaluated runs, by name."""

    runs: list[RunSummary]
    has_folder: bool
    """whether the service was given a folder of runs"""


class RunVerdict(Answer):
    """The verdict of one audit."""

    audit: str
    title: str
    verdict: Verdict
    text: str


class RunAnswer(Answer):
    """A run."""

    run: RunSummary
    phantoms: bool
    """all its images are phantoms"""
    confusion: list[list[int]]
    """images; row: label, column: prediction, both in the order of ``classes``"""
    sources: list[str]
    audits: list[RunVerdict]
    """worst first; empty: not audited, or split anew since"""
    not_a_medical_device: str


class PredictionAnswer(Answer):
    """The prediction of one image by a model that was not trained on it."""

    image_id: str
    name: str
    """of the file, for display only"""
    label: str | None
    prediction: str
    correct: bool
    probabilities: dict[str, float]
    source: str | None
    fold: int | None
    """whose model predicted it; ``null``: there is one model"""


class PredictionsAnswer(Answer):
    """A page of predictions."""

    predictions: list[PredictionAnswer]
    next_cursor: int | None
    """of the next page; ``null``: this is the last one"""
    total: int
    """predictions that match the filters"""
    not_a_medical_device: str


class NeighbourAnswer(Answer):
    """A training image."""

    image_id: str
    name: str
    """of the file, for display only"""
    label: str | None
    source: str
    similarity: float
    """-1 to 1"""


class NearestAnswer(Answer):
    """The training images most similar to an image, the nearest first."""

    neighbours: list[NeighbourAnswer]
    method: str
    """what similarity means"""
    searched: int
    """training images that were compared"""
    of: int
    """training images of the model; more than ``searched``: every n-th was compared"""
