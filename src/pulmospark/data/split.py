"""Split: who is trained on, who is tested on, and who is left out and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812 - the name everyone knows it by

from pulmospark.core import content, files, tables
from pulmospark.core.errors import ClassError, InputError
from pulmospark.core.provenance import provenance
from pulmospark.core.settings import SplitSettings
from pulmospark.core.tables import Split
from pulmospark.data.classes import map_findings

_GOLDEN = 0.6180339887498949
"""Fraction of the golden ratio: the multiples of it, modulo 1, are spread more evenly than
those of any other number, in every stretch of them (Weyl's sequence; Knuth, TAOCP 3, 6.4)."""

_NAMED = 5
"""How many offenders a warning names."""


class Share(BaseModel):
    """How many films and patients one class of one source has in one part."""

    model_config = ConfigDict(frozen=True)

    split: str
    fold: int | None
    label: str
    source: str
    films: int
    groups: int


class Exclusion(BaseModel):
    """How many films of one source were left out for one reason."""

    model_config = ConfigDict(frozen=True)

    source: str
    reason: str
    films: int


class SplitResult(BaseModel):
    """What a split did."""

    model_config = ConfigDict(frozen=True)

    cohort: Path
    cohort_id: str
    """the same for the same images, classes, settings and seed"""
    classes: tuple[str, ...]
    films: int
    excluded: int
    folds: int
    shares: tuple[Share, ...]
    exclusions: tuple[Exclusion, ...]
    warnings: tuple[str, ...]


def split(
    images: Path,
    classes: Mapping[str, Sequence[str]],
    settings: SplitSettings,
    target: Path,
    spark: SparkSession,
    *,
    seed: int,
) -> SplitResult:
    """Make the cohort table: one row an image, with its class and its part.

    A patient is never parted; where no patient is known a film stands for itself. Parts are
    stratified by class and source, and follow from the seed and the ids alone, whatever the
    order of the rows.

    Args:
        images: the images table.
        classes: class -> findings, as :func:`pulmospark.data.classes.map_findings` takes them.
        settings: shares or folds, and the views that take part.
        target: folder of the cohort table.
        spark: the session.
        seed: of the assignment.

    Raises:
        ClassError: a class has no film, or a part lacks one.
        InputError: the images table is missing.
    """
    if not images.is_dir():
        raise InputError(f"{images}: no images table there: run `pulmospark ingest` first")
    rows = spark.read.parquet(str(images)).drop("pixels")
    labelled = _labelled(rows, classes, settings, spark)
    cohort = _assigned(labelled, settings, seed).select(tables.COHORT.names)
    with files.whole_folder(target) as aside:
        cohort.repartition(1).sortWithinPartitions("uri").write.mode("append").parquet(
            str(aside / "table")
        )
        written = spark.read.parquet(str(aside / "table"))
        result = _result(written, target, classes, settings, seed)
        _check(result, settings)
        files.write_json(
            aside / "split.json",
            {
                "result": result.model_dump(mode="json"),
                "provenance": provenance(settings.model_dump(mode="json"), seed=seed),
            },
        )
    return result


def read_split(target: Path) -> SplitResult:
    """The result that the last split into ``target`` left.

    Raises:
        InputError: there is none.
    """
    return SplitResult.model_validate(files.read_json(target / "split.json")["result"])


def _labelled(
    rows: DataFrame,
    classes: Mapping[str, Sequence[str]],
    settings: SplitSettings,
    spark: SparkSession,
) -> DataFrame:
    """Rows with ``label`` (null where left out), ``reason`` and ``group_id``."""
    pairs = [
        (row["source"], row["finding"])
        for row in rows.where("finding is not null")
        .select("source", "finding")
        .distinct()
        .collect()
    ]
    mapping = [
        (source, finding, label)
        for (source, finding), label in sorted(map_findings(sorted(pairs), classes).items())
        if label is not None
    ]
    mapped = spark.createDataFrame(mapping, "source string, finding string, label string")
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


def _assigned(rows: DataFrame, settings: SplitSettings, seed: int) -> DataFrame:
    """Rows with ``split`` and ``fold``.

    Groups are put in the order of class, source, number of films and a hash of seed and id;
    the k-th of a class then goes where the k-th multiple of the golden ratio falls. As every
    stretch of that sequence is spread evenly, so are sources, and patients with many films.
    """
    used = rows.where("reason is null")
    groups = used.groupBy("group_id").agg(
        F.min("label").alias("stratum"), F.min("source").alias("home"), F.count("*").alias("size")
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
    groups = groups.withColumn("split", named).select("group_id", "split", "fold")
    excluded = rows.where("reason is not null").withColumns(
        {"split": F.lit(Split.EXCLUDED.value), "fold": F.lit(None).cast("int")}
    )
    return used.join(groups, "group_id").unionByName(excluded)


def _spread(place: str) -> Any:
    # Half a step in, so that the first of a class falls in the middle of the unit interval.
    return (F.col(place) * _GOLDEN + 0.5) % 1.0


def _result(
    cohort: DataFrame,
    target: Path,
    classes: Mapping[str, Sequence[str]],
    settings: SplitSettings,
    seed: int,
) -> SplitResult:
    used = cohort.where("reason is null")
    shares = (
        used.groupBy("split", "fold", "label", "source")
        .agg(F.count("*").alias("films"), F.countDistinct("group_id").alias("groups"))
        .orderBy("split", "fold", "label", "source")
        .collect()
    )
    exclusions = (
        cohort.where("reason is not null")
        .groupBy("source", "reason")
        .agg(F.count("*").alias("films"))
        .orderBy("source", F.col("films").desc(), "reason")
        .collect()
    )
    named = tuple(classes) or tuple(sorted({row["label"] for row in shares}))
    # A sum does not depend on the order of the rows, and needs no row to be collected.
    total = used.agg(F.sum(F.xxhash64("image_id", "label").cast("decimal(38,0)"))).first()
    key = [str(total[0] if total else 0), settings.model_dump(mode="json"), dict(classes), seed]
    return SplitResult(
        cohort=target,
        cohort_id=content.value_id(key),
        classes=named,
        films=sum(row["films"] for row in shares),
        excluded=sum(row["films"] for row in exclusions),
        folds=settings.folds,
        shares=tuple(Share(**row.asDict()) for row in shares),
        exclusions=tuple(Exclusion(**row.asDict()) for row in exclusions),
        warnings=tuple(_warnings(used)),
    )


def _warnings(used: DataFrame) -> list[str]:
    said = []
    unknown = (
        used.where("patient_id is null")
        .groupBy("source")
        .agg(F.count("*").alias("n"))
        .orderBy("source")
        .collect()
    )
    for row in unknown:
        said.append(
            f"source {row['source']!r}: {row['n']} films have no patient id and are split film by "
            "film: films of one patient may stand on both sides"
        )
    several = (
        used.where("patient_id is not null")
        .groupBy("patient_id")
        .agg(F.sort_array(F.collect_set("label")).alias("labels"))
        .where(F.size("labels") > 1)
        .orderBy("patient_id")
    )
    count = several.count()
    if count:
        names = ", ".join(
            f"{row['patient_id']} ({' and '.join(row['labels'])})"
            for row in several.limit(_NAMED).collect()
        )
        more = f" and {count - _NAMED} more" if count > _NAMED else ""
        said.append(
            f"{count} patient{'s have' if count > 1 else ' has'} films of more than one class, "
            f"kept on one side of the split: {names}{more}"
        )
    return said


def _check(result: SplitResult, settings: SplitSettings) -> None:
    """Refuse a cohort that cannot be trained on or tested on."""
    films = dict.fromkeys(result.classes, 0)
    for share in result.shares:
        films[share.label] += share.films
    empty = [name for name, count in films.items() if not count]
    if empty or len(films) < 2:
        left = "; ".join(f"{e.films} of {e.source}: {e.reason}" for e in result.exclusions[:6])
        raise ClassError(
            f"{'class ' + ', '.join(map(repr, empty)) + ' has' if empty else 'one class only:'} "
            f"no film{'' if empty else ' to tell it from'}: check the classes in the experiment "
            f"against the findings left out ({left or 'none'})"
        )
    parts = (
        [(f"fold {k}", [s for s in result.shares if s.fold == k]) for k in range(settings.folds)]
        if settings.folds
        else [
            (name, [s for s in result.shares if s.split == name])
            for name in (Split.TRAIN.value, Split.TEST.value)
        ]
    )
    for name, shares in parts:
        missing = [label for label in result.classes if label not in {s.label for s in shares}]
        if missing:
            raise ClassError(
                f"{name} has no film of {', '.join(map(repr, missing))} "
                f"({', '.join(f'{label}: {films[label]} films in all' for label in missing)}): "
                "use fewer folds, other shares, or more patients of the class"
            )
