"""Input columns of a DataFrame for the workers, and the columns that they add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.ml.functions import array_to_vector
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name everyone knows it by
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import BinaryType, StructType

from pulmospark.core.errors import UsageError
from pulmospark.ml.image_reader import ImageReader, Kind
from pulmospark.ml.worker import OnColumns

_IMAGE_FIELDS = ("data", "height", "width", "nChannels", "mode")
_NAME_COLUMNS = ("uri", "path")
"""columns that name the file of a row in error messages"""


def column(name: str) -> Column:
    """A top-level column by its name, dots and backticks included."""
    return F.col("`" + name.replace("`", "``") + "`")


def need(data: DataFrame, name: str, param: str) -> None:
    """Check that a column exists.

    Raises:
        UsageError: it does not.
    """
    if name not in data.columns:
        raise UsageError(
            f"{param} is {name!r}, but the columns are {', '.join(data.columns) or 'none'}: "
            f"set {param}"
        )


def free(data: DataFrame, names: Mapping[str, str]) -> None:
    """Check that new columns have distinct names that the DataFrame does not use.

    Args:
        data: the DataFrame.
        names: param -> column; an empty name means no column.

    Raises:
        UsageError: a name is taken.
    """
    taken = dict.fromkeys(data.columns, "the DataFrame already has that column")
    for param, name in names.items():
        if not name:
            continue
        if name in taken:
            raise UsageError(f"{param} is {name!r}, but {taken[name]}: choose another name")
        taken[name] = f"{param} has the same name"


def input_kind(data: DataFrame, name: str, requested: str) -> Kind:
    """What the input column holds; ``auto`` is inferred from the schema.

    Args:
        data: the DataFrame.
        name: of the input column.
        requested: inputKind.

    Raises:
        UsageError: the column is missing, or its type cannot hold images.
    """
    need(data, name, "inputCol")
    kind = data.schema[name].dataType
    if isinstance(kind, StructType) and {*_IMAGE_FIELDS} <= {*kind.names}:
        detected: Kind = "image"
    elif isinstance(kind, BinaryType):
        is_pixels = requested == "pixels" or (requested, name) == ("auto", "pixels")
        detected = "pixels" if is_pixels else "bytes"
    else:
        raise UsageError(
            f"inputCol {name!r} is {kind.simpleString()}: it must be binary (files, or pixels) or "
            "Spark's image struct; read files with spark.read.format('binaryFile')"
        )
    if requested not in ("auto", detected):
        raise UsageError(
            f"inputKind is {requested!r}, but inputCol {name!r} is {kind.simpleString()}: set "
            "inputKind to 'auto'"
        )
    return detected


def cells(data: DataFrame, name: str, reader: ImageReader) -> list[Column]:
    """The columns that :meth:`pulmospark.ml.image_reader.ImageReader.read` takes."""
    given = column(name)
    if reader.kind == "image":
        return [given.getField(field) for field in ("origin", *_IMAGE_FIELDS)]
    return [row_name(data), given]


def row_name(data: DataFrame) -> Column:
    """The column that names the file of a row, null if there is none."""
    named = next((known for known in _NAME_COLUMNS if _is_text(data, known)), None)
    return column(named) if named else F.lit(None).cast("string")


def with_images(
    data: DataFrame, name: str, reader: ImageReader, work: OnColumns, *, kind: str, target: str
) -> DataFrame:
    """Add the column ``target``, which workers compute from the input column.

    Args:
        data: the DataFrame; its other columns are unchanged.
        name: of the input column.
        reader: how the workers read it.
        work: a function of :mod:`pulmospark.ml.worker`.
        kind: SQL type of ``target``.
        target: an unused name; rows that are not images have null, or are dropped.
    """
    function: Any = pandas_udf(work, kind)  # type: ignore[call-overload]
    if reader.invalid == "skip":
        # Otherwise Spark would push the filter below the function and run it twice.
        function = function.asNondeterministic()
    extended = data.withColumn(target, function(*cells(data, name, reader)))
    if reader.invalid != "skip":
        return extended
    present = column(target)
    if isinstance(extended.schema[target].dataType, StructType):
        present = present.getField("prediction")
    return extended.where(present.isNotNull())


def vector(values: Column) -> Column:
    """An array as MLlib's vector; null stays null."""
    return F.when(values.isNotNull(), array_to_vector(values))


def nominal(name: str, labels: Sequence[str]) -> dict[str, Any]:
    """Metadata with the class names of an index, for MLlib (IndexToString, say)."""
    return {"ml_attr": {"type": "nominal", "name": name, "vals": list(labels)}}


def _is_text(data: DataFrame, name: str) -> bool:
    return name in data.columns and data.schema[name].dataType.simpleString() == "string"
