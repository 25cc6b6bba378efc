"""Counts of a prediction's rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pulmospark.inference.batch.sinks.base import Row
from pulmospark.inference.decision_point import DecisionPoint


class Tally:
    """Counts taken while the rows are handed to the sinks; grows with the number of classes.

    Args:
        classes: in the order of the probabilities.
        points: operating points.
    """

    def __init__(self, classes: Sequence[str], points: Sequence[DecisionPoint]) -> None:
        self._points = [(point, classes.index(point.positive_class)) for point in points]
        self.images = self.rejects = 0
        self.later_frames = self.heat_maps = 0
        self.predictions: Counter[str] = Counter()
        self.positive: Counter[str] = Counter()
        self.cautions: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def prediction(self, row: Row) -> None:
        """Count an image that was scored."""
        self.images += 1
        self.predictions[row["prediction"]] += 1
        self.cautions.update(row["cautions"] or [])
        for point, place in self._points:
            if point.is_positive(row["probability"][place]):
                self.positive[point.positive_class] += 1

    def reject(self, row: Row) -> None:
        """Count a file that was not."""
        self.rejects += 1
        self.reasons[row["reason"]] += 1
