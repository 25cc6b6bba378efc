"""The leak of papers that augment before they split, reproduced on purpose.

An image and its augmented copies then end up in both training and test set, so the model is tested
on near copies of what it has seen. `reproduce` runs it only for presets whose papers do so, and
only next to the same experiment split first. It cannot be mistaken for a result: the leaked
tables and model are deleted, its metrics have no CIs and are labelled as a leak, and `split`
refuses any table with augmented copies.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ConfigDict
from pyspark.sql import SparkSession

from pulmospark import chunks
from pulmospark.config.expand import ExpandSettings
from pulmospark.config.experiment import Experiment
from pulmospark.config.split import ImagesPerSplit, SplitSettings
from pulmospark.core import files, hashing, schemas
from pulmospark.core.provenance import provenance
from pulmospark.core.records import Record
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.split_summary import SplitResult, check_classes, read_split, summary
from pulmospark.data.cohort.table import read_cohort
from pulmospark.data.expand.expand import expand
from pulmospark.data.expand.table import TABLE
from pulmospark.data.ingest.ingest import read_ingest
from pulmospark.evaluation.results import Figure
from pulmospark.experiment import pipeline
from pulmospark.experiment.papers.presets import eighty_twenty
from pulmospark.experiment.run_folder import RunFolder

FOLDER = "LEAK-split-after-augmenting"
_NO_INTERVAL = "a leak: images related to the tested rows were trained on, so a CI means nothing"
_LIGHT = [name for name in schemas.EXPANDED.names if name != "pixels"]


class LeakyArm(Record):
    """Metrics of a split after augmentation: not a result, a warning."""

    model_config = ConfigDict(frozen=True)

    accuracy: Figure
    """share of tested rows, images and augmented copies, classified correctly; without a CI,
    see ``why``"""
    balanced_accuracy: Figure
    on_images: Figure
    """accuracy on the tested rows that are unaugmented images"""
    rows: dict[str, dict[str, int]]
    """part -> class -> rows, including augmented copies"""
    tested_parents: int
    """source images of the tested rows"""
    tested_kin: float
    """share of the tested rows whose image, or another copy of it, was trained on"""
    why: str
    """why a CI would mean nothing"""


def leaky_arm(
    experiment: Experiment,
    run: RunFolder,
    spark: SparkSession,
    *,
    expansion: ExpandSettings,
    quiet: bool = False,
) -> LeakyArm:
    """Augment first and split afterwards, as the paper did; then train and test.

    Args:
        experiment: of the arm that splits first.
        run: its folder, ingested and split.
        spark: the session.
        expansion: rows per class before the split, and the augmentation.
        quiet: show no progress.

    Raises:
        ClassError: a class has too few rows for all splits.
        TrainingError: a training process failed.
    """
    work = run.root / f".{FOLDER}.work"
    leak = RunFolder(run.root / FOLDER, shared=work)
    _leak(experiment, run, work, spark, expansion=expansion, quiet=quiet)
    train = experiment.train.model_copy(update={"expanded": False})
    marked = experiment.model_copy(
        update={
            "name": f"{experiment.name}-LEAK",
            "split": SplitSettings(train=0.72, validation=0.08, test=0.2),
            "expand": None,
            "train": train,
        }
    )
    pipeline.run_train(marked, leak, spark, quiet=quiet)
    evaluation = pipeline.run_evaluate(marked, leak, quiet=quiet).evaluation
    kin, parents = _kin(work)
    arm = LeakyArm(
        accuracy=_bare(evaluation.accuracy),
        balanced_accuracy=_bare(evaluation.balanced_accuracy),
        on_images=_on_images(leak, work),
        rows=_rows_of(read_split(leak.cohort)),
        tested_parents=parents,
        tested_kin=kin,
        why=_why(evaluation.images, parents, kin),
    )
    # Only its metrics stay, next to the honest ones: nothing else must circulate.
    shutil.rmtree(leak.root)
    shutil.rmtree(work)
    return arm


def _why(tested: int, parents: int, kin: float) -> str:
    return (
        f"the {tested:,} tested rows come from {parents:,} images; for {kin:.1%} of them "
        f"the image "
        "or another augmented copy was trained on: they are neither new to the model nor "
        "independent of one another, and a CI assumes both"
    )


def _leak(
    experiment: Experiment,
    run: RunFolder,
    work: Path,
    spark: SparkSession,
    *,
    expansion: ExpandSettings,
    quiet: bool,
) -> None:
    """Tables and cohort of all images and their augmented copies, split row by row."""
    everyone = work / "all-in-training"
    honest = read_split(run.cohort)
    images = read_cohort(run.cohort)
    at = images.schema.get_field_index("split")
    everywhere = pa.array([Split.TRAIN.value] * images.num_rows, pa.string())
    images = images.set_column(at, schemas.COHORT.field("split"), everywhere)
    all_id = hashing.value_id(["all in training", honest.cohort_id])
    all_images = honest.model_copy(update={"cohort": everyone, "cohort_id": all_id})
    _write_cohort(everyone, images, all_images)
    target = work / "expanded"
    expand(
        run.tables / "images",
        everyone,
        expansion,
        target,
        spark,
        seed=experiment.seed,
        quiet=quiet,
    )
    rows = pq.read_table(target / TABLE, columns=_LIGHT)
    _write_tables(run, work, target, rows)
    cohort = _split_rows(rows, honest.classes, experiment.seed)
    result = summary(
        cohort,
        work / "cohort",
        experiment.classes,
        settings=SplitSettings(train=0.72, validation=0.08, test=0.2),
        seed=experiment.seed,
    )
    check_classes(result)
    _write_cohort(work / "cohort", cohort, result)


def _split_rows(rows: pa.Table, classes: Sequence[str], seed: int) -> pa.Table:
    """A cohort in which each row, image or augmented copy, is assigned by itself: the leak."""
    labels = np.asarray(rows["label"].to_pylist(), dtype=object)
    uris = rows["uri"].to_pylist()
    split = np.full(rows.num_rows, Split.TRAIN.value, dtype=object)
    for name in classes:
        of_class = np.flatnonzero(labels == name)
        drawn = sorted(of_class, key=lambda row: _order(seed, uris[int(row)]))
        parts = eighty_twenty(len(drawn)) if len(drawn) > 1 else ImagesPerSplit(train=1, test=1)
        split[drawn[: parts.test]] = Split.TEST.value
        split[drawn[parts.test : parts.test + parts.validation]] = Split.VALIDATION.value
    own = {
        "split": pa.array(split.tolist(), pa.string()),
        "patient_id": pa.nulls(rows.num_rows, pa.string()),
        "group_id": rows["uri"],
    }
    return pa.table(
        [own.get(name, rows[name]) for name in schemas.COHORT.names], schema=schemas.COHORT
    )


def _order(seed: int, uri: str) -> bytes:
    return hashlib.sha256(f"{seed}:leak:{uri}".encode()).digest()


def _write_cohort(target: Path, rows: pa.Table, result: SplitResult) -> None:
    with files.whole_folder(target) as aside:
        (aside / "table").mkdir()
        chunks.write_part(rows.sort_by("uri"), aside / "table" / "part.parquet")
        record = {"result": result.model_dump(mode="json"), "provenance": provenance({})}
        files.write_json(aside / "split.json", record)


def _write_tables(run: RunFolder, work: Path, expanded: Path, rows: pa.Table) -> None:
    """The expanded table in place of an images table, by hard links."""
    ingested = read_ingest(run.tables)
    sources = rows["source"].to_pylist()
    result = ingested.model_copy(
        update={
            "tables": work / "tables",
            "images": rows.num_rows,
            "files": rows.num_rows,
            "rejects": 0,
            "rejects_by_reason": {},
            "already": 0,
            "sources": tuple(
                source.model_copy(update={"files": sources.count(source.name)})
                for source in ingested.sources
            ),
        }
    )
    with files.whole_folder(work / "tables") as aside:
        chunks.link_parts(chunks.parts_of(expanded / TABLE), aside / "images")
        files.write_json(aside / "ingest.json", {"result": result.model_dump(mode="json")})


def _rows_of(parted: SplitResult) -> dict[str, dict[str, int]]:
    return {
        part.value: {
            name: sum(
                share.images
                for share in parted.shares
                if share.split == part.value and share.label == name
            )
            for name in parted.classes
        }
        for part in (Split.TRAIN, Split.VALIDATION, Split.TEST)
    }


def _kin(work: Path) -> tuple[float, int]:
    """Share of tested rows whose image was trained on, and the number of their source images."""
    rows = pq.read_table(work / "expanded" / TABLE, columns=["uri", "parent_uri"])
    split = read_cohort(work / "cohort", ["uri", "split"])
    parts = split["split"].take(pc.index_in(rows["uri"], value_set=split["uri"]))
    image = pc.coalesce(rows["parent_uri"], rows["uri"])
    tested = image.filter(pc.equal(parts, Split.TEST.value))
    trained = image.filter(pc.equal(parts, Split.TRAIN.value))
    kin = pc.mean(pc.is_in(tested, value_set=pc.unique(trained))).as_py()
    return float(kin), int(pc.count_distinct(tested).as_py())


def _on_images(leak: RunFolder, work: Path) -> Figure:
    """Accuracy on the tested rows that are unaugmented images."""
    columns = ["uri", "label", "prediction"]
    predictions = pq.read_table(leak.evaluation / "predictions", columns=columns)
    rows = pq.read_table(work / "expanded" / TABLE, columns=["uri", "draw"])
    as_they_came = rows.filter(pc.equal(rows["draw"], 0))["uri"]
    predictions = predictions.filter(pc.is_in(predictions["uri"], value_set=as_they_came))
    right, images = (
        pc.sum(pc.equal(predictions["label"], predictions["prediction"])).as_py() or 0,
        len(predictions),
    )
    value = right / images if images else None
    return Figure(value=value, numerator=right, denominator=images, note=_NO_INTERVAL)


def _bare(figure: Figure) -> Figure:
    """A metric without its CI, which would mean nothing."""
    bare = {"low": None, "high": None, "method": "none", "note": _NO_INTERVAL}
    return figure.model_copy(update=bare)
