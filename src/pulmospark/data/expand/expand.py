"""Expand: the training split of a cohort with augmented copies, as a separate table."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from pulmospark import chunks
from pulmospark.chunks.parquet_files import open_whole
from pulmospark.chunks.shared_store import SharedStore
from pulmospark.config.expand import ExpandSettings
from pulmospark.core import files, hashing, schemas
from pulmospark.core.errors import InputError
from pulmospark.core.progress import Progress
from pulmospark.core.provenance import provenance
from pulmospark.data.cohort.split_summary import SplitResult, read_split
from pulmospark.data.expand.plan import ClassPlan, choose_parents, copies_of, write_plan
from pulmospark.data.expand.table import RECORD, TABLE, ExpandedClass, ExpandResult, read_expanded
from pulmospark.data.expand.tasks import ExpandWork
from pulmospark.spark.executor import SparkExecutor


def expand(
    images: Path,
    cohort: Path,
    settings: ExpandSettings,
    target: Path,
    spark: SparkSession,
    *,
    seed: int,
    only: Sequence[str] | None = None,
    store: SharedStore | None = None,
    quiet: bool = False,
) -> ExpandResult:
    """Write the table ``target/table``: the training images and augmented copies of them.

    Each class has ``settings.per_class`` rows including its images; a class with more images keeps
    them all. The copies are spread evenly over the images of their class, and each belongs to its
    image's folds. A copy depends only on settings, seed, image and number. The table appears
    atomically; a killed run resumes, and an unchanged table is not rebuilt.

    Args:
        images: the images table.
        cohort: folder of the cohort.
        settings: rows per class, and the augmentation.
        target: folder of the result.
        spark: the session.
        seed: of the augmentation.
        only: paths or ids of the images to expand; ``None``: the whole training split.
        store: of a run that lies in one.
        quiet: show no progress.

    Raises:
        ClassError: the training split lacks a class.
        InputError: an earlier stage is missing, an image of ``only`` is not in the training split,
            or the images table is not that of the cohort.
    """
    split = read_split(cohort)
    rows = pq.read_table(cohort / "table", schema=schemas.COHORT)
    parents = choose_parents(rows, only)
    copies, classes = copies_of(
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
        count = write_plan(parents, copies, images, plan, image_bytes=_image_bytes(images))
        maker = ExpandWork(str(images), settings.augment, seed)
        key = hashing.value_id([hashing.file_id(plan), maker.key(_nothing(plan))])
        result = _result(target, split, classes, settings)
        record = {
            "key": key,
            "result": result.model_dump(mode="json"),
            "provenance": provenance(settings.model_dump(mode="json"), seed=seed),
        }
        if not (already := _is_there(target, key, count)):
            parts = _drawn(SparkExecutor(spark, store=store), maker, plan, count, quiet=quiet)
            _publish(target, parts, result, record, in_store=store is not None)
        elif read_expanded(target) != result:
            # The same rows, but the cohort differs elsewhere: in its test split, for example.
            files.write_json(target / RECORD, record)
        shutil.rmtree(work)
    return result.model_copy(update={"already": already})


def _drawn(
    executor: chunks.Executor, maker: ExpandWork, plan: Path, count: int, *, quiet: bool
) -> list[chunks.Part]:
    folder, todo = plan.parent / "parts", chunks.chunks_of([plan])
    with Progress("expand", count, "images", quiet=quiet) as progress:
        return chunks.run_chunks(executor, maker, todo, folder, progress)


def _nothing(plan: Path) -> pa.Table:
    return pq.read_schema(plan).empty_table()


def _image_bytes(images: Path) -> int:
    """Bytes of an image's pixels, from the first image."""
    for part in chunks.parts_of(images):
        with open_whole(part) as file:
            first = next(file.iter_batches(1, columns=["pixels"]), None)
        if first is not None and first.num_rows:
            return max(1, len(first["pixels"][0].as_buffer()))
    raise InputError(f"{images}: contains no image: run `pulmospark ingest` first")


def _is_there(target: Path, key: str, count: int) -> bool:
    """Whether an earlier run wrote the same rows, and all are there."""
    if not (target / RECORD).is_file():
        return False
    there = sum(pq.read_metadata(part).num_rows for part in chunks.parts_of(target / TABLE))
    return bool(files.read_json(target / RECORD).get("key") == key and there == count)


def _result(
    target: Path, split: SplitResult, classes: Sequence[ClassPlan], settings: ExpandSettings
) -> ExpandResult:
    images, copies = sum(row.images for row in classes), sum(row.copies for row in classes)
    return ExpandResult(
        expanded=target,
        cohort_id=split.cohort_id,
        per_class=settings.per_class,
        rows=images + copies,
        images=images,
        copies=copies,
        classes=tuple(_expanded_class(plan) for plan in classes),
        warnings=(*_warnings(classes, settings), *settings.augment.warnings()),
    )


def _publish(
    target: Path,
    parts: Sequence[chunks.Part],
    result: ExpandResult,
    record: dict[str, Any],
    *,
    in_store: bool,
) -> None:
    rows = sum(part.rows for part in parts)
    if rows != result.rows:
        raise InputError(
            f"{target}: {rows:,} rows instead of the planned {result.rows:,}: remove the folder "
            "and expand again"
        )
    with files.whole_folder(target) as aside:
        paths = [part.path for part in parts]
        chunks.publish_table(paths, aside / TABLE, schemas.EXPANDED, in_store=in_store)
        files.write_json(aside / RECORD, record)


def _expanded_class(plan: ClassPlan) -> ExpandedClass:
    return ExpandedClass(
        label=plan.label, images=plan.images, copies=plan.copies, copies_per_image=plan.most
    )


def _warnings(classes: Sequence[ClassPlan], settings: ExpandSettings) -> list[str]:
    return [
        f"class {plan.label!r} has {plan.images:,} images in the training split, more than the "
        f"requested {settings.per_class:,}: all are kept"
        for plan in classes
        if plan.images > settings.per_class
    ]
