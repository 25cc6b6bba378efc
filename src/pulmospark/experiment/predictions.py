"""Predictions of an experiment: each image by the model that it tested."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the name everyone knows it by
from pyspark.sql.types import DoubleType

from pulmospark.core import schemas
from pulmospark.core.schemas import Split
from pulmospark.spark.paths import spark_path

_SPARK = {"string": "string", "int32": "int", "float": "float"}
"""Arrow's types of the cohort -> Spark's"""


def tested_images(
    spark: SparkSession,
    cohort: Path,
    scores: Path,
    *,
    classes: tuple[str, ...],
    temperatures: Mapping[str, float],
    model_id: str,
) -> DataFrame:
    """The predictions table of the tested images.

    With folds, its own fold's model predicts each image; otherwise the final model predicts the
    test split.

    Args:
        spark: the session.
        cohort: folder of the cohort.
        scores: the scores table.
        classes: in the order of the logits.
        temperatures: model -> temperature.
        model_id: of the bundle.
    """
    # With its schema, because an older version's cohort has fewer columns.
    schema = ", ".join(f"`{field.name}` {_SPARK[str(field.type)]}" for field in schemas.COHORT)
    rows = spark.read.schema(schema).parquet(spark_path(cohort / "table")).where("reason is null")
    by_fold = F.concat(F.lit("fold-"), F.col("fold").cast("string"))
    tested = rows.where((F.col("split") == Split.TEST.value) | F.col("fold").isNotNull())
    tested = tested.withColumn("model", F.coalesce(by_fold, F.lit("final"))).drop("image_id")
    images = spark.read.parquet(spark_path(scores)).join(tested, ["uri", "model"])
    known = F.create_map([F.lit(x) for pair in sorted(temperatures.items()) for x in pair])
    probability = softmax("logits", known[F.col("model")])
    images = images.withColumn("probability", probability)
    place = F.array_position("probability", F.array_max("probability")).cast("int")
    names = F.array(*[F.lit(name) for name in classes])
    return images.withColumns(
        {
            "prediction": F.element_at(names, place),
            "cautions": F.lit(None).cast("array<string>"),
            "distance": F.lit(None).cast("double"),
            "model_id": F.lit(model_id),
            "predicted_at": F.current_timestamp(),
            "heat_map": F.lit(None).cast("string"),
            "outside_lungs": F.lit(None).cast("double"),
            "hottest_tenth": F.lit(None).cast("string"),
            "size_bytes": F.lit(None).cast("bigint"),
            "modified_ns": F.lit(None).cast("bigint"),
        }
    ).select(schemas.PREDICTIONS.names)


def softmax(logits: str, temperature: Column) -> Column:
    """Softmax of an array column divided by a temperature; subtracts the maximum first."""
    scaled = F.transform(logits, lambda x: x / temperature)
    powers = F.transform(scaled, lambda x: F.exp(x - F.array_max(scaled)))
    total = F.aggregate(powers, F.lit(0.0).cast(DoubleType()), lambda a, b: a + b)
    return F.transform(powers, lambda x: x / total)
