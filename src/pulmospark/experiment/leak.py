"""The leak of papers that augment first and split afterwards, made on purpose.

A film and its augmented children are then spread over both sides, so that a model is tested on
what it has all but seen. `reproduce` runs it for the presets whose papers do so, beside the same
experiment split before, and for nothing else. Nothing of it can be mistaken for a result: the
leaked tables and the leaked model are thrown away; what stays are figures without intervals,
called a leak wherever they stand, and `split` refuses any table that holds children.
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

from pulmospark.core import content, files, tables
from pulmospark.core.provenance import provenance
from pulmospark.core.records import Record
from pulmospark.core.settings import ExpandSettings, Experiment, PartFilms, SplitSettings
from pulmospark.core.tables import Split
from pulmospark.data.cohort import read_cohort
from pulmospark.data.expand import expand
from pulmospark.data.expanded import TABLE
from pulmospark.data.ingest import read_ingest
from pulmospark.data.split_summary import SplitResult, check_classes, read_split, summary
from pulmospark.evaluation.results import Figure
from pulmospark.experiment import stages
from pulmospark.experiment.folder import RunFolder
from pulmospark.experiment.presets import eighty_twenty
from pulmospark.spark import chunks

FOLDER = "LEAK-split-after-augmenting"
_NO_INTERVAL = "a leak: tested rows have kin that was trained on, and no interval means anything"
_LIGHT = [name for name in tables.EXPANDED.names if name != "pixels"]


class LeakyArm(Record):
    """What comes out where the split follows the augmentation: not a result, a warning."""

    model_config = ConfigDict(frozen=True)

    accuracy: Figure
    """share of tested rows, films and children, that were named rightly; without an interval,
    see ``why``"""
    balanced_accuracy: Figure
    on_films: Figure
    """accuracy on those tested rows that are films as they came, not children"""
    rows: dict[str, dict[str, int]]
    """part -> class -> rows, children with them"""
    tested_parents: int
    """films of which the tested rows are, or are children"""
    tested_kin: float
    """share of the tested rows of whose film another row, or the film itself, was trained on"""
    why: str
    """why an interval would mean nothing"""


def leaky_arm(
    experiment: Experiment,
    run: RunFolder,
    spark: SparkSession,
    *,
    expansion: ExpandSettings,
    quiet: bool = False,
) -> LeakyArm:
    """Augment first and split afterwards, as the paper did; train and test it.

    Args:
        experiment: of the arm that splits before.
        run: its folder, ingested and split.
        spark: the session.
        expansion: rows that each class has before the split, and how children are made.
        quiet: show no progress.

    Raises:
        ClassError: a class has too few rows for all parts.
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
    stages.run_train(marked, leak, spark, quiet=quiet)
    evaluation = stages.run_evaluate(marked, leak, spark, quiet=quiet).evaluation
    kin, parents = _kin(work)
    arm = LeakyArm(
        accuracy=_bare(evaluation.accuracy),
        balanced_accuracy=_bare(evaluation.balanced_accuracy),
        on_films=_on_films(leak, work),
        rows=_rows_of(read_split(leak.cohort)),
        tested_parents=parents,
        tested_kin=kin,
        why=_why(evaluation.films, parents, kin),
    )
    # Its figures stay beside the honest ones, as a warning; nothing else must go round.
    shutil.rmtree(leak.root)
    shutil.rmtree(work)
    return arm


def _why(tested: int, parents: int, kin: float) -> str:
    return (
        f"the {tested:,} tested rows are of {parents:,} films, and for {kin:.1%} of them the film "
        "or another of its children was trained on: they are neither new to the model nor "
        "independent of one another, and an interval presumes both"
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
    """Tables and cohort of all films and their children, split row by row."""
    everyone = work / "all-in-training"
    honest = read_split(run.cohort)
    films = read_cohort(run.cohort)
    at = films.schema.get_field_index("split")
    everywhere = pa.array([Split.TRAIN.value] * films.num_rows, pa.string())
    films = films.set_column(at, tables.COHORT.field("split"), everywhere)
    all_id = content.value_id(["all in training", honest.cohort_id])
    all_films = honest.model_copy(update={"cohort": everyone, "cohort_id": all_id})
    _write_cohort(everyone, films, all_films)
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
    """A cohort in which each row, film or child, is dealt out for itself: the leak."""
    labels = np.asarray(rows["label"].to_pylist(), dtype=object)
    uris = rows["uri"].to_pylist()
    split = np.full(rows.num_rows, Split.TRAIN.value, dtype=object)
    for name in classes:
        of_class = np.flatnonzero(labels == name)
        drawn = sorted(of_class, key=lambda row: _order(seed, uris[int(row)]))
        parts = eighty_twenty(len(drawn)) if len(drawn) > 1 else PartFilms(train=1, test=1)
        split[drawn[: parts.test]] = Split.TEST.value
        split[drawn[parts.test : parts.test + parts.validation]] = Split.VALIDATION.value
    own = {
        "split": pa.array(split.tolist(), pa.string()),
        "patient_id": pa.nulls(rows.num_rows, pa.string()),
        "group_id": rows["uri"],
    }
    return pa.table(
        [own.get(name, rows[name]) for name in tables.COHORT.names], schema=tables.COHORT
    )


def _order(seed: int, uri: str) -> bytes:
    return hashlib.sha256(f"{seed}:leak:{uri}".encode()).digest()


def _write_cohort(target: Path, rows: pa.Table, result: SplitResult) -> None:
    with files.whole_folder(target) as aside:
        (aside / "table").mkdir()
        chunks.write_part(rows.sort_by("uri"), aside / "table" / "part.parquet")
        told = {"result": result.model_dump(mode="json"), "provenance": provenance({})}
        files.write_json(aside / "split.json", told)


def _write_tables(run: RunFolder, work: Path, expanded: Path, rows: pa.Table) -> None:
    """The expanded table in the place of an images table, by hard links."""
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
                one.model_copy(update={"files": sources.count(one.name)})
                for one in ingested.sources
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
                one.films for one in parted.shares if one.split == part.value and one.label == name
            )
            for name in parted.classes
        }
        for part in (Split.TRAIN, Split.VALIDATION, Split.TEST)
    }


def _kin(work: Path) -> tuple[float, int]:
    """Share of tested rows with kin that was trained on, and films that the tested are of."""
    rows = pq.read_table(work / "expanded" / TABLE, columns=["uri", "parent_uri"])
    split = read_cohort(work / "cohort", ["uri", "split"])
    parts = split["split"].take(pc.index_in(rows["uri"], value_set=split["uri"]))
    film = pc.coalesce(rows["parent_uri"], rows["uri"])
    tested = film.filter(pc.equal(parts, Split.TEST.value))
    trained = film.filter(pc.equal(parts, Split.TRAIN.value))
    kin = pc.mean(pc.is_in(tested, value_set=pc.unique(trained))).as_py()
    return float(kin), int(pc.count_distinct(tested).as_py())


def _on_films(leak: RunFolder, work: Path) -> Figure:
    """Accuracy on the tested rows that are films as they came."""
    columns = ["uri", "label", "prediction"]
    said = pq.read_table(leak.evaluation / "predictions", columns=columns)
    rows = pq.read_table(work / "expanded" / TABLE, columns=["uri", "draw"])
    as_they_came = rows.filter(pc.equal(rows["draw"], 0))["uri"]
    said = said.filter(pc.is_in(said["uri"], value_set=as_they_came))
    right, films = pc.sum(pc.equal(said["label"], said["prediction"])).as_py() or 0, len(said)
    value = right / films if films else None
    return Figure(value=value, numerator=right, denominator=films, note=_NO_INTERVAL)


def _bare(figure: Figure) -> Figure:
    """A figure without the interval that would mean nothing."""
    bare = {"low": None, "high": None, "method": "none", "note": _NO_INTERVAL}
    return figure.model_copy(update=bare)
