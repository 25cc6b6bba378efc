"""What a comparison of networks says, and which of them no other beats."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict

from pulmospark.core.records import Record
from pulmospark.evaluation.results import Figure, Measured, PairedDifference


class _Told(Record):
    model_config = ConfigDict(frozen=True)


class ModelFigures(Measured):
    """One arm of a comparison: a network, trained one way, with the metrics compared."""

    name: str
    """of the arm, as it was asked for: ``mobilenet_v2`` or ``mobilenet_v2:network``"""
    model: str
    """name of the network"""
    title: str
    """for people; says how it was trained where the network stands twice"""
    method: str
    """``features``: frozen, with a logistic regression; ``network``: trained itself"""
    how: str
    """in words: ``frozen features``, ``fine-tuned`` or ``from scratch``"""
    start: str
    """``imagenet``, ``bundle`` (an earlier one) or ``none``"""
    accuracy: Figure
    macro_auroc: Figure
    training_seconds: float
    """of all folds and the final model, features with them"""
    parameters: int
    bundle_bytes: int
    images_per_s: float
    """scored by one worker with one thread on this machine, without decoding"""
    report: Path
    frontier: bool = False
    """no other network is as accurate in less training time"""


class ModelPair(_Told):
    """Two arms on the same images."""

    first: str
    """name of an arm"""
    second: str
    compared: PairedDifference
    """accuracy of the first less that of the second"""
    adjusted_p: float
    """p-value by Holm's method over all pairs"""


class Comparison(_Told):
    """Networks trained and tested on the same images."""

    folder: Path
    cohort_id: str
    classes: tuple[str, ...]
    images: int
    groups: int
    folds: int
    confidence: float
    phantoms: bool
    models: tuple[ModelFigures, ...]
    """the most accurate first"""
    pairs: tuple[ModelPair, ...]
    notes: tuple[str, ...] = ()
    """what the networks do not have in common"""


def with_frontier(models: tuple[ModelFigures, ...]) -> tuple[ModelFigures, ...]:
    """Mark the networks that are beaten by none in both accuracy and training time.

    Returns:
        The networks, the most accurate first; of equal ones the faster to train.
    """

    def beats(other: ModelFigures, arm: ModelFigures) -> bool:
        theirs = (other.accuracy.value or 0.0, -other.training_seconds)
        ours = (arm.accuracy.value or 0.0, -arm.training_seconds)
        return theirs != ours and theirs[0] >= ours[0] and theirs[1] >= ours[1]

    marked = [
        arm.model_copy(update={"frontier": not any(beats(other, arm) for other in models)})
        for arm in models
    ]
    return tuple(
        sorted(marked, key=lambda arm: (-(arm.accuracy.value or 0), arm.training_seconds))
    )
