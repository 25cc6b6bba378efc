"""Predictions and rejects as CSV, part by part, and what is counted on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.core import limits
from pulmospark.core.csv_files import write_row
from pulmospark.core.settings import Fraction, Settings

_CAUTIONS = {
    "lateral": "looks like a lateral film",
    "axial": "looks like a CT slice",
}
_REJECT_COLUMNS = ("uri", "source", "reason", "detail", "image_id", "size_bytes")


class DecisionPoint(Settings):
    """A threshold at which films are called positive for a class."""

    positive_class: str
    threshold: Fraction
    sensitivity_target: Fraction | None
    """that the threshold had to reach on the validation split; ``None``: given by hand"""

    def is_positive(self, probability: float) -> bool:
        """Whether a film of this probability is called positive: at or above the threshold."""
        return probability >= self.threshold


@dataclass
class Tally:
    """What was counted while the tables were written; its size is that of the classes."""

    images: int = 0
    rejects: int = 0
    predictions: Counter[str] = field(default_factory=Counter)
    positive: Counter[str] = field(default_factory=Counter)
    cautions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def caution_words(view: str) -> str:
    """What is wrong with a film of this view, for people."""
    return _CAUTIONS.get(view, f"looks like {view}")


def export_predictions(
    parts: Sequence[Path],
    target: Path,
    classes: Sequence[str],
    points: Sequence[DecisionPoint],
    tally: Tally,
) -> None:
    """Write ``predictions.csv``; memory holds a row group.

    Args:
        parts: Parquet parts of ``predictions``; the part of ``cautions`` of the same films
            lies beside each, where there is one.
        target: the CSV file.
        classes: in the order of the probabilities.
        points: a column of decisions each.
        tally: takes the counts.
    """
    order = [(point, classes.index(point.positive_class)) for point in points]
    head = [
        *("uri", "image_id", "prediction"),
        *(f"probability_{name}" for name in classes),
        *(f"decision_{point.positive_class}" for point in points),
        *("caution", "model_id"),
    ]
    with target.open("w", encoding="utf-8", newline="") as file:
        write_row(file, head)
        for part in parts:
            odd = _odd_views(part)
            tally.cautions.update(odd.values())
            for row in _rows(part, ["uri", "image_id", "prediction", "probability", "model_id"]):
                chances = row["probability"]
                called = {p.positive_class: p.is_positive(chances[i]) for p, i in order}
                tally.images += 1
                tally.predictions[row["prediction"]] += 1
                tally.positive.update(name for name, positive in called.items() if positive)
                view = odd.get(row["uri"])
                cells = [
                    *(row["uri"], row["image_id"], row["prediction"]),
                    *(f"{chance:.6f}" for chance in chances),
                    *("positive" if positive else "negative" for positive in called.values()),
                    *(caution_words(view) if view else "", row["model_id"]),
                ]
                write_row(file, cells)


def export_rejects(parts: Iterable[Path], target: Path, tally: Tally) -> None:
    """Write ``rejects.csv``; memory holds a row group.

    Args:
        parts: Parquet parts of ``rejects``.
        target: the CSV file.
        tally: takes the counts.
    """
    with target.open("w", encoding="utf-8", newline="") as file:
        write_row(file, _REJECT_COLUMNS)
        for part in parts:
            for row in _rows(part, list(_REJECT_COLUMNS)):
                tally.rejects += 1
                tally.reasons[row["reason"]] += 1
                write_row(file, (row[name] for name in _REJECT_COLUMNS))


def cautions_part(part: Path) -> Path:
    """The part of ``cautions`` that goes with a part of ``predictions``; it may not be there."""
    return part.with_name(part.name.replace("predictions-", "cautions-", 1))


def _odd_views(part: Path) -> dict[str, str]:
    beside = cautions_part(part)
    if not beside.is_file():
        return {}
    rows = pq.read_table(beside, columns=["uri", "view"])
    return dict(zip(rows["uri"].to_pylist(), rows["view"].to_pylist(), strict=True))


def _rows(part: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(part) as file:
        batch: pa.RecordBatch
        for batch in file.iter_batches(limits.ROW_GROUP_ROWS, columns=columns):
            yield from batch.to_pylist()
