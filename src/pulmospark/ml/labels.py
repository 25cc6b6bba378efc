"""The classes of a label column, and the class index for Spark ML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name everyone knows it by
from pyspark.sql.types import BooleanType, NumericType, StringType

from pulmospark.core import limits
from pulmospark.core.errors import ClassError, UsageError
from pulmospark.ml import columns


@dataclass(frozen=True)
class Labels:
    """The classes of a DataFrame.

    Attributes:
        names: in the order of the index.
        index: each row's class, double.
    """

    names: tuple[str, ...]
    index: Column


def find_labels(data: DataFrame, name: str, classes: Sequence[str] = ()) -> Labels:
    """Find the classes of a label column.

    A string column holds class names; the classes are ``classes``, else the names in
    alphabetical order. A numeric column holds the index, as with Spark's classifiers; the
    names are ``classes``, else those that StringIndexer stored in the column's metadata, else
    the numbers up to the highest.

    Args:
        data: the rows to train on.
        name: of the label column.
        classes: names in order; empty: see above.

    Raises:
        UsageError: the column is missing or of another type.
        ClassError: a label is null, unknown or not an index, or there are fewer than two classes
            or too many.
    """
    columns.need(data, name, "labelCol")
    given = columns.column(name)
    kind = data.schema[name].dataType
    if not isinstance(kind, (StringType, NumericType, BooleanType)):
        raise UsageError(
            f"labelCol {name!r} is {kind.simpleString()}: it must hold class names or a class "
            "index"
        )
    most = limits.CLASSES_MAX
    rows = data.groupBy(given.alias("label")).count().limit(most + 2).collect()
    counts = {row["label"]: row["count"] for row in rows}
    if not counts:
        raise ClassError("no rows to train on: the DataFrame is empty")
    if None in counts:
        raise ClassError(f"labelCol {name!r} is null in {counts[None]} rows: drop them")
    if len(counts) > most:
        raise ClassError(f"labelCol {name!r} has over {most} values: choose a column of classes")
    if isinstance(kind, StringType):
        names = tuple(classes or sorted(counts))
        _check_known(name, counts, set(names), names)
        table = [F.lit(x) for pair in enumerate(names) for x in (pair[1], float(pair[0]))]
        index = F.create_map(table)[given]
    else:
        vals = data.schema[name].metadata.get("ml_attr", {}).get("vals", ())
        names = tuple(classes or vals or map(str, range(_highest(name, counts) + 1)))
        _check_known(name, counts, set(range(len(names))), names)
        index = given.cast("double")
    if len(names) < 2:
        raise ClassError(
            f"labelCol {name!r} has only one class, {names[0]!r}: at least two are needed"
        )
    return Labels(names, index)


def _highest(name: str, counts: dict[Any, int]) -> int:
    try:
        highest = int(max(counts))
    except (ValueError, OverflowError):  # not a number, or infinite
        highest = -1
    if not 0 <= highest < limits.CLASSES_MAX:
        raise ClassError(
            f"labelCol {name!r} goes up to {max(counts)}: use an index from 0 to "
            f"{limits.CLASSES_MAX - 1}, or class names"
        )
    return highest


def _check_known(
    name: str, counts: dict[Any, int], known: set[Any], names: tuple[str, ...]
) -> None:
    for label in sorted(counts.keys() - known, key=str):
        raise ClassError(
            f"labelCol {name!r} has {label!r} in {counts[label]} rows, but the classes are "
            f"{', '.join(names)}: drop these rows, or set classes"
        )
