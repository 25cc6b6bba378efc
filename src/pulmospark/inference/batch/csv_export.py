"""Writes predictions and rejects as CSV, part by part, and counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.core import limits
from pulmospark.core.csv_files import safe_cell as safe_cell  # noqa: PLC0414 - part of the format
from pulmospark.core.csv_files import write_row
from pulmospark.inference.batch.cautions import sentence
from pulmospark.inference.decision_point import DecisionPoint
from pulmospark.inference.explain.files import COLUMNS as HEAT_COLUMNS

_PREDICTION_COLUMNS = [
    *("uri", "image_id", "prediction", "probability", "cautions", "distance", "model_id")
]
_REJECT_COLUMNS = ("uri", "source", "reason", "detail", "image_id", "size_bytes")


@dataclass
class Tally:
    """Counts taken while the tables were written; its size depends on the number of classes."""

    images: int = 0
    rejects: int = 0
    predictions: Counter[str] = field(default_factory=Counter)
    positive: Counter[str] = field(default_factory=Counter)
    cautions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def export_predictions(
    parts: Sequence[Path],
    target: Path,
    classes: Sequence[str],
    points: Sequence[DecisionPoint],
    *,
    tally: Tally,
    fence: float | None = None,
    heat_maps: bool = False,
) -> None:
    """Write ``predictions.csv``; holds one row group in memory.

    Args:
        parts: Parquet parts of ``predictions``.
        target: the CSV file.
        classes: in the order of the probabilities.
        points: one column of decisions for each.
        tally: receives the counts.
        fence: of the distances from the training images.
        heat_maps: write the columns of heat maps, too.
    """
    heat_columns = HEAT_COLUMNS if heat_maps else ()
    order = [(point, classes.index(point.positive_class)) for point in points]
    head = [
        *("uri", "image_id", "prediction"),
        *(f"probability_{name}" for name in classes),
        *(f"decision_{point.positive_class}" for point in points),
        *("cautions", "distance", "model_id"),
        *heat_columns,
    ]
    with target.open("w", encoding="utf-8", newline="") as file:
        write_row(file, head)
        for part in parts:
            for row in _rows(part, [*_PREDICTION_COLUMNS, *heat_columns]):
                probabilities = row["probability"]
                positive_by_class = {
                    p.positive_class: p.is_positive(probabilities[i]) for p, i in order
                }
                tally.images += 1
                tally.predictions[row["prediction"]] += 1
                tally.positive.update(
                    name for name, positive in positive_by_class.items() if positive
                )
                tally.cautions.update(cautions := row["cautions"] or [])
                distance = row["distance"]
                cells = [
                    *(row["uri"], row["image_id"], row["prediction"]),
                    *(f"{value:.6f}" for value in probabilities),
                    *(
                        "positive" if positive else "negative"
                        for positive in positive_by_class.values()
                    ),
                    "; ".join(sentence(caution, distance, fence) for caution in cautions),
                    *("" if distance is None else f"{distance:.4g}", row["model_id"]),
                    *(_heat_cell(row[name]) for name in heat_columns),
                ]
                write_row(file, cells)


def _heat_cell(value: str | float | None) -> str:
    return f"{value:.4f}" if isinstance(value, float) else value or ""


def export_rejects(parts: Iterable[Path], target: Path, tally: Tally) -> None:
    """Write ``rejects.csv``; holds one row group in memory.

    Args:
        parts: Parquet parts of ``rejects``.
        target: the CSV file.
        tally: receives the counts.
    """
    with target.open("w", encoding="utf-8", newline="") as file:
        write_row(file, _REJECT_COLUMNS)
        for part in parts:
            for row in _rows(part, list(_REJECT_COLUMNS)):
                tally.rejects += 1
                tally.reasons[row["reason"]] += 1
                write_row(file, (row[name] for name in _REJECT_COLUMNS))


def _rows(part: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(part) as file:
        batch: pa.RecordBatch
        for batch in file.iter_batches(limits.ROW_GROUP_ROWS, columns=columns):
            yield from batch.to_pylist()
