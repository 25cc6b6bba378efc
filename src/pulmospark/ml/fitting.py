"""The two ways to fit a classifier on a DataFrame of images; both return a network."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyspark.errors import PythonException
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name everyone knows it by
from pyspark.sql.pandas.functions import pandas_udf

from pulmospark.config.train import LogisticSettings, NetworkSettings
from pulmospark.core import limits, schemas
from pulmospark.core.errors import ClassError, InputError
from pulmospark.core.progress import Progress
from pulmospark.core.schemas import Split, View
from pulmospark.evaluation.calibration import fit_temperature
from pulmospark.imaging.phantom_mark import MARK_BYTES, is_marked
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.ml import columns, worker
from pulmospark.ml.image_reader import ImageReader, Kind
from pulmospark.ml.networks import feature_engine
from pulmospark.ml.storage import passing_folder
from pulmospark.models.zoo.logistic_head import head_as_regression, set_linear_head
from pulmospark.models.zoo.network import Network
from pulmospark.spark.paths import spark_path
from pulmospark.spark.session import slots
from pulmospark.training.distributed import threads_for, train_network
from pulmospark.training.feature_distance import TrainingDistance, statistics_of
from pulmospark.training.logistic_fit import UNTUNED_REG_PARAM, Head
from pulmospark.training.mllib_logistic import fit_logistic
from pulmospark.training.rank import RankPlan

INPUT, LABEL, VALIDATION, IMAGE = "input", "label", "validation", "image"
"""columns of the frames here: input, class index (double), validation flag, output"""

_MARKED_FILES = 32
"""files checked for the phantom mark: a data set holds only phantoms or none"""


@dataclass(frozen=True)
class Fitted:
    """Results of a fit, besides the network.

    Attributes:
        temperature: 1 without a validation set.
        images: training images per class.
        held_out: images in the validation set.
        distance: statistics of the training images' features; ``None``: too few images.
    """

    temperature: float
    images: Mapping[str, int]
    held_out: int
    distance: TrainingDistance | None = None


@contextlib.contextmanager
def worker_errors() -> Iterator[None]:
    """Re-raise a worker's error about an image without Spark's stack trace.

    Raises:
        InputError: an image cannot be read.
    """
    try:
        yield
    except PythonException as error:
        if match := re.search(r"pulmospark\.core\.errors\.InputError: (.+)", str(error)):
            raise InputError(match.group(1), detail=str(error)) from None
        raise


@contextlib.contextmanager
def deep_features(rows: DataFrame, reader: ImageReader, engine: EngineSpec) -> Iterator[DataFrame]:
    """``features`` (vector), ``label`` and ``validation`` of images, kept in memory.

    Args:
        rows: ``input``, ``uri``, ``label`` and ``validation``.
        reader: how it is read.
        engine: for features.
    """
    work = worker.featurizer(reader, engine)
    extended = columns.with_images(rows, INPUT, reader, work, kind="array<float>", target=IMAGE)
    features = columns.vector(F.col(IMAGE)).alias("features")
    # MLlib passes over the data about a hundred times, with one task per partition each.
    frame = (
        extended.select(features, LABEL, VALIDATION).coalesce(slots(rows.sparkSession)).persist()
    )
    try:
        yield frame
    finally:
        frame.unpersist()


def fit_head(
    network: Network,
    frame: DataFrame,
    names: tuple[str, ...],
    settings: LogisticSettings,
    uid: str,
) -> Fitted:
    """Fit a logistic regression on deep features and write it into a network's head.

    Args:
        network: changed in place.
        frame: from :func:`deep_features`.
        names: the classes, in the order of the index.
        settings: of the regression.
        uid: of the estimator, for messages.

    Raises:
        ClassError: a class has no training images.
    """
    training = frame.where(~F.col(VALIDATION))
    counts = _counted(training, names, uid)
    reg_param = UNTUNED_REG_PARAM if settings.reg_param is None else settings.reg_param
    rows = training.select("features", LABEL)
    head: Head = fit_logistic(rows, uid, names, settings, reg_param).head
    set_linear_head(network, head.weights, head.bias)
    linear = linear_head(network)
    score = pandas_udf(worker.head_scorer(linear), "array<double>")  # type: ignore[call-overload]
    held = frame.where(VALIDATION).select(
        score(vector_to_array(F.col("features"), "float32")).alias("raw"), LABEL
    )
    temperature, count = _temperature(held)
    return Fitted(temperature, counts, count, _distance(training))


def _distance(training: DataFrame) -> TrainingDistance | None:
    """Statistics of the features of training images, or of a sample if there are many.

    A DataFrame does not identify patients: each image counts as its own.
    """
    rows = training.select(vector_to_array(F.col("features"), "float32").alias("features"))
    ordered = rows.orderBy(F.xxhash64("features")).limit(limits.DISTANCE_IMAGES_MAX).collect()
    features = np.asarray([row["features"] for row in ordered], np.float32)
    return statistics_of(features, np.arange(len(features)))


def are_phantoms(data: DataFrame, name: str, kind: Kind) -> bool:
    """Whether images are phantoms, from the marks in a few files or an images table's column.

    Args:
        data: the images.
        name: of their column.
        kind: what it holds.
    """
    if "phantom" in data.columns:
        return not data.where(F.col("phantom").cast("boolean")).isEmpty()
    if kind != "bytes":
        return False
    heads = data.select(F.substring(columns.column(name), 1, MARK_BYTES).alias("head"))
    rows = heads.where(F.col("head").isNotNull()).limit(_MARKED_FILES).collect()
    return any(is_marked(bytes(row["head"])) for row in rows)


def linear_head(network: Network, temperature: float = 1.0) -> worker.LinearHead:
    """A network's head for the workers."""
    weights, bias = (values.tolist() for values in head_as_regression(network))
    return worker.LinearHead(tuple(map(tuple, weights)), tuple(bias), temperature)


@dataclass(frozen=True)
class NetworkPlan:
    """How a network is trained.

    Attributes:
        names: the classes, in the order of the index.
        reader: how images are read.
        settings: of the training.
        work: folder that every worker sees.
        processes: number of training processes.
        seed: of the order of the images and of dropout.
        uid: of the estimator, for messages.
    """

    names: tuple[str, ...]
    reader: ImageReader
    settings: NetworkSettings
    work: Path
    processes: int
    seed: int
    uid: str


def fit_network(network: Network, rows: DataFrame, plan: NetworkPlan) -> Fitted:
    """Train the network itself through TorchDistributor.

    The standard images are written to a temporary table, which the training processes read.

    Args:
        network: changed in place.
        rows: ``input``, ``uri``, ``label`` and ``validation``.
        plan: how.

    Raises:
        ClassError: a class has no training images.
        UsageError: more processes than the session has slots.
        TrainingError: a process failed.
    """
    spark, size = rows.sparkSession, plan.reader.size
    with passing_folder(plan.work) as folder:
        images = _stage(rows, plan.reader, folder)
        counts = _counted(images.where(~F.col(VALIDATION)), plan.names, plan.uid)
        _write_cohort(images, folder / "cohort", plan.names)
        rank_plan = RankPlan(
            model=network.name,
            classes=plan.names,
            images=folder / "images",
            cohort=folder / "cohort",
            fold=None,
            size=size,
            settings=plan.settings,
            seed=plan.seed,
            threads=threads_for(plan.processes, spark),
            folder=folder / "training",
        )
        with Progress("train", 0, "steps", quiet=True) as progress:
            train_network(network, rank_plan, spark, processes=plan.processes, progress=progress)
        network.eval()
        reader = ImageReader("pixels", plan.reader.settings, "error")
        engine = feature_engine(network, plan.work, size)
        distance = _network_distance(images, reader, engine)
        held = images.where(VALIDATION)
        if held.isEmpty():
            return Fitted(1.0, counts, 0, distance)
        scorer = worker.scorer(reader, engine, linear_head(network))
        scored = columns.with_images(
            held, "pixels", reader, scorer, kind=worker.SCORED, target=IMAGE
        )
        temperature, count = _temperature(scored.select(F.col(IMAGE)["raw"].alias("raw"), LABEL))
        return Fitted(temperature, counts, count, distance)


def _network_distance(
    images: DataFrame, reader: ImageReader, engine: EngineSpec
) -> TrainingDistance | None:
    """Statistics of the features of a fine-tuned network."""
    parts = []
    for rows in (images.where(~F.col(VALIDATION)), images.where(VALIDATION)):
        few = rows.orderBy(F.xxhash64("pixels")).limit(limits.DISTANCE_IMAGES_MAX)
        work = worker.featurizer(reader, engine)
        frame = columns.with_images(few, "pixels", reader, work, kind="array<float>", target=IMAGE)
        parts.append(np.asarray([row[IMAGE] for row in frame.select(IMAGE).collect()], np.float32))
    fitted, held = parts
    return statistics_of(fitted, np.arange(len(fitted)), held)


def _stage(rows: DataFrame, reader: ImageReader, folder: Path) -> DataFrame:
    """Write the standard images as an images table's columns ``uri`` and ``pixels``."""
    work = worker.standardiser(reader)
    standard = columns.with_images(rows, INPUT, reader, work, kind="binary", target=IMAGE)
    # Named by content, so that the order of the images, which assigns them to processes, does not
    # depend on the DataFrame's partitions; the number distinguishes duplicates.
    uri = F.concat_ws("-", F.sha2(F.col(IMAGE), 256), F.monotonically_increasing_id())
    target = spark_path(folder / "images")
    standard.select(
        uri.alias("uri"), F.col(IMAGE).alias("pixels"), LABEL, VALIDATION
    ).write.parquet(target, compression="none")
    return rows.sparkSession.read.parquet(target)


def _write_cohort(images: DataFrame, cohort: Path, names: tuple[str, ...]) -> None:
    names_array = F.array(*[F.lit(name) for name in names])
    split = F.when(F.col(VALIDATION), Split.VALIDATION.value).otherwise(Split.TRAIN.value)
    values = {
        "image_id": F.col("uri"),
        "uri": F.col("uri"),
        "source": F.lit("dataframe"),
        "group_id": F.col("uri"),
        "label": names_array[F.col(LABEL).cast("int")],
        "view": F.lit(View.UNKNOWN.value),
        "split": split,
    }
    kinds = {"float": "float", "int32": "int"}
    chosen = [
        values.get(field.name, F.lit(None).cast(kinds.get(str(field.type), "string"))).alias(
            field.name
        )
        for field in schemas.COHORT
    ]
    images.select(*chosen).coalesce(1).write.parquet(spark_path(cohort / "table"))


def _counted(frame: DataFrame, names: tuple[str, ...], uid: str) -> dict[str, int]:
    rows = frame.groupBy(LABEL).count().collect()
    counts = {names[int(row[LABEL])]: int(row["count"]) for row in rows}
    if missing := [name for name in names if name not in counts]:
        raise ClassError(
            f"{uid}: no training images of {', '.join(map(repr, missing))}: add images, or "
            f"drop the "
            "class"
        )
    return {name: counts[name] for name in names}


def _temperature(held: DataFrame) -> tuple[float, int]:
    """Temperature from validation rows (``raw``, ``label``), and their number."""
    rows = held.limit(limits.EVALUATION_ROWS_MAX).collect()
    if not rows:
        return 1.0, 0
    raw = np.asarray([row["raw"] for row in rows], dtype=np.float64)
    labels = np.asarray([row[LABEL] for row in rows], dtype=np.int64)
    return fit_temperature(raw, labels), len(rows)
