"""Split: who is trained on, who is tested on, and who is left out and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812 - the name everyone knows it by

from pulmospark.core import files, tables
from pulmospark.core.errors import InputError
from pulmospark.core.provenance import provenance
from pulmospark.core.settings import SplitSettings
from pulmospark.core.tables import Split
from pulmospark.data.classes import map_findings
from pulmospark.data.cleaning import balanced, with_copies
from pulmospark.data.ingest import IngestResult
from pulmospark.data.split_summary import SplitResult, check_classes, summary
from pulmospark.spark.chunks import parts_of
from pulmospark.spark.paths import spark_path

_GOLDEN = 0.6180339887498949
"""Fraction of the golden ratio: the multiples of it, modulo 1, are spread more evenly than
those of any other number, in every stretch of them (Weyl's sequence; Knuth, TAOCP 3, 6.4)."""


def split(
    ingested: IngestResult,
    classes: Mapping[str, Sequence[str]],
    settings: SplitSettings,
    target: Path,
    spark: SparkSession,
    *,
    seed: int,
    copies: pa.Table | None = None,
) -> SplitResult:
    """Make the cohort table: one row an image, with its class and its part.

    A patient is never parted; where no patient is known a film stands for itself. Parts are
    stratified by class and source, and follow from the seed and the ids alone, whatever the
    order of the rows.

    Args:
        ingested: the images, and what findings they have.
        classes: class -> findings, as :func:`pulmospark.data.classes.map_findings` takes them.
        settings: shares or folds, and the views that take part.
        target: folder of the cohort table.
        spark: the session.
        seed: of the assignment.
        copies: where ``settings.copies`` asks for it, ``uri`` and ``cluster`` of the films that
            have near copies, as :func:`pulmospark.data.near_copies.clusters_of_films` gives them.

    Raises:
        ClassError: a class has no film, or a part lacks one.
        InputError: the images table holds augmented children, which a split would part from
            their films.
    """
    _check_no_children(ingested.tables / "images")
    rows = spark.read.schema(_columns_read()).parquet(spark_path(ingested.tables / "images"))
    findings = sorted(
        (listing.name, finding) for listing in ingested.sources for finding in listing.findings
    )
    labelled = _labelled(rows, findings, classes, settings)
    if settings.copies != "ignore" and copies is not None:
        labelled = with_copies(labelled, copies, settings.copies)
    if settings.balance != "none":
        labelled = balanced(labelled, settings.balance, seed)
    labelled = _counted(labelled, settings, seed)
    cohort = _assigned(labelled, settings, seed).select(tables.COHORT.names)
    with files.whole_folder(target) as aside:
        cohort.coalesce(1).sortWithinPartitions("uri").write.mode("append").parquet(
            spark_path(aside / "table")
        )
        result = summary(
            pq.read_table(aside / "table"), target, classes, settings=settings, seed=seed
        )
        check_classes(result)
        files.write_json(
            aside / "split.json",
            {
                "result": result.model_dump(mode="json"),
                "provenance": provenance(settings.model_dump(mode="json"), seed=seed),
            },
        )
    return result


def _check_no_children(images: Path) -> None:
    """Refuse what would leak: children of one film on both sides."""
    children = 0
    for part in parts_of(images):
        if "parent_id" in pq.read_schema(part).names:
            told = pq.read_table(part, columns=["parent_id"])["parent_id"]
            children += len(told) - told.null_count
    if children:
        raise InputError(
            f"{images}: holds {children:,} augmented children, and a split would part them from "
            "their films: split first, and expand the training part afterwards"
        )


def _labelled(
    rows: DataFrame,
    findings: Sequence[tuple[str, str]],
    classes: Mapping[str, Sequence[str]],
    settings: SplitSettings,
) -> DataFrame:
    """Rows with ``label`` (null where left out), ``reason`` and ``group_id``."""
    mapping = [
        (source, finding, label)
        for (source, finding), label in sorted(map_findings(findings, classes).items())
        if label is not None
    ]
    mapped = rows.sparkSession.createDataFrame(
        mapping, "source string, finding string, label string"
    )
    rows = rows.join(F.broadcast(mapped), ["source", "finding"], "left")
    rows = rows.withColumn("group_id", F.coalesce("patient_id", "image_id"))
    left_out = (
        F.when(~F.col("view").isin(list(settings.views)), F.concat(F.lit("view: "), "view"))
        .when(F.col("finding").isNull(), F.lit("no finding"))
        .when(F.col("label").isNull(), F.concat(F.lit("finding of no class: "), "finding"))
    )
    rows = rows.withColumn("reason", left_out)
    same = Window.partitionBy("image_id", F.col("reason").isNull())
    rows = (
        rows.withColumn("first_uri", F.min("uri").over(same))
        .withColumn("labels", F.size(F.collect_set("label").over(same)))
        .withColumn(
            "reason",
            F.coalesce(
                "reason",
                F.when(F.col("labels") > 1, F.lit("label conflict between identical files")),
                F.when(F.col("uri") != F.col("first_uri"), F.lit("identical file")),
            ),
        )
    )
    return rows.withColumn("label", F.when(F.col("reason").isNull(), F.col("label")))


def _counted(rows: DataFrame, settings: SplitSettings, seed: int) -> DataFrame:
    """Rows with ``part``: of the classes whose films are counted, and null for the others.

    The groups of a class are put in the order of a hash of seed and id, and their films counted
    up: the first go to the test, the next to the validation, the next to the training, and the
    rest are left out. A patient with films of two classes goes with the later of his two places,
    so that no part has more films than it should.
    """
    if not settings.films:
        return rows.withColumn("part", F.lit(None).cast("string"))
    session = rows.sparkSession
    wanted = session.createDataFrame(
        [(name, one.test, one.validation, one.train) for name, one in settings.films.items()],
        "label string, test long, validation long, train long",
    )
    groups = (
        rows.where("reason is null").groupBy("label", "group_id").agg(F.count("*").alias("size"))
    )
    groups = groups.join(F.broadcast(wanted), "label")
    order = F.sha2(F.concat_ws(":", F.lit(f"{seed}:films"), "group_id"), 256)
    drawn = Window.partitionBy("label").orderBy(order, "group_id")
    there = F.sum("size").over(Window.partitionBy("label"))
    groups = groups.withColumns({"so_far": F.sum("size").over(drawn), "there": there})
    place = sum(((F.col("so_far") > end).cast("int") for end in part_ends()), F.lit(0))
    placed = (
        groups.withColumn("place", place).groupBy("group_id").agg(F.max("place").alias("place"))
    )
    names = (Split.TEST, Split.VALIDATION, Split.TRAIN, Split.EXCLUDED)
    part = F.coalesce(
        *(F.when(F.col("place") == at, F.lit(name.value)) for at, name in enumerate(names))
    )
    rows = rows.join(placed.select("group_id", part.alias("part")), "group_id", "left")
    beyond = F.col("reason").isNull() & (F.col("part") == Split.EXCLUDED.value)
    rows = rows.withColumn(
        "reason", F.when(beyond, F.lit("beyond the films asked for")).otherwise(F.col("reason"))
    )
    return rows.withColumn("label", F.when(F.col("reason").isNull(), F.col("label")))


def part_ends() -> tuple[Column, Column, Column]:
    """Films of a class at which its test, its validation and its training end, counted up.

    From the columns ``test``, ``validation`` and ``train``, the films that are wanted, and
    ``there``, those that the class has: where these are fewer the parts shrink in proportion,
    rounded down. In whole numbers, for of doubles 50 times 0.58 is less than 29.
    """
    total = "(test + validation + train)"
    wanted = ("test", "(test + validation)", total)
    first, second, third = (F.expr(f"{one} * least(there, {total}) div {total}") for one in wanted)
    return first, second, third


def _assigned(rows: DataFrame, settings: SplitSettings, seed: int) -> DataFrame:
    """Rows with ``split`` and ``fold``.

    Groups are put in the order of class, source, number of films and a hash of seed and id;
    the k-th of a class then goes where the k-th multiple of the golden ratio falls. As every
    stretch of that sequence is spread evenly, so are sources, and patients with many films.
    """
    used = rows.where("reason is null")
    groups = used.groupBy("group_id").agg(
        F.min("label").alias("stratum"),
        F.min("source").alias("home"),
        F.count("*").alias("size"),
        F.min("part").alias("part"),
    )
    order = F.sha2(F.concat_ws(":", F.lit(str(seed)), "group_id"), 256)
    groups = groups.withColumn("order", order)
    place = Window.partitionBy("stratum").orderBy("home", F.col("size").desc(), "order")
    groups = groups.withColumn("place", F.row_number().over(place) - 1)
    if settings.folds:
        groups = groups.withColumn("fold", (F.col("place") % settings.folds).cast("int"))
        inside = Window.partitionBy("stratum", "fold").orderBy(
            "home", F.col("size").desc(), "order"
        )
        groups = groups.withColumn("place", F.row_number().over(inside) - 1)
        share = settings.validation
        named = F.when(_spread("place") < share, Split.VALIDATION.value).otherwise(
            Split.TRAIN.value
        )
    else:
        groups = groups.withColumn("fold", F.lit(None).cast("int"))
        named = (
            F.when(_spread("place") < settings.train, Split.TRAIN.value)
            .when(_spread("place") < settings.train + settings.test, Split.TEST.value)
            .otherwise(Split.VALIDATION.value)
        )
    groups = groups.withColumn("split", F.coalesce("part", named)).select(
        "group_id", "split", "fold"
    )
    excluded = rows.where("reason is not null").withColumns(
        {"split": F.lit(Split.EXCLUDED.value), "fold": F.lit(None).cast("int")}
    )
    return used.join(groups, "group_id").unionByName(excluded)


def _columns_read() -> str:
    """Schema of the columns that a split looks at; Spark then reads no others."""
    return ", ".join(
        f"{name} {'float' if name == 'age' else 'string'}"
        for name in tables.COHORT.names
        if name in tables.IMAGES.names
    )


def _spread(place: str) -> Any:
    # Half a step in, so that the first of a class falls in the middle of the unit interval.
    return (F.col(place) * _GOLDEN + 0.5) % 1.0
