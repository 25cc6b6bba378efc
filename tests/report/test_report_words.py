"""The sentences: headline, verdict against the baselines, warnings, undefined metrics."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulmospark.core import formatting
from pulmospark.evaluation.results import (
    CrossValidation,
    Evaluation,
    Figure,
    FoldSummary,
    TrivialRules,
)
from pulmospark.report import figures, methods, numbers, phrasing, tables
from pulmospark.report.content import Level, ReportContent, SourceSummary
from pulmospark.report.page import render_report
from report import sample
from report.outline import Outline


def figure(value: float | None, half: float = 0.03) -> Figure:
    if value is None:
        return Figure(value=None)
    return Figure(value=value, low=value - half, high=value + half, method="bootstrap")


def beside(model: float, common: float | None, source: float | None) -> Evaluation:
    rules = TrivialRules(
        most_frequent_class=figure(common), most_frequent_class_of_source=figure(source)
    )
    return sample.evaluation().model_copy(update={"accuracy": figure(model), "trivial": rules})


@pytest.mark.parametrize(
    ("model", "common", "source", "tone", "said"),
    [
        (0.95, 0.50, 0.60, "good", "35.0 percentage points above"),
        (0.95, 0.50, 0.80, "good", "15.0 percentage points above"),
        (0.90, 0.50, 0.86, "caution", "CI overlaps"),
        (0.85, 0.50, 0.86, "bad", "does as well or better"),
        (0.86, 0.50, 0.86, "bad", "does as well or better"),
        (0.52, 0.50, 0.50, "bad", "most frequent class"),
        (0.90, 0.50, None, "unknown", "has no accuracy"),
    ],
)
def test_verdict(
    model: float, common: float | None, source: float | None, tone: str, said: str
) -> None:
    verdict = phrasing.verdict(beside(model, common, source))
    assert verdict.tone == tone
    assert said in verdict.sentence


def test_a_model_near_the_source_rule_may_have_learned_the_hospital() -> None:
    narrow = beside(0.90, 0.5, 0.87)
    rules = TrivialRules(
        most_frequent_class=figure(0.5, 0.001),
        most_frequent_class_of_source=figure(0.87, 0.001),
    )
    narrow = narrow.model_copy(update={"accuracy": figure(0.9, 0.001), "trivial": rules})
    verdict = phrasing.verdict(narrow)
    assert verdict.tone == "caution"
    assert "only 3.0 percentage points" in verdict.sentence
    assert "learned to recognise the hospital" in verdict.explanation


def test_sources_that_give_the_class_away_are_told_even_of_a_good_model() -> None:
    assert "The source alone predicts much" in phrasing.verdict(beside(0.95, 0.5, 0.8)).explanation
    assert (
        "The source alone predicts much"
        not in phrasing.verdict(beside(0.95, 0.5, 0.55)).explanation
    )


def test_nothing_is_claimed_where_the_rules_were_not_worked_out() -> None:
    without = sample.evaluation().model_copy(update={"trivial": None})
    assert phrasing.verdict(without).tone == "unknown"


def headline(content: ReportContent) -> str:
    """The headline of a report, its spaces made plain."""
    return " ".join(Outline(render_report(content)).text_of("headline").split())


def test_the_headline_has_accuracy_ci_patients_and_sensitivity() -> None:
    content = sample.content()
    one = content.evaluation
    text = headline(content)
    value, low, high = (
        f"{100 * (x or 0):.1f}" for x in (one.accuracy.value, one.accuracy.low, one.accuracy.high)
    )
    assert text.startswith(f"Accuracy {value} % (95 % CI {low} to {high} %): ")
    correct = int(np.trace(np.asarray(one.confusion)))
    assert correct == one.accuracy.numerator
    assert f"{correct} of {one.images} images classified correctly" in text
    assert f"from {one.groups} patients that the model was not trained on" in text
    assert one.operating is not None
    sensitivity = 100 * (one.operating.sensitivity.value or 0.0)
    assert f"Sensitivity for COVID-19 {sensitivity:.1f} % (95 % CI" in text


def test_the_headline_says_phantoms_folds_and_unknown_patients() -> None:
    content = sample.content(is_phantom=True, cross_validation=sample.cross_validation())
    text = headline(content)
    assert "425 phantoms classified correctly" in text
    assert "from 314 synthetic patients" in text
    assert "5-fold cross-validation" in text
    unknown = sample.content(images_without_patient=425)
    assert "the patients are not known" in headline(unknown)
    assert "patients" not in phrasing.groups(unknown)
    some = sample.content(images_without_patient=3)
    assert "not known for 3 of them" in headline(some)


def test_patients_are_not_the_groups_that_a_split_keeps_together() -> None:
    one = sample.evaluation()
    joined = sample.content(known_patients=one.groups + 7)
    told = f"{one.groups + 7} patients ({one.groups} groups, joined by name or near copy)"
    assert phrasing.groups(joined) == told
    assert f"from {told} that the model was not trained on" in phrasing.tested_on(joined)
    assert f"replicates over {told}" in methods.overall_methods(one, joined)
    alike = sample.content(known_patients=one.groups)
    assert phrasing.groups(alike) == f"{one.groups} patients"
    some = sample.content(images_without_patient=9, known_patients=one.groups)
    assert "several joined by name or near copies" in phrasing.groups(some)
    apart = sample.content(images_without_patient=9, known_patients=one.groups - 9)
    assert (
        phrasing.groups(apart) == f"{one.groups} groups (a patient, or an image of an unknown one)"
    )
    none = sample.content(images_without_patient=one.images, known_patients=0)
    assert phrasing.groups(none).startswith(f"{one.images} images ({one.groups} groups")


def test_scans_are_of_patients_where_these_are_known() -> None:
    one = sample.evaluation()
    levels = (Level(unit="scan", pooling="mean", evaluation=one),)
    rows = tables.level_rows(sample.content(levels=levels, known_patients=one.groups))
    assert [row.whose for row in rows] == [f"{one.groups} patients"] * 2
    rows = tables.level_rows(sample.content(levels=levels, images_without_patient=3))
    assert rows[1].whose == f"{one.groups} groups"


def test_a_figure_without_an_interval_says_why() -> None:
    one = sample.evaluation()
    why = Figure(value=1.0, note="all replicates are equal: no CI can be computed")
    bound = Figure(value=1.0, low=0.9, high=1.0, method="bound", note="Newcombe's bounds")
    classes = tuple(
        figures.model_copy(update={"f1": why, "mcc": Figure(value=0.5), "auroc": bound})
        for figures in one.by_class
    )
    told = one.model_copy(update={"by_class": classes})
    table = tables.class_table(told)
    assert table.notes == (
        "All replicates are equal: no CI can be computed.",
        "No CI can be computed from so few images or patients.",
        "Newcombe's bounds.",
    )
    assert "AUROC, where all replicates are equal: Newcombe's bounds" in methods.class_methods(
        told, sample.content()
    )


def test_a_figure_of_a_class_over_the_folds_names_the_class() -> None:
    rows = tables.fold_rows(_of_classes())
    assert [(row.name, row.of) for row in rows] == [
        ("Accuracy", None),
        ("Sensitivity", "COVID-19"),
        ("Sensitivity", "<b>ward"),
    ]
    drawn = figures.folds(_of_classes())
    assert drawn is not None
    assert "Sensitivity, COVID-19, mean 0.800" in drawn.alt
    assert "<title>Sensitivity, COVID-19, fold 2: 0.900</title>" in drawn.svg
    page = render_report(sample.content(cross_validation=_of_classes()))
    assert "Sensitivity: <bdi>&lt;b&gt;ward</bdi>" in page


def _of_classes() -> CrossValidation:
    told = (("accuracy", None), ("sensitivity", "COVID-19"), ("sensitivity", "<b>ward"))
    summary = tuple(
        FoldSummary(name=name, class_name=of, mean=0.8, spread=0.1, values=(0.7, 0.9))
        for name, of in told
    )
    return sample.cross_validation().model_copy(update={"summary": summary})


def test_headline_without_a_tested_image() -> None:
    empty = sample.evaluation().model_copy(update={"images": 0, "accuracy": Figure(value=None)})
    text = headline(sample.content(evaluation=empty))
    assert text == "No image was tested, so there is no accuracy."


def test_small_classes_and_sums_that_do_not_add_up_are_warned_of() -> None:
    short = SourceSummary(name="s", layout="tree", files_seen=10, images=8, rejects=1)
    content = sample.content(
        evaluation=sample.evaluation((29, 30, 60)), sources=(short,), warnings=("One.", "One.")
    )
    first, small, sums = phrasing.warnings(content)
    assert first == "One."
    assert "COVID-19" in small
    assert "29 tested images" in small
    assert "do not add up" in sums


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_number_is_ever_shown_as_nan(value: float) -> None:
    shown = numbers.number(value)
    assert ("nan" not in shown) and ("inf" not in shown)
    if not math.isfinite(value):
        assert shown == numbers.DASH


@given(st.floats(0, 1e6))
def test_durations_never_show_sixty_of_the_smaller_unit(seconds: float) -> None:
    shown = formatting.duration(seconds)
    assert re.search(r"\b60 (s|min)", shown) is None
    assert "e" not in shown.replace("under", "")


def test_undefined_figures_are_dashes_with_a_reason_each_told_once() -> None:
    one = sample.evaluation()
    undefined = Figure(value=None)
    classes = tuple(
        figures.model_copy(update={"ppv": undefined, "auroc": undefined})
        for figures in one.by_class
    )
    table = tables.class_table(one.model_copy(update={"by_class": classes}))
    assert [note.split(":")[0] for note in table.notes] == ["PPV", "AUROC"]
    for row in table.rows:
        shown = dict(zip(table.headings, row.cells, strict=True))
        assert (shown["PPV"].value, shown["PPV"].note) == (numbers.DASH, 1)
        assert (shown["AUROC"].value, shown["AUROC"].note) == (numbers.DASH, 2)
        assert shown["NPV"].note is None


def test_a_figure_that_is_not_a_number_is_undefined_too() -> None:
    bad = sample.evaluation().model_copy(update={"brier": Figure(value=math.nan)})
    cell = tables.overall_table((bad,)).rows[4].cells[0]
    assert cell.undefined
    assert cell.note == 1


def test_exclusions_beyond_the_limit_keep_their_sum() -> None:
    from pulmospark.core import limits
    from pulmospark.report.content import Exclusion

    many = tuple(
        Exclusion(reason="finding in no class", finding=f"f{i}", count=i) for i in range(60)
    )
    shown, rest = tables.shown_exclusions(many)
    assert len(shown) == limits.REPORT_ROWS_MAX
    hidden = sum(one.count for one in many) - sum(one.count for one in shown)
    assert f"{hidden} images for 20 further" in rest
