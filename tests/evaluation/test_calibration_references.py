"""Temperatures and operating points against other ways to them, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, special, stats

from pulmospark.core.errors import InputError, UsageError
from pulmospark.evaluation.calibration import (
    apply_temperature,
    called_positive,
    choose_operating_point,
    decided_figures,
    expected_sensitivity,
    fit_temperature,
    smoothed_targets,
)
from pulmospark.evaluation.intervals import effective_images, proportion
from pulmospark.evaluation.results import OperatingPoint


@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_the_temperature_is_the_root_of_the_slope(scale: float) -> None:
    """Of the loss in 1 / T: the mean of sum z (softmax(z / T) - target) is nought."""
    random = np.random.default_rng(4)
    labels = random.integers(0, 3, 200)
    logits = scale * (random.normal(size=(200, 3)) + 1.2 * np.eye(3)[labels])
    counts = np.bincount(labels)
    targets = [[(counts[label] + 1 if kind == label else 1) / (counts[label] + 3)
                for kind in range(3)] for label in labels]  # fmt: skip
    np.testing.assert_allclose(smoothed_targets(labels, 3), targets)

    def slope(inverse: float) -> float:
        chances = np.exp(logits * inverse) / np.exp(logits * inverse).sum(axis=1, keepdims=True)
        return float((logits * (chances - targets)).sum())

    inverse = optimize.brentq(slope, 1e-3, 20.0, xtol=1e-12)
    assert fit_temperature(logits, labels) == pytest.approx(1 / inverse, rel=1e-6)
    # The same whatever is added to all logits of an image, however large.
    moved = logits + 1e9 * random.integers(-5, 5, (200, 1))
    assert fit_temperature(moved, labels) == pytest.approx(1 / inverse, rel=1e-5)


def test_a_temperature_divides_the_logits() -> None:
    logits = np.array([[1.0, 2.0, 4.0], [0.0, -3.0, 3.0]])
    found = apply_temperature(logits, 2.0)
    np.testing.assert_allclose(found, special.softmax(logits / 2.0, axis=1))
    assert found.sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((0, 2)), [],
         "the validation split is empty: temperature scaling needs at least one image"),
        (np.zeros((2, 2)), [0], "2 rows of logits but labels of shape (1,): provide one "
        "label per row"),
        (np.zeros((2, 2)), [[0], [1]],
         "2 rows of logits but labels of shape (2, 1): provide one label per row"),
        (np.zeros((3, 2)), [0, 1, 2], "labels from 0 to 2: must lie in 0 to 1"),
        (np.zeros((2, 2)), [-1, 1], "labels from -1 to 1: must lie in 0 to 1"),
        (np.array([[0.0, 1.0], [0.0, np.inf], [np.nan, 0.0]]), [0, 1, 1],
         "logits of row 1 are not finite: check the model's output"),
        (np.zeros(3), [0, 1, 1], "logits of shape (3,): expected (images, classes)"),
        (np.zeros((3, 0)), [0, 1, 1], "logits of shape (3, 0): expected (images, classes)"),
        (np.zeros((3, 1, 1)), [0, 0, 0], "logits of shape (3, 1, 1): expected (images, classes)"),
    ],
)  # fmt: skip
def test_unsound_logits_are_told_with_what_is_allowed(
    logits: np.ndarray, labels: list[int], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        fit_temperature(logits, np.array(labels, dtype=np.int64))
    assert caught.value.message == message


def test_the_least_that_has_a_temperature() -> None:
    assert fit_temperature(np.zeros((1, 1)), np.array([0])) == 1.0
    assert fit_temperature(np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([1, 1])) == 1.0


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_is_a_number_above_zero(temperature: float) -> None:
    with pytest.raises(UsageError) as caught:
        apply_temperature(np.zeros((1, 2)), temperature)
    assert caught.value.message == f"temperature {temperature}: must be a number above 0"
    assert apply_temperature(np.zeros((1, 2)), 0.5).tolist() == [[0.5, 0.5]]


def _point(**changes: object) -> OperatingPoint:
    scores = np.array([0.1, 0.3, 0.5, 0.5, 0.7, 0.9])
    positive = np.array([False, True, False, True, True, True])
    told = {"groups": np.array([0, 1, 2, 3, 3, 7]), **changes}
    return choose_operating_point(scores, positive, 0.75, "COVID-19", **told)  # type: ignore[arg-type]


def test_all_that_an_operating_point_states() -> None:
    point = _point()
    # Of four positives, in three patients, three are at 0.5 or above.
    hits, images = np.array([0.0, 2.0, 1.0]), np.array([1.0, 2.0, 1.0])
    worth = effective_images(hits, images)
    right = worth * 0.75
    low = stats.beta.ppf(0.025, right, worth - right + 1)
    high = stats.beta.ppf(0.975, right + 1, worth - right)
    assert point == OperatingPoint(
        positive_class="COVID-19", threshold=0.5, sensitivity_target=0.75, chosen_on=6,
        reached=True, positives=4, positive_groups=3, expected_low=point.expected_low,
        expected_high=point.expected_high,
    )  # fmt: skip
    assert (point.expected_low, point.expected_high) == pytest.approx((low, high))
    apart = _point(groups=None)
    exact = stats.binomtest(3, 4).proportion_ci(0.95, method="exact")
    assert (apart.expected_low, apart.expected_high) == pytest.approx(exact)
    assert apart.positive_groups == 4
    wide = _point(groups=None, confidence=0.99)
    exact = stats.binomtest(3, 4).proportion_ci(0.99, method="exact")
    assert (wide.expected_low, wide.expected_high) == pytest.approx(exact)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_target_may_be_none_or_all(target: float) -> None:
    scores = np.array([0.2, 0.4, 0.6])
    point = choose_operating_point(scores, np.array([True, False, True]), target, "a")
    assert point.threshold == (0.2 if target else 0.6)


def test_the_expected_sensitivity_of_patients_with_gaps_in_their_numbers() -> None:
    called = np.array([True, True, False, True])
    found = expected_sensitivity(called, np.array([2, 9, 9, 30]), 0.9)
    worth = effective_images(np.array([1.0, 1.0, 1.0]), np.array([1.0, 2.0, 1.0]))
    assert worth < 4
    right = worth * 0.75
    assert found == pytest.approx(
        (stats.beta.ppf(0.05, right, worth - right + 1),
         stats.beta.ppf(0.95, right + 1, worth - right))
    )  # fmt: skip


@pytest.mark.parametrize(
    ("scores", "positive", "target", "message"),
    [
        ([0.5], [True], 1.2, "target sensitivity 1.2: must lie in 0 to 1"),
        ([0.5], [True], -0.1, "target sensitivity -0.1: must lie in 0 to 1"),
    ],
)
def test_unsound_targets_are_told_with_what_is_allowed(
    scores: list[float], positive: list[bool], target: float, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        choose_operating_point(np.array(scores), np.array(positive), target, "a")
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("scores", "positive", "message"),
    [
        ([0.5, 0.5], [True],
         "probabilities of shape (2,) and labels of shape (1,): provide one of each per image"),
        ([[0.5]], [[True]],
         "probabilities of shape (1, 1) and labels of shape (1, 1): "
         "provide one of each per image"),
        ([0.0, 1.0, 1.5, -1.0], [True] * 4, "probability 1.5 of row 2: must lie in 0 to 1"),
        ([0.0, -0.25], [True] * 2, "probability -0.25 of row 1: must lie in 0 to 1"),
        ([0.0, math.nan], [True] * 2, "probability nan of row 1: must lie in 0 to 1"),
    ],
)  # fmt: skip
def test_unsound_probabilities_are_told_with_what_is_allowed(
    scores: list[float], positive: list[bool], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        choose_operating_point(np.array(scores), np.array(positive), 0.9, "a")
    assert caught.value.message == message


def test_groups_that_are_no_images_are_told() -> None:
    with pytest.raises(InputError) as caught:
        choose_operating_point(
            np.array([0.5]), np.array([True]), 0.9, "a", groups=np.array([1, 2])
        )
    assert caught.value.message == "groups of shape (2,) for 1 images: provide one per image"


def test_figures_of_decisions_are_proportions_over_patients() -> None:
    positive = np.array([True, True, True, False, False, False, False, True])
    scores = np.array([0.9, 0.5, 0.2, 0.6, 0.3, 0.1, 0.0, 0.7])
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 5])
    point = _point()
    called = called_positive(point, scores)
    assert called.tolist() == [True, True, False, True, False, False, False, True]
    found = decided_figures(point, called_positive(point, scores), positive, groups, 0.8)
    assert found.point == point
    assert found.thresholds == ()
    assert found.sensitivity == proportion(called[positive], None, groups[positive], 0.8)
    assert found.specificity == proportion(~called[~positive], None, groups[~positive], 0.8)
    assert found.ppv == proportion(positive[called], None, groups[called], 0.8)
    assert found.npv == proportion(~positive[~called], None, groups[~called], 0.8)
    folds = decided_figures(point, called, positive, groups, 0.8, thresholds=(0.4, 0.6))
    assert folds == found.model_copy(update={"thresholds": (0.4, 0.6)})
