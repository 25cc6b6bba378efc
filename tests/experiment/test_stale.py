"""Stages run again one by one: what no longer fits together is told, never evaluated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from pulmospark.core.errors import InputError
from pulmospark.experiment import pipeline
from pulmospark.experiment.audit import old_audits, shown_audits
from pulmospark.experiment.evaluate import other_evaluation
from pulmospark.experiment.run_folder import RunFolder

if TYPE_CHECKING:
    from conftest import FinishedRun

pytestmark = pytest.mark.spark


@pytest.fixture
def copy(finished_run: FinishedRun, tmp_path: Path) -> FinishedRun:
    """The finished run, to be changed."""
    root = tmp_path / finished_run.folder.root.name
    shutil.copytree(finished_run.folder.root, root)
    return type(finished_run)(finished_run.experiment, RunFolder(root), finished_run.result)


def test_evaluated_twice_is_the_same(copy: FinishedRun) -> None:
    again = pipeline.run_evaluate(copy.experiment, copy.folder)
    assert again.evaluation == copy.result.evaluate.evaluation
    assert again.cross_validation == copy.result.evaluate.cross_validation
    assert again.model_id == copy.result.evaluate.model_id


def test_a_model_of_another_cohort_is_not_evaluated(
    copy: FinishedRun, spark: SparkSession
) -> None:
    other = copy.experiment.model_copy(update={"seed": 77})
    pipeline.run_split(other, copy.folder, spark)
    with pytest.raises(InputError, match=r"another cohort.*pulmospark train"):
        pipeline.run_evaluate(other, copy.folder)
    assert (copy.folder.evaluation / "evaluation.json").is_file()  # the old one stays


def test_a_model_of_another_cohort_is_neither_audited_nor_reported(
    copy: FinishedRun, spark: SparkSession
) -> None:
    audit = copy.experiment.audit.model_copy(update={"costly": True})
    other = copy.experiment.model_copy(update={"seed": 77, "audit": audit})
    assert old_audits(copy.folder) is None
    assert shown_audits(copy.folder) is not None
    parted = pipeline.run_split(other, copy.folder, spark)
    assert shown_audits(copy.folder) is None
    assert "another split" in (old_audits(copy.folder) or "")
    found = pipeline.run_audit(other, copy.folder, spark, quiet=True)
    told = {one.name: one for one in found.audits}
    for name in ("subgroups", "calibration", "covered_lungs", "heat_maps"):
        assert told[name].verdict == "not assessable"
        assert "trained on another split" in told[name].sentence
        assert "pulmospark train" in told[name].remedy
    assert told["near_duplicates"].verdict == "pass"
    assert found.cohort_id == parted.cohort_id
    assert shown_audits(copy.folder) is not None
    with pytest.raises(InputError, match=r"another cohort.*pulmospark train.*evaluate"):
        pipeline.run_report(other, copy.folder)


def test_an_audit_of_another_split_is_left_out_of_the_report(copy: FinishedRun) -> None:
    record = copy.folder.audit / "audit.json"
    told = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps({**told, "cohort_id": "another"}), encoding="utf-8")
    page = pipeline.run_report(copy.experiment, copy.folder).read_text(encoding="utf-8")
    assert 'id="audits"' not in page
    assert "run `pulmospark audit` again" in page
    assert "Failed audits" not in copy.folder.claim.read_text(encoding="utf-8")


def test_figures_of_another_model_are_not_reported(copy: FinishedRun) -> None:
    record = copy.folder.evaluation / "evaluation.json"
    told = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps({**told, "model_id": "another"}), encoding="utf-8")
    assert "another model" in (other_evaluation(copy.folder) or "")
    with pytest.raises(InputError, match="pulmospark evaluate"):
        pipeline.run_report(copy.experiment, copy.folder)


def test_images_without_a_score_are_told(copy: FinishedRun) -> None:
    for part in (copy.folder.training / "scores").glob("*.parquet"):
        rows = pq.read_table(part)
        part.unlink()  # it may be a link, whose file is not ours to write in
        uris = sorted(set(rows["uri"].to_pylist()))[1:]
        pq.write_table(rows.filter(pc.is_in(rows["uri"], pa.array(uris))), part)
    with pytest.raises(InputError, match=r"has scores for \d+ of the \d+ images"):
        pipeline.run_evaluate(copy.experiment, copy.folder)


def test_tables_of_another_size_or_time_are_not_trained_on(
    copy: FinishedRun, spark: SparkSession
) -> None:
    settings = copy.experiment.ingest.model_copy(update={"size": 64})
    small = copy.experiment.model_copy(update={"ingest": settings})
    with pytest.raises(InputError, match="pulmospark ingest"):
        pipeline.run_train(small, copy.folder, spark, quiet=True)
    record = copy.folder.cohort / "split.json"
    told = record.read_text()
    record.write_text(told.replace('"images": ', '"images": 9', 1))
    with pytest.raises(InputError, match="pulmospark split"):
        pipeline.run_train(copy.experiment, copy.folder, spark, quiet=True)
