"""Expand: the training part of a cohort with augmented children, as a table of its own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from pulmospark.core import content, files, tables
from pulmospark.core.errors import InputError
from pulmospark.core.progress import Progress
from pulmospark.core.provenance import provenance
from pulmospark.core.settings import ExpandSettings
from pulmospark.data.expand_plan import ClassPlan, children_of, choose_parents, write_plan
from pulmospark.data.expand_work import ExpandWork
from pulmospark.data.expanded import RECORD, TABLE, ExpandedClass, ExpandResult
from pulmospark.data.split_summary import SplitResult, read_split
from pulmospark.spark import chunks


def expand(
    images: Path,
    cohort: Path,
    settings: ExpandSettings,
    target: Path,
    spark: SparkSession,
    *,
    seed: int,
    only: Sequence[str] | None = None,
    quiet: bool = False,
) -> ExpandResult:
    """Make the table ``target/table``: the films of the training part, and children of them.

    Each class has ``settings.per_class`` rows, its films among them; a class with more films
    keeps them all. Children are dealt evenly over the films of their class, and each is where
    its parent is. A child follows from settings, seed, parent and number alone. The table
    appears whole or not at all; a killed run goes on where it was, and one that is asked for
    what is there does nothing.

    Args:
        images: the images table.
        cohort: folder of the cohort.
        settings: rows of a class, and how films are changed.
        target: folder of the result.
        spark: the session.
        seed: of the children.
        only: paths or ids of the films that are taken; ``None``: the whole training part.
        quiet: show no progress.

    Raises:
        ClassError: the training part lacks a class.
        InputError: a step before is missing, a film of ``only`` is not trained on, or the
            images table is not that of the cohort.
    """
    split = read_split(cohort)
    rows = pq.read_table(cohort / "table", schema=tables.COHORT)
    parents = choose_parents(rows, only)
    children, classes = children_of(
        parents["label"].to_pylist(),
        parents["image_id"].to_pylist(),
        split.classes,
        settings.per_class,
        seed,
    )
    work = target.with_name(f".{target.name}.work")
    with files.disk_errors(target):
        work.mkdir(parents=True, exist_ok=True)
        plan = work / "plan.parquet"
        size = _film_bytes(images)
        count = write_plan(parents, children, images, plan, film_bytes=size)
        maker = ExpandWork(str(images), settings.augment, seed)
        key = content.value_id([content.file_id(plan), maker.key(_nothing(plan))])
        found = _already(target, key, count)
        if found is None:
            todo = chunks.chunks_of([plan])
            with Progress("expand", count, "films", quiet=quiet) as progress:
                parts = chunks.run_chunks(spark, maker, todo, work / "parts", progress)
            found = _publish(
                target, parts, classes, key=key, split=split, settings=settings, seed=seed
            )
        shutil.rmtree(work)
    return found


def _nothing(plan: Path) -> pa.Table:
    return pq.read_schema(plan).empty_table()


def _film_bytes(images: Path) -> int:
    """Bytes of a film's pixels, told from the first that there is."""
    for part in chunks.parts_of(images):
        with pq.ParquetFile(part) as file:
            first = next(file.iter_batches(1, columns=["pixels"]), None)
        if first is not None and first.num_rows:
            return max(1, len(first["pixels"][0].as_buffer()))
    raise InputError(f"{images}: holds no film: run `pulmospark ingest` first")


def _already(target: Path, key: str, count: int) -> ExpandResult | None:
    """The result of an earlier run that made the same, if its rows are all there."""
    if not (target / RECORD).is_file():
        return None
    told = files.read_json(target / RECORD)
    there = sum(pq.read_metadata(part).num_rows for part in chunks.parts_of(target / TABLE))
    if told.get("key") != key or there != count:
        return None
    return ExpandResult.model_validate(told["result"]).model_copy(
        update={"already": True, "expanded": target}
    )


def _publish(
    target: Path,
    parts: Sequence[chunks.Part],
    classes: Sequence[ClassPlan],
    *,
    key: str,
    split: SplitResult,
    settings: ExpandSettings,
    seed: int,
) -> ExpandResult:
    result = ExpandResult(
        expanded=target,
        cohort_id=split.cohort_id,
        per_class=settings.per_class,
        rows=sum(part.rows for part in parts),
        films=sum(one.films for one in classes),
        children=sum(one.children for one in classes),
        classes=tuple(_told(one) for one in classes),
        warnings=(*_warnings(classes, settings), *settings.augment.warnings()),
    )
    if result.rows != result.films + result.children:
        raise InputError(
            f"{target}: {result.rows:,} rows were made for {result.films + result.children:,} "
            "that were planned: remove the folder and expand again"
        )
    told: dict[str, Any] = settings.model_dump(mode="json")
    with files.whole_folder(target) as aside:
        chunks.link_parts([part.path for part in parts], aside / TABLE)
        files.write_json(
            aside / RECORD,
            {
                "key": key,
                "result": result.model_dump(mode="json"),
                "provenance": provenance(told, seed=seed),
            },
        )
    return result


def _told(one: ClassPlan) -> ExpandedClass:
    return ExpandedClass(
        label=one.label, films=one.films, children=one.children, children_of_a_film=one.most
    )


def _warnings(classes: Sequence[ClassPlan], settings: ExpandSettings) -> list[str]:
    return [
        f"class {one.label!r} has {one.films:,} films in the training part, more than the "
        f"{settings.per_class:,} asked for: all are kept"
        for one in classes
        if one.films > settings.per_class
    ]
