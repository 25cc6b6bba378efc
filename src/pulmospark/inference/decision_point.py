"""The decision point: the threshold at which an image is called positive for a class."""

from __future__ import annotations

from pulmospark.config.base import Fraction, Settings


class DecisionPoint(Settings):
    """A threshold at which images are called positive for a class."""

    positive_class: str
    threshold: Fraction
    sensitivity_target: Fraction | None
    """reached by the threshold on the validation split; ``None``: threshold set by hand"""

    def is_positive(self, probability: float) -> bool:
        """Whether an image of this probability is called positive: at or above the threshold."""
        return probability >= self.threshold
