"""Metrics and audits as tables, beside the JSON, scikit-learn and the readers of others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deltalake
import duckdb
import duckdb_extensions
import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as golden

import pulmospark as ps
from pulmospark.audit import registry as audits
from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.core.result_schemas import AUDITS, METRICS
from pulmospark.data.cohort.split_summary import read_split
from pulmospark.evaluation import registry
from pulmospark.experiment.evaluate import evaluate
from pulmospark.experiment.run_folder import RunFolder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conftest import FinishedRun

pytestmark = pytest.mark.spark

_FIGURE = {
    **{"value": "value", "low": "low", "high": "high", "method": "ci_method"},
    **{"numerator": "numerator", "denominator": "denominator", "effective": "effective_n"},
    **{"groups": "groups", "note": "note"},
}
"""field of a metric in the JSON -> column of the table"""


def _expected(evaluation: dict[str, Any]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """(subject, class, metric) -> the metric of an evaluation, as its JSON has it."""
    figures = {
        ("model", None, metric.name): evaluation[metric.name] for metric in registry.overall()
    }
    for of_class in evaluation["by_class"]:
        for metric in registry.of_class():
            figures["model", of_class["name"], metric.name] = of_class[metric.name]
    if operating := evaluation["operating"]:
        positive = operating["point"]["positive_class"]
        threshold = {"value": operating["point"]["threshold"], "method": "none"}
        figures["operating_point", positive, "threshold"] = threshold
        for metric in registry.of_decisions():
            figures["operating_point", positive, metric.name] = operating[metric.name]
    for name in registry.BASELINES:
        figures["baseline", None, name] = evaluation["trivial"][name]
    return figures


def _check_equal(rows: list[dict[str, Any]], evaluation: dict[str, Any]) -> None:
    table = {(row["subject"], row["class_name"], row["metric"]): row for row in rows}
    assert len(table) == len(rows)
    figures = _expected(evaluation)
    assert table.keys() == figures.keys()
    for key, figure in figures.items():
        row = table[key]
        for field, column in _FIGURE.items():
            assert row[column] == figure.get(field), (key, column)
        assert (row["value"] is None) == (row["undefined"] is not None), key
        assert row["confidence"] == (None if row["low"] is None else evaluation["confidence"])
        assert row["n"] == evaluation["images"]
        supports = {of["name"]: of["support"] for of in evaluation["by_class"]}
        assert row["support"] == supports.get(key[1])


@pytest.fixture(scope="module")
def run(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run, evaluated for patients as well."""
    root = tmp_path_factory.mktemp("tables") / "run"
    shutil.copytree(finished_run.folder.root, root)
    settings = EvaluateSettings(replicates=100, levels=("patient",))
    evaluate(finished_run.experiment.model_copy(update={"evaluate": settings}), RunFolder(root))
    return RunFolder(root)


def test_each_metric_of_the_json_is_a_row(run: RunFolder) -> None:
    record = json.loads((run.evaluation / "evaluation.json").read_text(encoding="utf-8"))
    table = pq.read_table(run.evaluation / "metrics")
    assert table.schema.equals(METRICS)
    rows = table.to_pylist()
    levels = [("image", record), *((of["level"], of) for of in record["levels"])]
    assert [level for level, _ in levels] == ["image", "patient"]
    count = 0
    for level, result in levels:
        folds = dict(enumerate(result["cross_validation"]["folds"]))
        assert len(folds) == 2
        for fold, evaluation in {None: result["evaluation"], **folds}.items():
            part = [row for row in rows if (row["level"], row["fold"]) == (level, fold)]
            _check_equal(part, evaluation)
            count += len(part)
    assert count == len(rows)
    assert {row["model_id"] for row in rows} == {record["model_id"]}
    assert {row["cohort_id"] for row in rows} == {read_split(run.cohort).cohort_id}


def test_values_of_folds_are_scikit_learns(run: RunFolder) -> None:
    metrics = ps.read_table(run.root / "metrics")
    predictions = pq.read_table(run.evaluation / "predictions").to_pylist()
    classes = list(dict.fromkeys(metrics["class_name"].dropna()))
    for fold in (None, 0, 1):
        rows = [row for row in predictions if fold in (None, row["fold"])]
        of_fold = metrics["fold"].isna() if fold is None else metrics["fold"] == fold
        part = metrics[of_fold & (metrics["level"] == "image") & (metrics["subject"] == "model")]
        truth = [row["label"] for row in rows]
        values = part.set_index(["metric", part["class_name"].fillna("")])["value"]
        accuracy = golden.accuracy_score(truth, [row["prediction"] for row in rows])
        assert values["accuracy", ""] == pytest.approx(accuracy)
        for number, name in enumerate(classes):
            scores = np.asarray([row["probability"][number] for row in rows])
            positive = np.asarray(truth) == name
            area = golden.roc_auc_score(positive, scores)
            assert values["auroc", name] == pytest.approx(area)


def test_each_audit_is_a_row_and_what_did_not_run_says_so(run: RunFolder) -> None:
    report = json.loads((run.audit / "audit.json").read_text(encoding="utf-8"))
    table = pq.read_table(run.audit / "audits")
    assert table.schema.equals(AUDITS)
    rows = {row["audit"]: row for row in table.to_pylist()}
    assert rows.keys() == {audit.name for audit in audits.AUDITS}
    for audit in report["audits"]:
        row = rows.pop(audit["name"])
        for field in ("title", "verdict", "sentence", "threshold", "why", "remedy", "seconds"):
            assert row[field] == audit[field]
        bounds = ("value", "low", "high")
        figures = [(of["name"], *map(of["figure"].get, bounds)) for of in audit["figures"]]
        measures = [(of["measure"], *map(of.get, bounds)) for of in row["measures"]]
        assert measures == figures
        first = (row["measure"], *map(row.get, bounds))
        assert first == (measures[0] if measures else (None, None, None, None))
        assert (row["not_assessable"] is not None) == (audit["verdict"] == "not assessable")
        assert (row["images"], row["cohort_id"]) == (report["images"], report["cohort_id"])
    assert rows.keys() == set(report["costly_left_out"])
    assert {row["verdict"] for row in rows.values()} == {"not run"}
    assert all("--all" in row["remedy"] and row["not_assessable"] for row in rows.values())


def _of_duckdb(place: Path) -> pd.DataFrame:
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        duckdb_extensions.import_extension("delta", con=connection)
        return connection.sql(f"SELECT * FROM delta_scan('{place}')").df()


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "pyarrow": lambda place: (
        deltalake.DeltaTable(place).to_pyarrow_dataset().to_table().to_pandas()
    ),
    "pandas": pd.read_parquet,
    "duckdb": _of_duckdb,
    "polars": lambda place: pd.DataFrame(polars.read_delta(str(place)).to_dicts()),
    "deltalake": lambda place: deltalake.DeltaTable(place).to_pandas(),
}


@pytest.mark.parametrize("name", ["metrics", "audits"])
def test_others_read_the_same_rows(run: RunFolder, spark: SparkSession, name: str) -> None:
    place = {"metrics": run.evaluation, "audits": run.audit}[name] / name
    plain = pq.read_table(place)
    numbers = ps.read_table(run.root / name)["value"]
    assert len(numbers) == plain.num_rows
    for reader, read in _READERS.items():
        frame = read(place)
        assert list(frame.columns) == plain.column_names, reader
        np.testing.assert_array_equal(frame["value"].astype(float), numbers, err_msg=reader)
    frame = spark.read.format("pulmospark").load(str(place))
    assert frame.columns == plain.column_names
    assert [row.value for row in frame.collect()] == plain["value"].to_pylist()


def test_rows_of_a_run_are_joined_and_those_of_two_are_told_apart(
    run: RunFolder, finished_run: FinishedRun
) -> None:
    metrics, checks = (ps.read_table(run.root / name) for name in ("metrics", "audits"))
    assert set(metrics["run_id"]) == set(checks["run_id"])
    assert set(metrics["model_id"]) == set(checks["model_id"].dropna())
    before = ps.read_table(finished_run.folder.root / "metrics")
    both = pd.concat([before, metrics])
    key = [
        "run_id",
        "model_id",
        "evaluated_at",
        "level",
        "fold",
        "subject",
        "class_name",
        "metric",
    ]
    assert not both.duplicated(key).any()


def test_the_units_are_a_delta_table(run: RunFolder) -> None:
    units = pa.table(deltalake.DeltaTable(run.evaluation / "units").to_pyarrow_table())
    assert set(units["level"].to_pylist()) == {"patient"}
    assert units.num_rows == len(pq.read_table(run.evaluation / "units" / "patient.parquet"))
    assert sorted(path.name for path in (run.evaluation / "units").iterdir()) == [
        "_delta_log",
        "patient.parquet",
    ]
