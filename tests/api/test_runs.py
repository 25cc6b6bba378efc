"""Runs and tables through the front door: what is refused, what a run says, and its examples."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pulmospark as ps
from pulmospark.audit.results import AuditReport, AuditResult
from pulmospark.core import files

if TYPE_CHECKING:
    from conftest import FinishedRun


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sources": []}, "Experiment: sources: must have 1 or more entries, and has 0"),
        ({"sources": [{"path": "x"}], "clases": {}}, "did you mean 'classes'"),
        ({"sources": [{"pth": "x"}]}, "Experiment: sources.0.path: is missing"),
    ],
)
def test_a_wrong_setting_is_an_error_of_one_line(settings: Any, message: str) -> None:
    with pytest.raises(ps.UsageError, match=message) as raised:
        ps.Experiment(**settings)
    assert "\n" not in str(raised.value)


def test_what_cannot_be_run_is_told_before_spark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ps.UsageError, match=r"gone\.toml: no such file"):
        ps.run("gone.toml")
    experiment = ps.Experiment(sources=(ps.SourceSettings(path=Path("images")),))
    with pytest.raises(ps.InputError, match="images: no such"):
        ps.run(experiment)
    with pytest.raises(ps.UsageError, match="folds is 1"):
        ps.run(experiment, settings={"split.folds": 1})
    with pytest.raises(ps.UsageError, match=r"--set train\.modl: .*did you mean 'model'"):
        ps.run(experiment, settings={"train.modl": None})
    assert list(tmp_path.iterdir()) == []


def test_relative_paths_start_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").write_text('out = "out"\nsources = [{ path = "images" }]\n')
    run = ps.open_run("my.toml")
    assert run.folder == tmp_path / "out" / "experiment"
    assert run.experiment.sources[0].path == tmp_path / "images"


@pytest.fixture
def begun(tmp_path: Path) -> ps.Run:
    """A run that has its settings and nothing else."""
    experiment = ps.Experiment(name="<i>x</i>", sources=(ps.SourceSettings(path=tmp_path),))
    files.write_json(tmp_path / "experiment.json", experiment.model_dump(mode="json"))
    return ps.open_run(tmp_path)


def test_a_run_that_is_not_finished_says_so(begun: ps.Run) -> None:
    assert "not evaluated yet" in repr(begun)
    html = begun._repr_html_()
    assert "not audited yet" in html
    assert "&lt;i&gt;x&lt;/i&gt;" in html
    assert "<i>" not in html
    for read in (lambda: begun.metrics, begun.predictions, lambda: begun.audits):
        with pytest.raises(ps.InputError, match=r"not (evaluated|audited) yet"):
            read()
    with pytest.raises(ps.InputError, match="no report yet"):
        assert begun.report


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ps.UsageError, match="not an experiment's folder"):
        ps.open_run(tmp_path)


def test_audits_are_shown_escaped_and_worst_first() -> None:
    each = (
        AuditResult(name="copies", title="copies", verdict="fail", sentence="5 < 6 & <b>"),
        AuditResult(name="support", title="support", verdict="pass", sentence="enough"),
    )
    report = AuditReport(images=1200, audits=each, provenance={})
    assert repr(report) == str(report) == "<AuditReport of 1,200 images: 1 fail, 1 pass>"
    html = report._repr_html_()
    assert "5 &lt; 6 &amp; &lt;b&gt;" in html
    assert "6 & <b>" not in html
    frame = report.to_pandas()
    assert frame.index.tolist() == ["copies", "support"]
    assert frame.loc["copies", "verdict"] == "fail"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    rows = pa.table({"uri": ["a", "b"], "pixels": [b"12", b"34"]})
    pq.write_table(rows, folder / "part-0.parquet")
    return folder


def test_pixels_are_read_where_they_are_named(table: Path) -> None:
    assert ps.read_table(table).columns.tolist() == ["uri"]
    assert ps.read_table(table, columns=["pixels"])["pixels"].tolist() == [b"12", b"34"]
    assert ps.read_table(table / "part-0.parquet")["uri"].tolist() == ["a", "b"]
    assert len(ps.read_table(table, columns=[])) == 2


def test_a_table_that_is_not_there_is_refused(table: Path) -> None:
    with pytest.raises(ps.UsageError, match=r"no column 'url' \(did you mean 'uri'\?\)"):
        ps.read_table(table, columns=["url"])
    with pytest.raises(ps.InputError, match="no such table"):
        ps.read_table(table / "cohort")
    with pytest.raises(ps.UsageError, match="hdfs://host/x"):
        ps.read_table("hdfs://host/x")


@pytest.mark.parametrize("name", ["images", "rejects", "manifest", "cohort", "predictions"])
def test_a_runs_tables_go_by_their_names(finished_run: FinishedRun, name: str) -> None:
    frame = ps.read_table(finished_run.folder.root / name)
    assert len(frame) > 0
    assert "pixels" not in frame


def test_a_finished_run_tells_what_its_stages_told(finished_run: FinishedRun) -> None:
    run, told = ps.open_run(finished_run.folder.root), finished_run.result
    evaluation = told.evaluate.evaluation
    metrics = run.metrics
    assert metrics.loc["accuracy", "value"] == evaluation.accuracy.value
    assert metrics.loc["accuracy", "denominator"] == evaluation.images
    first = evaluation.by_class[0]
    assert metrics.loc[f"{first.name}/sensitivity", "low"] == first.sensitivity.low
    assert evaluation.trivial is not None
    rule = metrics.loc["trivial/most_frequent_class"]
    assert rule["value"] == evaluation.trivial.most_frequent_class.value
    assert metrics.attrs["confidence"] == evaluation.confidence
    assert run.audits == told.audit
    assert (run.report, run.bundle) == (told.report, told.bundle)
    predictions = run.predictions()
    chances = predictions[[f"probability_{name}" for name in evaluation.classes]]
    assert chances.sum(axis=1).to_numpy() == pytest.approx(1.0)
    assert (chances.idxmax(axis=1) == "probability_" + predictions["prediction"]).all()
    assert f"accuracy {evaluation.accuracy.text()}" in repr(run)
    html = run._repr_html_()
    assert f"{evaluation.images:,} phantoms of" in html
    assert "synthetic patients" in html


def test_metrics_of_another_model_are_not_shown(finished_run: FinishedRun, tmp_path: Path) -> None:
    shutil.copytree(finished_run.folder.evaluation, tmp_path / "evaluation")
    shutil.copy(finished_run.folder.settings, tmp_path)
    run = ps.open_run(tmp_path)
    assert isinstance(run.metrics, pd.DataFrame)
    told = files.read_json(tmp_path / "evaluation" / "evaluation.json")
    shutil.copytree(finished_run.folder.bundle, tmp_path / "bundle")
    files.write_json(tmp_path / "evaluation" / "evaluation.json", told | {"model_id": "other"})
    with pytest.raises(ps.InputError, match="evaluates another model than"):
        assert run.metrics is not None
    assert "not evaluated yet" in repr(run)


def _examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder()
    examples = []
    for name in ps.__all__:
        for found in finder.find(getattr(ps, name), name, globs={"ps": ps}):
            if found.examples and callable(getattr(ps, name)):
                examples.append(found)
    return examples


@pytest.mark.parametrize("example", _examples(), ids=lambda example: example.name)
def test_the_examples_of_the_docstrings_run(
    example: doctest.DocTest,
    finished_run: FinishedRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(finished_run.folder.root)
    uri = ps.open_run(finished_run.folder.root).predictions()["uri"].iloc[0]
    shutil.copy(uri, tmp_path / "image.png")
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(example, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_the_functions_and_classes_have_examples() -> None:
    assert {found.name for found in _examples()} >= {
        *("run", "open_run", "load", "read_table", "Run", "Model", "Model.predict")
    }
