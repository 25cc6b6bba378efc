"""A metric that the how-to adds is everywhere that metrics are, and old results lack it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as reference
from pydantic import ValidationError

from docs.pages import blocks
from evaluation.test_evaluate import CLASSES, SETTINGS, drawn
from pulmospark.cli import printing
from pulmospark.evaluation import registry
from pulmospark.evaluation.calibration import choose_operating_point
from pulmospark.evaluation.evaluate import (
    FoldPredictions,
    cross_validate_summary,
    evaluate_predictions,
)
from pulmospark.evaluation.results import Evaluation
from pulmospark.experiment.compare import compare
from pulmospark.experiment.evaluate import EvaluateResult
from pulmospark.report.comparison import render_comparison
from pulmospark.report.comparison_content import ModelFigures
from pulmospark.report.exports import latex_table, metric_rows
from pulmospark.report.external import effect, render_external_page
from pulmospark.report.frames import metrics_frame
from pulmospark.report.page import render_report
from pulmospark.tracking.record import figures_of
from report import sample
from report.outline import Outline
from report.test_report_comparison import example_comparison
from report.test_report_external import page_content


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> tuple[registry.Metric, ...]:
    """The metrics of the how-to, registered."""
    (code,) = (b.text for b in blocks("python") if b.page.name == "new-metric.md")
    names: dict[str, Any] = {}
    exec(compile(code, "new-metric.md", "exec"), names)
    monkeypatch.setattr(registry, "METRICS", (*registry.METRICS, *names["NEW"]))
    return tuple(names["NEW"])


def evaluated() -> Evaluation:
    return evaluate_predictions(**drawn(300, 150), classes=CLASSES, settings=SETTINGS, seed=1)


def test_a_new_metric_is_computed_with_its_interval_and_read_back(
    added: tuple[registry.Metric, ...],
) -> None:
    kappa, youden = added
    given = drawn(300, 150)
    labels, predicted = given["labels"], given["probabilities"].argmax(axis=1)
    figure = kappa.of(evaluated())
    assert figure.value == pytest.approx(reference.cohen_kappa_score(labels, predicted))
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < reference.cohen_kappa_score(labels, predicted) < figure.high
    assert (figure.method, figure.numerator) == ("bootstrap", None)
    for number, row in enumerate(evaluated().by_class):
        expected = reference.balanced_accuracy_score(
            labels == number, predicted == number, adjusted=True
        )
        assert youden.of(row).value == pytest.approx(expected)
    again = Evaluation.model_validate_json(evaluated().model_dump_json())
    assert again == evaluated()
    assert json.loads(again.model_dump_json())["kappa"]["value"] == figure.value


def test_a_new_metric_is_in_folds_frames_trackers_and_the_terminal(
    added: tuple[registry.Metric, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    folds = [FoldPredictions(**drawn(120, 60, seed=seed)) for seed in range(3)]
    summary = cross_validate_summary(folds, CLASSES, SETTINGS, 1).summary
    by_name = {(row.name, row.class_name): row for row in summary}
    values = by_name["kappa", None].values
    assert by_name["kappa", None].mean == pytest.approx(np.mean([v or 0.0 for v in values]))
    assert all(("youden", name) in by_name for name in CLASSES)
    frame = metrics_frame(evaluated())
    low, value, high = frame[["low", "value", "high"]].loc["kappa"].to_numpy(np.float64)
    assert low < value < high
    tracked = figures_of(evaluated())
    assert tracked["kappa"] == added[0].of(evaluated()).value
    assert {"kappa_low", "kappa_high", "COVID-19/youden"} <= tracked.keys()
    printing.say_evaluate(
        EvaluateResult(folder=Path("evaluation"), model_id="m", evaluation=evaluated())
    )
    assert "cohen's kappa" in capsys.readouterr().out.casefold()


def test_a_new_metric_is_on_the_pages_and_in_the_files_for_a_paper(
    added: tuple[registry.Metric, ...],
) -> None:
    content = sample.content(evaluation=evaluated())
    text = Outline(render_report(content)).text
    assert all(metric.label in text for metric in added)
    rows = {(row[1], row[2]): row[3] for row in metric_rows(content)}
    assert rows[None, "kappa"] == added[0].of(evaluated()).value
    assert all((name, "youden") in rows for name in CLASSES)
    table = latex_table(content)
    assert "Cohen's kappa" in table
    assert "Youden" not in table  # not of the main metrics
    page = page_content(inside=evaluated(), outside=evaluated(), recalibrated=evaluated())
    assert "Cohen's kappa" in Outline(render_external_page(page)).text
    assert "the cohen's kappa from" in (effect(page) or "").casefold()


def test_a_new_metric_is_compared(added: tuple[registry.Metric, ...], tmp_path: Path) -> None:
    comparison = example_comparison()
    kappa = added[0].of(evaluated())
    models = tuple(
        ModelFigures.model_validate({**model.model_dump(), "kappa": kappa})
        for model in comparison.models
    )
    changed = comparison.model_copy(update={"models": models, "folder": tmp_path})
    text = Outline(render_comparison(changed, datetime(2026, 3, 1, tzinfo=UTC))).text
    assert "Cohen's kappa" in text
    compare._write(changed)
    header = (tmp_path / "comparison.csv").read_text(encoding="utf-8").splitlines()[0]
    assert {"accuracy_low", "macro_auroc", "kappa", "kappa_low"} <= set(header.split(","))
    assert compare.read_comparison(tmp_path).models[0] == models[0]


def test_a_run_of_before_lacks_the_metric_and_says_so(
    added: tuple[registry.Metric, ...],
) -> None:
    old = sample.evaluation()
    assert added[0].of(old).note == registry.NOT_COMPUTED
    assert registry.NOT_COMPUTED in "".join(Outline(render_report(sample.content())).text)
    assert "kappa" not in figures_of(old)


def test_a_proportion_of_a_class_is_at_the_operating_point_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rate = registry.Metric(
        name="false_alarms",
        label="False-positive rate",
        scope="class",
        definition="FP / (FP + TN)",
        undefined="every tested image is of this class",
        interval="wilson",
        better="lower",
        proportion=lambda positive, called: (called, ~positive),
    )
    monkeypatch.setattr(registry, "METRICS", (*registry.METRICS, rate))
    given = drawn(300, 150)
    scores, truth = given["probabilities"][:, 0], given["labels"] == 0
    point = choose_operating_point(scores, truth, 0.9, CLASSES[0])
    whole = evaluate_predictions(
        **given, classes=CLASSES, settings=SETTINGS, seed=1, operating_point=point
    )
    assert whole.operating is not None
    called = scores >= point.threshold
    assert rate.of(whole.operating).value == (called & ~truth).sum() / (~truth).sum()
    specificity = whole.by_class[0].specificity.value
    assert specificity is not None
    assert rate.of(whole.by_class[0]).value == pytest.approx(1 - specificity)
    assert figures_of(whole)["operating_point/false_alarms"] == rate.of(whole.operating).value


def test_an_unknown_field_of_a_result_must_be_a_metric() -> None:
    stored = evaluated().model_dump(mode="json")
    assert Evaluation.model_validate(stored | {"later": {"value": 0.5}}).accuracy.value
    with pytest.raises(ValidationError):
        Evaluation.model_validate(stored | {"later": 3})


def test_names_are_unique_and_every_metric_has_one_way_to_be_computed() -> None:
    names = [metric.name for metric in registry.METRICS]
    assert len(names) == len(set(names))
    for metric in registry.METRICS:
        assert (metric.proportion is None) != (metric.compute is None)
        assert (metric.proportion is not None) == (metric.interval == "wilson")
        assert metric.mean_of is None or metric.mean_of in names
