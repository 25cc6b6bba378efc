"""Two image-blind baselines for a model's accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pulmospark.core.arrays import Ints
from pulmospark.core.errors import InputError
from pulmospark.evaluation.inputs import Predictions, TrainingPart, checked_training
from pulmospark.evaluation.intervals import proportion
from pulmospark.evaluation.results import TrivialRules


def trivial_predictions(
    part: TrainingPart, sources: NDArray[Any] | None, images: int, classes: int
) -> tuple[Ints, Ints]:
    """Predictions of both baselines for each image.

    The first predicts the most frequent class of the training set; the second predicts that of
    the image's source, or as the first if the source is not in the training set. Ties go to the
    first class.

    Args:
        part: labels and sources of the training set.
        sources: (n,) of the images.
        images: n.
        classes: number of classes.

    Returns:
        Two arrays (n,) of classes.

    Raises:
        InputError: the images' sources are missing, or the training set is invalid.
    """
    if sources is None:
        raise InputError(
            "the image-blind baselines need the source of each image: provide sources"
        )
    labels, origins = checked_training(part, classes)
    most = int(np.argmax(np.bincount(labels, minlength=classes)))
    by_source = np.full(images, most, dtype=np.int64)
    for name in np.unique(origins):
        counts = np.bincount(labels[origins == name], minlength=classes)
        by_source[sources == name] = int(np.argmax(counts))
    return np.full(images, most, dtype=np.int64), by_source


def shared_sources(part: TrainingPart, sources: NDArray[Any]) -> frozenset[str]:
    """Sources of some images (n,) that also occur in the training set."""
    return frozenset(map(str, np.intersect1d(np.asarray(part.sources).astype(str), sources)))


def trivial_rules(
    predicted: tuple[Ints, Ints], images: Predictions, confidence: float, *, sources: int
) -> TrivialRules:
    """Accuracy of both baselines, with CIs.

    Args:
        predicted: predictions of each baseline, (n,).
        images: the images.
        confidence: level of the CIs.
        sources: number of the images' sources that occur in the training set.
    """
    plain, by_source = (
        proportion(each == images.labels, None, images.groups, confidence) for each in predicted
    )
    return TrivialRules(
        most_frequent_class=plain, most_frequent_class_of_source=by_source, sources=sources
    )
