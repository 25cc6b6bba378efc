"""From a DataFrame's schema to the columns that workers read, and back to new columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.ml.functions import array_to_vector
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name everyone knows it by
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import BinaryType, StructType

from pulmospark.core.errors import UsageError
from pulmospark.ml.films import FilmReader, Kind
from pulmospark.ml.worker import OnColumns

_IMAGE_FIELDS = ("data", "height", "width", "nChannels", "mode")
_NAME_COLUMNS = ("uri", "path")
"""columns that say, in an error, which file a row came from"""


def column(name: str) -> Column:
    """A top-level column by its name, dots and backticks included."""
    return F.col("`" + name.replace("`", "``") + "`")


def need(data: DataFrame, name: str, param: str) -> None:
    """Check that a column is there.

    Raises:
        UsageError: it is not.
    """
    if name not in data.columns:
        raise UsageError(
            f"{param} is {name!r}, and the columns are {', '.join(data.columns) or 'none'}: "
            f"set {param}"
        )


def free(data: DataFrame, names: Mapping[str, str]) -> None:
    """Check that new columns do not stand in the DataFrame already, nor have one name.

    Args:
        data: the DataFrame.
        names: param -> column; an empty name is no column.

    Raises:
        UsageError: a column is there, or two params name the same.
    """
    taken = dict.fromkeys(data.columns, "the DataFrame has it")
    for param, name in names.items():
        if not name:
            continue
        if name in taken:
            raise UsageError(f"{param} is {name!r}, and {taken[name]}: choose another name")
        taken[name] = f"{param} is the same"


def input_kind(data: DataFrame, name: str, told: str) -> Kind:
    """What the input column holds; ``auto`` is told from the schema.

    Args:
        data: the DataFrame.
        name: of the input column.
        told: inputKind.

    Raises:
        UsageError: the column is missing, or of a type that holds no films.
    """
    need(data, name, "inputCol")
    kind = data.schema[name].dataType
    if isinstance(kind, StructType) and {*_IMAGE_FIELDS} <= {*kind.names}:
        found: Kind = "image"
    elif isinstance(kind, BinaryType):
        found = "pixels" if told == "pixels" or (told, name) == ("auto", "pixels") else "bytes"
    else:
        raise UsageError(
            f"inputCol {name!r} is {kind.simpleString()}: give binary (files, or pixels) or "
            "Spark's image struct; files are read with spark.read.format('binaryFile')"
        )
    if told not in ("auto", found):
        raise UsageError(
            f"inputKind is {told!r}, and inputCol {name!r} is {kind.simpleString()}: set "
            "inputKind to 'auto'"
        )
    return found


def cells(data: DataFrame, name: str, reader: FilmReader) -> list[Column]:
    """The columns that :meth:`pulmospark.ml.films.FilmReader.read` takes."""
    given = column(name)
    if reader.kind == "image":
        return [given.getField(field) for field in ("origin", *_IMAGE_FIELDS)]
    return [row_name(data), given]


def row_name(data: DataFrame) -> Column:
    """The column that says which file a row came from, null where there is none."""
    named = next((known for known in _NAME_COLUMNS if _is_text(data, known)), None)
    return column(named) if named else F.lit(None).cast("string")


def with_films(
    data: DataFrame, name: str, reader: FilmReader, work: OnColumns, *, kind: str, target: str
) -> DataFrame:
    """Add the column ``target`` that workers make of the input column.

    Args:
        data: the DataFrame; its other columns stay as they are.
        name: of the input column.
        reader: how the workers read it.
        work: a function of :mod:`pulmospark.ml.worker`.
        kind: of ``target``, in SQL's words.
        target: a name that is free; null where a row is no film, or that row is left out.
    """
    function: Any = pandas_udf(work, kind)  # type: ignore[call-overload]
    if reader.invalid == "skip":
        # Else Spark would push the filter below the function, and run it twice.
        function = function.asNondeterministic()
    made = data.withColumn(target, function(*cells(data, name, reader)))
    if reader.invalid != "skip":
        return made
    present = column(target)
    if isinstance(made.schema[target].dataType, StructType):
        present = present.getField("prediction")
    return made.where(present.isNotNull())


def vector(values: Column) -> Column:
    """An array as MLlib's vector; null stays null."""
    return F.when(values.isNotNull(), array_to_vector(values))


def nominal(name: str, labels: Sequence[str]) -> dict[str, Any]:
    """Metadata that tell MLlib (IndexToString, say) the names behind an index."""
    return {"ml_attr": {"type": "nominal", "name": name, "vals": list(labels)}}


def _is_text(data: DataFrame, name: str) -> bool:
    return name in data.columns and data.schema[name].dataType.simpleString() == "string"
