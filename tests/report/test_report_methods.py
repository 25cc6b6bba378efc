"""What pages say of method is what was done: text and value are held against a computation."""

from __future__ import annotations

import html
import math
import re
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import optimize, stats

from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.evaluation.evaluate import (
    FoldPredictions,
    cross_validate_summary,
    evaluate_predictions,
)
from pulmospark.evaluation.inputs import TrainingPart
from pulmospark.evaluation.results import Evaluation, OperatingPoint
from pulmospark.report import phrasing
from pulmospark.report.external import render_external_page
from pulmospark.report.page import render_report
from report import sample
from report.test_report_external import page_content

CLASSES = ("COVID-19", "normal")
SETTINGS = EvaluateSettings(replicates=200)


@dataclass(frozen=True)
class Drawn:
    """Images of patients, with probabilities of two classes."""

    labels: np.ndarray
    probabilities: np.ndarray
    groups: np.ndarray
    sources: np.ndarray


def drawn(patients: int, images_each: int, *, seed: int = 4, sources: int = 2) -> Drawn:
    """Images whose errors come by patient: a model is unsure of some patients in all images."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), images_each)
    labels = groups % 2
    skill = random.normal(1.0, 1.5, patients)[groups] + random.normal(0, 0.3, groups.size)
    chance = 1 / (1 + np.exp(-np.where(labels == 1, skill, -skill)))
    names = np.array(["alder", "birch"])[groups // 2 % sources]
    return Drawn(labels, np.stack([1 - chance, chance], axis=1), groups, names)


def evaluated(given: Drawn, settings: EvaluateSettings = SETTINGS) -> Evaluation:
    return evaluate_predictions(
        given.labels, given.probabilities, given.groups, CLASSES, settings, 1,
        sources=given.sources, trivial=TrainingPart(given.labels, given.sources),
    )  # fmt: skip


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def bounds(share: float, size: float, quantile: float) -> list[str]:
    """Bounds of a score test, as a page prints them."""

    def excess(t: float) -> float:
        return abs(share - t) - quantile * math.sqrt(t * (1 - t) / size)

    roots = (optimize.brentq(excess, 1e-12, share - 1e-9),
             optimize.brentq(excess, share + 1e-9, 1 - 1e-12))  # fmt: skip
    low, high = (f"{root * 100:.1f}" for root in roots)
    return [low, f"{high} %"]


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_images_by_patient_are_said_to_be_worth_fewer_and_their_interval_is_of_those(
    confidence: float,
) -> None:
    settings = EvaluateSettings(replicates=200, confidence=confidence)
    told = evaluated(drawn(40, 3), settings)
    page = text_of(render_report(sample.content(evaluation=told, cross_validation=None)))
    accuracy = told.accuracy
    assert accuracy.value is not None
    assert accuracy.effective is not None
    assert accuracy.effective < 100
    student = stats.t(df=told.groups - 1).isf((1 - confidence) / 2)
    low, high = bounds(accuracy.value, accuracy.effective, student)
    assert f"{low} to {high} Wilson {accuracy.numerator} / 120" in page
    assert f"effective n {accuracy.effective:.1f}" in page
    assert "score interval on the effective sample size" in page
    assert "Student's quantile" in page
    said = f"the 120 images of 40 patients count as {accuracy.effective:.1f} independent ones"
    assert said in page
    assert "counts in full" not in page
    sensitivity = told.by_class[0].sensitivity
    assert sensitivity.value is not None
    assert sensitivity.effective is not None
    quantile = stats.t(df=19).isf((1 - confidence) / 2)  # every other patient has COVID-19
    low, high = bounds(sensitivity.value, sensitivity.effective, quantile)
    assert f"{low} to {high} {sensitivity.numerator} / 60 effective n" in page


def test_images_of_as_many_patients_are_said_to_count_in_full_and_do() -> None:
    told = evaluated(drawn(120, 1))
    page = text_of(render_report(sample.content(evaluation=told, cross_validation=None)))
    accuracy = told.accuracy
    assert accuracy.value is not None
    low, high = bounds(accuracy.value, 120, stats.norm.isf(0.025))
    assert f"{low} to {high} Wilson {accuracy.numerator} / 120" in page
    assert "so each counts in full" in page
    assert "each result counted in full, since no patient has two" in page
    assert "effective n" not in page.replace("(effective n) where it is smaller", "")
    assert "Student" not in page


def test_the_calibration_error_is_said_to_have_the_basic_interval() -> None:
    told = evaluated(drawn(120, 1))
    assert told.calibration_error.method == "basic"
    page = text_of(render_report(sample.content(evaluation=told, cross_validation=None)))
    assert "basic bootstrap" in page
    assert "200 replicates over 120 patients; of the calibration error" in page


def test_pooled_folds_are_said_to_have_a_threshold_each() -> None:
    given = drawn(60, 1)
    folds = [
        FoldPredictions(
            given.labels[part], given.probabilities[part], given.groups[part],
            given.sources[part], TrainingPart(given.labels, given.sources),
            OperatingPoint(positive_class="normal", threshold=threshold, sensitivity_target=0.9,
                           chosen_on=20, reached=True),
        )
        for part, threshold in ((slice(0, 30), 0.25), (slice(30, 60), 0.75))
    ]  # fmt: skip
    cross = cross_validate_summary(folds, CLASSES, SETTINGS, 1)
    page = text_of(render_report(sample.content(evaluation=cross.pooled, cross_validation=cross)))
    assert "from its fold's own threshold upwards (0.250, 0.750; mean 0.500)" in page
    assert "none of them tested here" not in page  # a fold's validation images are, in another
    called = np.where(np.arange(60) < 30, 0.25, 0.75) <= given.probabilities[:, 1]
    positive = given.labels == 1
    found = (called & positive).sum()
    assert f"{found} / {positive.sum()}" in page[page.index("own threshold") :]


def test_the_external_page_says_which_proportions_are_of_fewer_images() -> None:
    by_patient, alone = evaluated(drawn(40, 3)), evaluated(drawn(120, 1))
    other: dict[str, object] = {"recalibrated": None, "recalibration": None, "mapping": ()}
    both = text_of(render_external_page(page_content(inside=alone, outside=by_patient, **other)))
    assert "effective n is that size; Wilson's score interval of the proportion itself" in both
    assert f"effective n {by_patient.accuracy.effective:.1f}" in both
    plain = text_of(render_external_page(page_content(inside=alone, outside=alone, **other)))
    assert "each result counted in full, since no patient has two" in plain
    assert "effective n" not in plain


def test_one_source_leaves_the_rule_of_the_source_unassessable() -> None:
    told = evaluated(drawn(120, 1, sources=1))
    assert told.trivial is not None
    assert told.trivial.sources == 1
    found = phrasing.verdict(told)
    assert found.tone == "unknown"
    assert "source is not assessable" in found.tag
    page = text_of(render_report(sample.content(evaluation=told, cross_validation=None)))
    assert "Better than the image-blind baselines" not in page
    assert "There is one source here, so both baselines are the same" in page
    two = evaluated(drawn(120, 1))
    assert two.trivial is not None
    assert two.trivial.sources == 2
    assert phrasing.verdict(two).tone == "good"


def test_a_source_that_was_not_trained_on_is_none_to_compare_with() -> None:
    given = drawn(120, 1)
    told = evaluate_predictions(
        given.labels, given.probabilities, given.groups, CLASSES, SETTINGS, 1,
        sources=np.full(120, "cedar"), trivial=TrainingPart(given.labels, given.sources),
    )  # fmt: skip
    assert told.trivial is not None
    assert told.trivial.sources == 0
    assert phrasing.verdict(told).tone == "unknown"


def test_folds_of_a_source_each_are_two_sources_together() -> None:
    given = drawn(120, 1)
    folds = [
        FoldPredictions(
            given.labels[part], given.probabilities[part], given.groups[part],
            given.sources[part], TrainingPart(given.labels, given.sources),
        )
        for part in (given.sources == "alder", given.sources == "birch")
    ]  # fmt: skip
    cross = cross_validate_summary(folds, CLASSES, SETTINGS, 1)
    assert cross.pooled.trivial is not None
    assert cross.pooled.trivial.sources == 2
    assert [fold.trivial.sources for fold in cross.folds if fold.trivial] == [1, 1]


def test_images_of_one_class_leave_the_comparison_unassessable() -> None:
    """Of COVID-19 alone the rule that says normal is never right: no comfort in beating it."""
    given = drawn(120, 1)
    mine = given.labels == 0
    told = evaluate_predictions(
        given.labels[mine], given.probabilities[mine], given.groups[mine], CLASSES, SETTINGS, 1,
        sources=given.sources[mine],
        trivial=TrainingPart(np.ones(9, np.int64), np.resize(given.sources, 9)),
    )  # fmt: skip
    assert told.trivial is not None
    assert told.trivial.most_frequent_class.value == 0.0
    found = phrasing.verdict(told)
    assert (found.tone, found.tag) == ("unknown", "Not assessable")
    assert "one class" in found.sentence


def test_without_intervals_nothing_is_clear() -> None:
    told = evaluated(drawn(120, 1))
    bare = told.accuracy.model_copy(update={"low": None, "high": None})
    found = phrasing.verdict(told.model_copy(update={"accuracy": bare}))
    assert found.tone == "unknown"
    assert "no confidence interval" in found.sentence
