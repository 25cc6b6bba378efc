"""A fitted logistic regression, whichever solver fitted it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pulmospark.core.arrays import Floats
from pulmospark.core.errors import ClassError

UNTUNED_REG_PARAM = 0.01
"""regParam if neither set nor tuned: suits large data sets, which need little"""


@dataclass(frozen=True)
class Head:
    """A linear layer: logits = features x weights.T + bias.

    Attributes:
        name: of the model it is the head of.
        weights: float64 (classes, width).
        bias: float64 (classes,).
    """

    name: str
    weights: Floats
    bias: Floats


@dataclass(frozen=True)
class LogisticFit:
    """A fitted head, with statistics of the fit."""

    head: Head
    images: int
    objective: tuple[float, ...]
    """regularised loss before the first iteration and after each"""
    seconds: float

    @property
    def iterations(self) -> int:
        """Number of iterations."""
        return len(self.objective) - 1


def check_classes(name: str, classes: Sequence[str], present: Collection[int]) -> None:
    """Check that a training set has images of each class.

    Args:
        name: of the model.
        classes: names in the order of the labels.
        present: labels that occur.

    Raises:
        ClassError: a class has no training images.
    """
    missing = [label for number, label in enumerate(classes) if number not in present]
    if missing:
        raise ClassError(
            f"{name}: the training set has no images of {', '.join(map(repr, missing))}: use "
            "fewer folds, other split shares, or more patients of the class"
        )
