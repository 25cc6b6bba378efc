"""Two rules that look at no image, to which a model's accuracy is compared."""

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
    part: TrainingPart, sources: NDArray[Any] | None, films: int, classes: int
) -> tuple[Ints, Ints]:
    """What the two rules say of each film.

    The first says the most frequent class of the training part; the second that of the
    film's source there, and as the first where the training part lacks the source. Of
    equally frequent classes the first counts.

    Args:
        part: labels and sources of the training part.
        sources: (n,) of the films.
        films: n.
        classes: number of classes.

    Returns:
        Two arrays (n,) of classes.

    Raises:
        InputError: the films' sources are not known, or the training part is unsound.
    """
    if sources is None:
        raise InputError("trivial rules without the films' sources: give the source of each")
    labels, origins = checked_training(part, classes)
    most = int(np.argmax(np.bincount(labels, minlength=classes)))
    by_source = np.full(films, most, dtype=np.int64)
    for name in np.unique(origins):
        counts = np.bincount(labels[origins == name], minlength=classes)
        by_source[sources == name] = int(np.argmax(counts))
    return np.full(films, most, dtype=np.int64), by_source


def shared_sources(part: TrainingPart, sources: NDArray[Any]) -> frozenset[str]:
    """Sources of some images (n,) that the training part has, too."""
    return frozenset(map(str, np.intersect1d(np.asarray(part.sources).astype(str), sources)))


def trivial_rules(
    said: tuple[Ints, Ints], films: Predictions, confidence: float, *, sources: int
) -> TrivialRules:
    """Accuracy of both rules, with intervals.

    Args:
        said: what each rule says of each film.
        films: the films.
        confidence: of the intervals.
        sources: how many of the films' sources the rules have learned from.
    """
    plain, by_source = (
        proportion(each == films.labels, None, films.groups, confidence) for each in said
    )
    return TrivialRules(
        most_frequent_class=plain, most_frequent_class_of_source=by_source, sources=sources
    )
