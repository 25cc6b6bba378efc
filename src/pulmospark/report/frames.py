"""Results as pandas DataFrames, for further analysis in Python."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pulmospark.evaluation.by_name import metrics_by_name
from pulmospark.evaluation.results import Evaluation
from pulmospark.inference.decision_point import DecisionPoint


def metrics_frame(evaluation: Evaluation) -> pd.DataFrame:
    """One row a metric, with its CI.

    Returns:
        Index ``metric``, named as in :func:`pulmospark.evaluation.by_name.metrics_by_name`;
        columns ``value``, ``low``, ``high`` (float64, NaN where not defined), ``ci_method``
        (text), ``numerator`` and ``denominator`` (Int64, missing where it is no proportion).
        ``attrs["confidence"]`` is the confidence of the CIs.
    """
    metrics = metrics_by_name(evaluation)
    columns = {
        "value": "float64",
        "low": "float64",
        "high": "float64",
        "ci_method": "object",
        "numerator": "Int64",
        "denominator": "Int64",
    }
    rows = [
        (row.value, row.low, row.high, row.method, row.numerator, row.denominator)
        for row in metrics.values()
    ]
    index = pd.Index(list(metrics), name="metric")
    frame = pd.DataFrame(rows, index=index, columns=list(columns)).astype(columns)
    frame.attrs["confidence"] = evaluation.confidence
    return frame


def predictions_frame(table: pa.Table, classes: Sequence[str]) -> pd.DataFrame:
    """A predictions table with a column for each class instead of one of lists.

    Args:
        table: rows of ``core.schemas.PREDICTIONS``.
        classes: in the order of its probabilities.

    Returns:
        The table's columns, where ``probability`` has become ``probability_CLASS`` (float64).
    """
    frame: pd.DataFrame = _by_class(table, classes).to_pandas()
    return frame


def scored_frame(
    predictions: pa.Table,
    rejects: pa.Table,
    classes: Sequence[str],
    points: Sequence[DecisionPoint],
) -> pd.DataFrame:
    """What a prediction says of each image or file: those scored first, then the rejects.

    Args:
        predictions: rows of ``core.schemas.PREDICTIONS``.
        rejects: rows of ``core.schemas.REJECTS``.
        classes: in the order of the probabilities.
        points: thresholds of the decisions.

    Returns:
        Columns ``uri``, ``image_id``, ``prediction``, ``probability_CLASS`` (float64),
        ``decision_CLASS`` ("positive" or "negative"), ``cautions`` (lists of text),
        ``distance`` (float64), and for rejects ``reject`` and ``reject_detail``; what a row does
        not have is missing.
    """
    scored = _by_class(predictions, classes)
    columns = ["uri", "image_id", "prediction", *(f"probability_{name}" for name in classes)]
    for point in points:
        chances = scored[f"probability_{point.positive_class}"]
        positive = pc.greater_equal(chances, point.threshold)
        columns.append(f"decision_{point.positive_class}")
        scored = scored.append_column(columns[-1], pc.if_else(positive, "positive", "negative"))
    columns += ["cautions", "distance"]
    refused = rejects.select(["uri", "image_id", "reason", "detail"])
    refused = refused.rename_columns(["uri", "image_id", "reject", "reject_detail"])
    both = [table.cast(_nullable(table.schema)) for table in (scored.select(columns), refused)]
    frame: pd.DataFrame = pa.concat_tables(both, promote_options="default").to_pandas()
    return frame


def _by_class(table: pa.Table, classes: Sequence[str]) -> pa.Table:
    place = table.schema.get_field_index("probability")
    chances = table["probability"]
    table = table.drop_columns(["probability"])
    for number, name in enumerate(classes):
        values = pc.list_element(chances, number)
        table = table.add_column(place + number, f"probability_{name}", values)
    return table


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])
