"""The surface of a result sink, and what it knows about a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulmospark.inference.decision_point import DecisionPoint
from pulmospark.store.uri import StoreUri

Row = Mapping[str, Any]
"""of ``core.schemas.PREDICTIONS`` or ``core.schemas.REJECTS``, by column"""


@dataclass(frozen=True)
class Output:
    """What a sink knows before the first row.

    Attributes:
        folder: of the output; it appears once all sinks have finished, atomically on a disk.
        classes: in the order of the probabilities.
        points: operating points.
        fence: distance from the training images beyond which an image is unlike them; ``None``:
            not assessable.
        parts: Parquet files of each table, or their addresses, in the order of the images.
        heat_maps: whether they were requested: their files are in the folder, and rows name them.
    """

    folder: Path
    classes: tuple[str, ...]
    points: tuple[DecisionPoint, ...]
    fence: float | None
    parts: Mapping[str, Sequence[Path | StoreUri]]
    heat_maps: bool = False


class ResultSink:
    """Writes the results of one prediction in one form; overrides what it needs.

    The methods are called in this order, once for each row, in one thread. What they raise ends
    the prediction, and nothing is published.
    """

    name: str
    """of the form, in messages"""

    def begin(self, output: Output) -> None:
        """Before the first row."""

    def prediction(self, row: Row) -> None:
        """An image that was scored."""

    def reject(self, row: Row) -> None:
        """A file that was not."""

    def finish(self, record: Mapping[str, Any]) -> None:
        """After the last row.

        Args:
            record: the content of ``predict.json``: ``result`` and ``provenance``.
        """

    def close(self) -> None:
        """Release what is open, also after an error; called last, and always."""
