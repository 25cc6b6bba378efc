"""Predictions and rejects as CSV."""

from __future__ import annotations

import contextlib
from typing import TextIO

from pulmospark.core.csv_files import write_row
from pulmospark.inference.batch.cautions import sentence
from pulmospark.inference.batch.sinks.base import Output, ResultSink, Row
from pulmospark.inference.explain.files import COLUMNS as HEAT_COLUMNS

_REJECT_COLUMNS = ("uri", "source", "reason", "detail", "image_id", "size_bytes")


class CsvSink(ResultSink):
    """Writes ``predictions.csv`` and ``rejects.csv``, row by row."""

    name = "csv"

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()

    def begin(self, output: Output) -> None:
        """Write the headings."""
        self._output = output
        self._heat_columns = HEAT_COLUMNS if output.heat_maps else ()
        self._places = [output.classes.index(point.positive_class) for point in output.points]
        self._predictions, self._rejects = self._file("predictions"), self._file("rejects")
        head = [
            *("uri", "image_id", "prediction"),
            *(f"probability_{name}" for name in output.classes),
            *(f"decision_{point.positive_class}" for point in output.points),
            *("cautions", "distance", "model_id"),
            *self._heat_columns,
        ]
        write_row(self._predictions, head)
        write_row(self._rejects, _REJECT_COLUMNS)

    def prediction(self, row: Row) -> None:
        """Probabilities have six digits, a decision is ``positive`` or ``negative``."""
        output, distance = self._output, row["distance"]
        probabilities = row["probability"]
        decided = zip(output.points, self._places, strict=True)
        positive = [point.is_positive(probabilities[place]) for point, place in decided]
        cautions = row["cautions"] or []
        cells = [
            *(row["uri"], row["image_id"], row["prediction"]),
            *(f"{value:.6f}" for value in probabilities),
            *("positive" if each else "negative" for each in positive),
            "; ".join(sentence(caution, distance, output.fence) for caution in cautions),
            *("" if distance is None else f"{distance:.4g}", row["model_id"]),
            *(_heat_cell(row[name]) for name in self._heat_columns),
        ]
        write_row(self._predictions, cells)

    def reject(self, row: Row) -> None:
        """The reason and its detail."""
        write_row(self._rejects, (row[name] for name in _REJECT_COLUMNS))

    def close(self) -> None:
        """Close both files."""
        self._open.close()

    def _file(self, table: str) -> TextIO:
        path = self._output.folder / f"{table}.csv"
        return self._open.enter_context(path.open("w", encoding="utf-8", newline=""))


def _heat_cell(value: str | float | None) -> str:
    return f"{value:.4f}" if isinstance(value, float) else value or ""
