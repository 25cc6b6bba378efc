"""Distances of films from others: the measure, the fence, the executors' work, the table."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pulmospark.audit.distances import MEASURED, REFERENCE, DistanceWork, distances, fence
from pulmospark.audit.results import AuditReport, FilmDistances
from pulmospark.cli.main import main
from pulmospark.core import tables
from pulmospark.core.errors import UsageError
from pulmospark.core.settings import AuditSettings
from pulmospark.data.cohort import read_cohort
from pulmospark.experiment.auditing import audit_run, check_model, read_audit
from pulmospark.experiment.folder import RunFolder
from pulmospark.report.audit import render_audit_page
from pulmospark.report.audit_content import AuditPage, shown

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conftest import FinishedRun

WIDTH = 12


def _features(count: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).normal(0, 0.2, (count, WIDTH)) + 1).astype(np.float32)


def _work(folder: Path, reference: np.ndarray, films: dict[str, int]) -> DistanceWork:
    listed = pa.array(list(reference), pa.list_(pa.float32()))
    groups = pa.array(range(len(reference)), pa.int32())
    pq.write_table(pa.table([groups, listed], schema=REFERENCE), folder / "reference.parquet")
    measured = {"uri": list(films), "group": list(films.values())}
    pq.write_table(pa.table(measured, schema=MEASURED), folder / "films.parquet")
    paths = str(folder / "reference.parquet"), str(folder / "films.parquet")
    return DistanceWork(*paths, told_id=str(folder), fence=0.5)


def _chunk(features: np.ndarray, uris: list[str]) -> pa.Table:
    listed = pa.array(list(features), pa.list_(pa.float32()))
    return pa.table([uris, uris, listed], schema=tables.FEATURES)


def test_films_of_the_same_patient_are_no_neighbours() -> None:
    reference = _features(30, 1)
    alone = distances(reference[:4], reference, np.arange(4), np.arange(30))
    with_own = distances(reference[:4], reference)
    assert (alone > with_own).all()  # each film would be its own nearest
    without = [distances(reference[[n]], np.delete(reference, n, axis=0))[0] for n in range(4)]
    np.testing.assert_allclose(alone, without, rtol=1e-5)


def test_the_fence_is_tukeys_outer_one() -> None:
    assert fence(np.asarray([0.0, 1.0, 2.0, 3.0, 4.0])) == 3.0 + 3 * 2.0


def test_a_chunk_becomes_a_row_for_each_film_that_is_audited(tmp_path: Path) -> None:
    reference = _features(30, 1)
    films = np.concatenate([_features(3, 2), -np.ones((1, WIDTH), np.float32)])
    work = _work(tmp_path, reference, {"a": 0, "b": 40, "strange": 41})
    rows = work(_chunk(films, ["a", "left out", "b", "strange"]))["distances"]
    assert rows.schema == tables.DISTANCES
    assert rows["uri"].to_pylist() == ["a", "b", "strange"]
    assert rows["unlike"].to_pylist() == [False, False, True]
    told = distances(films[[0, 2, 3]], reference, np.asarray([0, 40, 41]), np.arange(30))
    np.testing.assert_allclose(rows["distance"].to_numpy(), told, rtol=1e-6)
    assert work(_chunk(films[:1], ["left out"])) == {}


def test_other_features_or_another_reference_have_another_name(tmp_path: Path) -> None:
    work = _work(tmp_path, _features(30, 1), {"a": 0})
    chunk = _chunk(_features(1, 2), ["a"])
    assert work.key(chunk) == work.key(_chunk(_features(1, 2), ["a"]))
    assert work.key(chunk) != work.key(_chunk(_features(1, 3), ["a"]))
    assert work.key(chunk) != replace(work, told_id="another").key(chunk)


def test_distances_need_a_model() -> None:
    check_model(AuditSettings(), None)
    check_model(AuditSettings(with_table=True), Path("bundle"))
    with pytest.raises(UsageError, match="--bundle"):
        check_model(AuditSettings(with_table=True), None)


def test_the_report_says_how_many_and_where() -> None:
    told = FilmDistances(table="distances", films=1204, unlike=3, fence=0.7123, reference=900)
    report = AuditReport(films=1204, audits=(), distances=told, provenance={})

    def page(report: AuditReport) -> str:
        return render_audit_page(
            AuditPage(
                title="t", made_at=datetime(2026, 1, 5, tzinfo=UTC), is_phantom=False, films=1204,
                audits=shown(report, {}), provenance={"settings": {}},
            )
        )  # fmt: skip

    said = page(report)
    assert "<code>distances</code>" in said
    assert "has 1,204 images" in said
    assert "3 lie beyond the fence of 0.712" in said
    without = report.model_copy(update={"distances": None})
    assert "fence" not in page(without)


@pytest.mark.spark
def test_each_film_of_a_run_has_a_row(
    finished_run: FinishedRun, spark: SparkSession, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    copytree(finished_run.folder.root, run.root)
    before = set((run.root / ".training.work" / "features").glob("features-*.parquet"))
    audit = finished_run.experiment.audit.model_copy(
        update={"with_table": True, "skip": ("near_duplicates", "label_conflict")}
    )
    experiment = finished_run.experiment.model_copy(update={"audit": audit})
    told = audit_run(experiment, run, spark, quiet=True).distances
    assert told is not None
    rows = pq.read_table(run.audit / told.table, schema=tables.DISTANCES)
    cohort = read_cohort(run.cohort)
    assert sorted(rows["uri"].to_pylist()) == cohort["uri"].to_pylist()
    assert told.films == rows.num_rows
    found = rows["distance"].to_numpy()
    assert 0 < found.min() < found.max() < 2
    assert told.unlike == int((found > told.fence).sum()) == sum(rows["unlike"].to_pylist())
    assert read_audit(run.audit).distances == told
    # The features that the model was trained on serve again.
    assert set((run.root / ".training.work" / "features").glob("features-*.parquet")) == before
    page = (run.audit / "audit.html").read_text(encoding="utf-8")
    assert f"<code>{told.table}</code>" in page


@pytest.mark.spark
def test_the_command_measures_a_table_by_a_model_that_is_named(
    finished_run: FinishedRun,
    spark: SparkSession,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    del spark  # the command finds the active session
    skipped = "audit.skip=near_duplicates,label_conflict,class_by_border,class_by_brightness"
    common = ["audit", str(finished_run.folder.tables), "--with-table", "--set", skipped, "-q"]
    with pytest.raises(SystemExit) as ended:
        main(common)
    assert ended.value.code == 2
    assert "--bundle" in capfd.readouterr().err
    bundle = ["--bundle", str(finished_run.folder.bundle), "--out", str(tmp_path / "audit")]
    with pytest.raises(SystemExit) as ended:
        main([*common, *bundle])
    assert ended.value.code == 0
    said = capfd.readouterr().out
    told = json.loads((tmp_path / "audit" / "audit.json").read_text(encoding="utf-8"))
    films = pq.read_table(tmp_path / "audit" / "distances").num_rows
    assert films == told["films"] == told["distances"]["films"]
    assert f"distances: {tmp_path / 'audit' / 'distances'}" in said
