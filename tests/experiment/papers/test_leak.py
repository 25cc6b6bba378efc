"""The leak of papers that split after augmenting: shown, called so, and of no use elsewhere."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from pyspark.sql import SparkSession

from data.expansions import CLASSES, expand_here, member, write_cohort
from pulmospark.cli.main import cli
from pulmospark.config.expand import ExpandSettings
from pulmospark.core.errors import InputError
from pulmospark.core.schemas import COHORT
from pulmospark.data.cohort.split import _check_no_children
from pulmospark.data.cohort.split_summary import read_split
from pulmospark.experiment.papers.leak import FOLDER, _split_rows
from pulmospark.experiment.papers.reproduce import RESULT, Reproduction
from pulmospark.phantoms.write import PhantomSummary

SETS = {
    "per-class": "40", "ingest.size": "32", "train.network.epochs": "1", "phantoms": "true",
    "train.weights": "none", "train.model": "basic_cnn", "evaluate.replicates": "100",
    "audit.enabled": "false",
}  # fmt: skip


def _radiography(phantoms: PhantomSummary, folder: Path) -> Path:
    """Phantoms in the layout of the COVID-19 Radiography Database, which names no patient."""
    classes = {"COVID-19": "COVID", "No Finding": "Normal"}
    for hospital in phantoms.folder.iterdir():
        with (hospital / "metadata.csv").open(encoding="utf-8") as sheet:
            for row in csv.DictReader(sheet):
                wanted = next((n for f, n in classes.items() if f in row["finding"]), None)
                if wanted is None or row["view"] == "L" or int(row["patientid"]) > 900_000:
                    continue
                target = folder / "radiography" / wanted / "images"
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(hospital / "images" / row["filename"], target)
    return folder


@pytest.mark.spark
def test_both_ways_and_what_lies_between_them(
    phantoms: PhantomSummary, spark: SparkSession, tmp_path: Path
) -> None:
    data = _radiography(phantoms, tmp_path / "data")
    images = Counter(path.parent.parent.name for path in data.glob("*/*/*/*"))
    options = dict(SETS)
    words = ["reproduce", "akter-2021-modified", "--data", str(data), "--out", str(tmp_path)]
    words += ["--per-class", options.pop("per-class"), "--processes", "1", "--quiet"]
    words += [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    said = CliRunner().invoke(cli, words)
    assert said.exit_code == 0, said.output
    run = tmp_path / "akter-2021-modified"
    told = Reproduction.model_validate_json((run / RESULT).read_text())
    assert sum(told.images["train"].values()) + sum(told.images["test"].values()) + sum(
        told.images["validation"].values()
    ) == pytest.approx(images.total(), abs=1)
    leak = told.leak
    assert leak is not None
    # As many rows are trained on in both arms: 40 less a fifth, less a tenth of the rest.
    assert told.rows_per_class == 29
    assert set(leak.rows["train"].values()) == {29}
    assert set(leak.rows["test"].values()) == {8}
    assert (leak.accuracy.denominator, leak.accuracy.low, leak.accuracy.method) == (
        16,
        None,
        "none",
    )
    assert told.accuracy.denominator == sum(told.images["test"].values())
    assert 0.5 < leak.tested_kin <= 1.0
    assert leak.on_images.denominator is not None
    assert leak.on_images.denominator < 16
    _says_what_it_is(said.output, run)


def _says_what_it_is(output: str, run: Path) -> None:
    for text in (
        "published 0.9800",
        "split before augmenting, so that no image is on both sides",
        "split after augmenting, as in the paper: a LEAK, not a result",
        "no CI: the 16 tested rows come from",
        "leak minus ours: ",
        "smaller than the paper's: COVID-19:",
        "smaller than the paper's: augmentation: 40 rows per class",
        "guessed: every added convolution has 128 filters",
        "guessed: dropout of 0.2",
    ):
        assert text in " ".join(output.split())
    # Nothing stays of the leak that could be trained with, tested on, predicted with or shown.
    assert not (run / FOLDER).exists()
    assert not (run / f".{FOLDER}.work").exists()
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "29 rows per class were configured" in page
    assert "histogram equalised" in page
    beside = page.partition('<h2 id="paper">')[2].partition("</section>")[0]
    assert "98.0\N{NO-BREAK SPACE}%" in beside
    assert "LEAK, no result" in beside
    assert "The leak has no CI: the 16 tested rows come from" in beside
    assert "Leak minus ours: " in beside
    assert "every added convolution has 128 filters" in beside
    assert beside.count(" / 16<") == 1
    assert read_split(run / "cohort").classes == ("COVID-19", "normal")


def _expanded(folder: Path) -> tuple[pa.Table, Path]:
    rows = [member(n, CLASSES[n % 2]) for n in range(10)]
    images, cohort = write_cohort(folder, rows)
    target = folder / "expanded"
    return expand_here(images, cohort, ExpandSettings(per_class=50), target), target


def test_rows_are_dealt_out_one_by_one_and_kin_is_parted(tmp_path: Path) -> None:
    rows, _ = _expanded(tmp_path)
    cohort = _split_rows(rows, CLASSES, seed=1)
    assert cohort.schema.equals(COHORT)
    assert cohort["patient_id"].null_count == cohort.num_rows == 100
    counts = Counter(zip(cohort["label"].to_pylist(), cohort["split"].to_pylist(), strict=True))
    for name in CLASSES:
        parts = [counts[name, part] for part in ("train", "validation", "test")]
        assert parts == [36, 4, 10]
    parents = [uri.partition("#")[0] for uri in cohort["uri"].to_pylist()]
    sides: dict[str, set[str]] = {}
    for parent, part in zip(parents, cohort["split"].to_pylist(), strict=True):
        sides.setdefault(parent, set()).add(part)
    assert any({"train", "test"} <= found for found in sides.values())
    turned = _split_rows(rows.take(pa.array(range(99, -1, -1))), CLASSES, seed=1)
    assert turned.sort_by("uri").equals(cohort.sort_by("uri"))


def test_nobody_splits_children_by_accident(tmp_path: Path) -> None:
    _, target = _expanded(tmp_path)
    with pytest.raises(
        InputError, match="contains 90 augmented copies, which a split could separate"
    ):
        _check_no_children(target / "table")
    _check_no_children(tmp_path / "tables" / "images")
    assert pq.read_schema(next((tmp_path / "tables" / "images").glob("*.parquet"))).names
