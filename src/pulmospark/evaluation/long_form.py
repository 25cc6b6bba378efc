"""Evaluations in long form: each metric of each class as a row, for tables and CSV files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from pulmospark.core.result_schemas import METRICS, ResultOf
from pulmospark.evaluation import registry
from pulmospark.evaluation.registry import Metric, Scale
from pulmospark.evaluation.results import Evaluation, Figure

Subject = Literal["model", "operating_point", "baseline"]
"""what a metric is of: the most probable class, the threshold on one class, or a rule that sees no
image"""

UNITS: dict[Scale, str] = {"percent": "fraction", "number": "number"}
"""scale of the reports -> unit of a table's values"""

_NO_THRESHOLD = "no operating point was chosen"
_NO_BASELINE = "no image was tested, or the training set was empty"


@dataclass(frozen=True)
class MetricEntry:
    """One metric of an evaluation.

    Attributes:
        subject: what it is of.
        class_name: the class against the rest; ``None``: over all classes.
        name: of the metric.
        figure: its value and CI.
        unit: of the value: ``fraction`` (0 to 1) or ``number``.
        undefined: when such a metric has no value.
    """

    subject: Subject
    class_name: str | None
    name: str
    figure: Figure
    unit: str
    undefined: str


@dataclass(frozen=True)
class Evaluated:
    """An evaluation, and what it is of.

    Attributes:
        level: ``image``, ``scan`` or ``patient``.
        fold: from 0; ``None``: all that was tested.
        evaluation: its metrics.
    """

    level: str
    fold: int | None
    evaluation: Evaluation


def metric_entries(evaluation: Evaluation) -> Iterator[MetricEntry]:
    """Every metric of an evaluation: over all classes, of each, at the operating point, baselines.

    Args:
        evaluation: the evaluation.

    Yields:
        Those without a value, too.
    """
    for metric in registry.overall():
        yield _entry("model", None, metric, metric.of(evaluation))
    for of_class in evaluation.by_class:
        for metric in registry.of_class():
            yield _entry("model", of_class.name, metric, metric.of(of_class))
    if (operating := evaluation.operating) is not None:
        positive = operating.point.positive_class
        threshold = Figure(value=operating.point.threshold)
        yield MetricEntry(
            "operating_point", positive, "threshold", threshold, "fraction", _NO_THRESHOLD
        )
        for metric in registry.of_decisions():
            yield _entry("operating_point", positive, metric, metric.of(operating))
    if evaluation.trivial is not None:
        for name in registry.BASELINES:  # both are accuracies
            figure = getattr(evaluation.trivial, name)
            yield MetricEntry("baseline", None, name, figure, "fraction", _NO_BASELINE)


def metrics_table(
    sets: Iterable[Evaluated], result_of: ResultOf, *, model_id: str, model: str
) -> pa.Table:
    """The metrics of evaluations as a table.

    Args:
        sets: of one model on one cohort: its levels and folds.
        result_of: what they belong to.
        model_id: of the bundle.
        model: the network's name.

    Returns:
        ``core.result_schemas.METRICS``: a row per metric, class, level and fold, in that order of
        sets.
    """
    known = {
        **result_of.columns(),
        "model_id": model_id,
        "model": model,
        "evaluated_at": result_of.at,
    }
    rows = [
        {**known, "level": of.level, "fold": of.fold, **_row(entry, of.evaluation)}
        for of in sets
        for entry in metric_entries(of.evaluation)
    ]
    return pa.Table.from_pylist(rows, schema=METRICS)


def _entry(
    subject: Subject, class_name: str | None, metric: Metric, figure: Figure
) -> MetricEntry:
    unit = UNITS[metric.scale]
    return MetricEntry(subject, class_name, metric.name, figure, unit, metric.undefined)


def _row(entry: MetricEntry, evaluation: Evaluation) -> dict[str, Any]:
    figure = entry.figure
    supports = {of_class.name: of_class.support for of_class in evaluation.by_class}
    # Computed by no older version: the note says so, and the class may well have images.
    missing = registry.NOT_COMPUTED if figure.note == registry.NOT_COMPUTED else entry.undefined
    return {
        "subject": entry.subject,
        "class_name": entry.class_name,
        "metric": entry.name,
        "value": figure.value,
        "low": figure.low,
        "high": figure.high,
        "confidence": None if figure.low is None else evaluation.confidence,
        "ci_method": figure.method,
        "unit": entry.unit,
        "undefined": missing if figure.value is None else None,
        "note": figure.note,
        "n": evaluation.images,
        "support": None if entry.class_name is None else supports.get(entry.class_name),
        "numerator": figure.numerator,
        "denominator": figure.denominator,
        "effective_n": figure.effective,
        "groups": figure.groups,
    }
