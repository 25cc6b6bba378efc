"""Spark MLlib's logistic regression on deep features, as in the published Spark papers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import array_to_vector
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the name everyone knows it by

from pulmospark.chunks.parquet_files import Place
from pulmospark.chunks.parts import read_parts
from pulmospark.config.train import LogisticSettings
from pulmospark.core.schemas import Split
from pulmospark.data.expand.table import TABLE
from pulmospark.spark.paths import spark_path
from pulmospark.spark.session import slots
from pulmospark.store.uri import StoreUri, parse_uri
from pulmospark.training.logistic_fit import Head, LogisticFit, check_classes


@contextmanager
def feature_frame(
    spark: SparkSession,
    features: Sequence[Place],
    cohort: Path,
    classes: tuple[str, ...],
    *,
    expanded: Path | None = None,
) -> Iterator[DataFrame]:
    """The features of a cohort, in memory: ``features`` (vector), ``label``, ``split``, ``fold``.

    Args:
        spark: the session.
        features: the features table's parts, including augmented copies; in a store where that
            is all that executors share with the driver.
        cohort: folder of the cohort.
        classes: names in the order of the labels.
        expanded: folder of an expansion, whose augmented copies are in the split and fold of
            their parents; ``None``: no expansion.
    """
    index = F.create_map(
        [F.lit(x) for pair in enumerate(classes) for x in (pair[1], float(pair[0]))]
    )
    selected: list[Column | str] = ["uri", index[F.col("label")].alias("label"), "split", "fold"]
    stored = [part for part in features if isinstance(part, StoreUri)]
    table = _sent if stored else _mounted
    rows = table(spark, cohort / "table", "reason").where("reason is null").select(*selected)
    if expanded is not None:
        copies = table(spark, expanded / TABLE, "draw").where("draw > 0")
        rows = rows.unionByName(copies.select(*selected))
    here = [spark_path(part) for part in features if isinstance(part, Path)]
    frame = (
        (_read_by_workers(spark, stored) if stored else spark.read.parquet(*here))
        .select("uri", array_to_vector(F.col("features")).alias("features"))
        .join(rows, "uri")
        # One partition per slot: every pass costs a task for each. Sorted, because floating-point
        # sums depend on the order.
        .repartitionByRange(slots(spark), "uri")
        .sortWithinPartitions("uri")
        .persist()
    )
    try:
        yield frame
    finally:
        frame.unpersist()


def _mounted(spark: SparkSession, table: Path, column: str) -> DataFrame:
    """A table that executors see under its path."""
    del column
    return spark.read.parquet(spark_path(table))


def _sent(spark: SparkSession, table: Path, column: str) -> DataFrame:
    """The columns of a table of the driver's that a fit needs, and one more."""
    rows = pq.read_table(table, columns=["uri", "label", "split", "fold", column])
    return spark.createDataFrame(rows)


def _read_by_workers(spark: SparkSession, parts: Sequence[StoreUri]) -> DataFrame:
    """Features of parts in a store, for which Spark itself needs jars."""
    paths = spark.createDataFrame([(str(part),) for part in parts], "path string")
    return paths.repartition(slots(spark)).mapInArrow(
        _feature_batches, "uri string, features array<float>"
    )


def _feature_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        places = [parse_uri(path) for path in batch.column(0).to_pylist()]
        for _, rows in read_parts(places, ["uri", "features"]):
            yield from rows.to_batches()


def part_filter(names: tuple[Split, ...], fold: int | None) -> str:
    """SQL condition for the training splits of a fold (``None``: of the single split)."""
    inside = "split in (" + ", ".join(f"'{name.value}'" for name in names) + ")"
    return inside if fold is None else f"{inside} and fold <> {int(fold)}"


def fit_logistic(
    frame: DataFrame,
    name: str,
    classes: tuple[str, ...],
    settings: LogisticSettings,
    reg_param: float,
) -> LogisticFit:
    """Fit a multinomial logistic regression.

    MLlib standardises features internally by default and returns coefficients on the original
    scale, so they can be copied into a linear layer.

    Args:
        frame: ``features`` (vector) and ``label`` (double) of the images to train on.
        name: of the model.
        classes: names in the order of the labels.
        settings: maxIter and elasticNetParam.
        reg_param: regParam.

    Raises:
        ClassError: a class has no training images.
    """
    started = time.perf_counter()
    counts = {int(row["label"]): row["count"] for row in frame.groupBy("label").count().collect()}
    check_classes(name, classes, counts)
    model = LogisticRegression(
        featuresCol="features",
        labelCol="label",
        family="multinomial",
        maxIter=settings.max_iter,
        regParam=reg_param,
        elasticNetParam=settings.elastic_net_param,
    ).fit(frame)
    head = Head(name, model.coefficientMatrix.toArray(), model.interceptVector.toArray())
    history = tuple(float(value) for value in model.summary.objectiveHistory)
    seconds = time.perf_counter() - started
    return LogisticFit(head, sum(counts.values()), history, seconds)
