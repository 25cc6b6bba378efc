"""Temperatures and operating points against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from pulmospark.core import limits
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


@pytest.mark.parametrize("true", [0.3, 1.0, 2.5])
def test_the_temperature_is_the_best_of_a_fine_grid_and_near_the_true_one(true: float) -> None:
    random = np.random.default_rng(2)
    clean = random.normal(size=(4000, 3)) * 2
    chances = apply_temperature(clean, 1.0)
    labels = (chances.cumsum(axis=1) < random.random(4000)[:, None]).sum(axis=1).clip(0, 2)
    logits = clean * true
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(true, rel=0.1)

    def loss(temperature: float) -> float:
        return cross_entropy(logits, labels, temperature)

    grid = np.exp(np.linspace(math.log(found) - 0.5, math.log(found) + 0.5, 201))
    assert loss(found) <= min(loss(float(each)) for each in grid) + 1e-12


def test_a_flat_loss_leaves_the_temperature_at_one() -> None:
    assert fit_temperature(np.zeros((4, 3)), np.array([0, 1, 2, 0])) == 1.0


def cross_entropy(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """The mean of -sum t log p, image by image, with Platt's targets written out."""
    classes = logits.shape[1]
    total = 0.0
    counts = np.bincount(labels, minlength=classes)
    for row, chances in zip(labels, apply_temperature(logits, temperature), strict=True):
        images = int(counts[row])
        for place, chance in enumerate(chances):
            target = (images + 1 if place == row else 1) / (images + classes)
            total -= target * math.log(chance)
    return total / len(labels)


def test_the_targets_of_two_classes_are_platts() -> None:
    found = smoothed_targets(np.array([1, 1, 1, 0]), 2)
    assert found[:3, 1] == pytest.approx([4 / 5] * 3)
    assert found[3] == pytest.approx([2 / 3, 1 / 3])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_targets_are_probabilities_and_favour_the_label(labels: list[int]) -> None:
    found = smoothed_targets(np.array(labels), 5)
    assert found.sum(axis=1) == pytest.approx(1)
    assert (found.argmax(axis=1) == labels).all()


@pytest.mark.parametrize("margin", [1.0, 30.0, 1000.0])
def test_thirty_images_told_apart_without_an_error_are_not_certain(margin: float) -> None:
    random = np.random.default_rng(5)
    labels = np.repeat(np.arange(3), 10)
    logits = np.eye(3)[labels] * margin * random.uniform(0.8, 1.2, size=30)[:, None]
    temperature = fit_temperature(logits, labels)
    highest = apply_temperature(logits, temperature).max(axis=1)
    # The target of each image is 11 / 13; but for the limits the mean would be that.
    assert highest.max() < 0.999
    if margin == 30.0:
        assert highest.mean() == pytest.approx(11 / 13, abs=0.02)


def test_a_temperature_beyond_the_limits_stops_there() -> None:
    logits = np.array([[5.0, 0.0], [0.0, 5.0]])
    high = fit_temperature(logits, np.array([1, 0]))
    assert high == pytest.approx(limits.TEMPERATURE_MAX, rel=1e-3)
    low = fit_temperature(logits / 1e4, np.array([0, 1]))
    assert low == pytest.approx(limits.TEMPERATURE_MIN, rel=1e-3)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((0, 2)), [], "split is empty"),
        (np.zeros((2, 2)), [0], "one label per row"),
        (np.zeros((2, 2)), [0, 2], "must lie in 0 to 1"),
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), [0, 1], "row 1"),
        (np.zeros(3), [0, 1, 1], "shape"),
    ],
)
def test_unsound_logits_are_refused(logits: np.ndarray, labels: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_temperature(logits, np.array(labels, dtype=np.int64))


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=6), st.floats(0.05, 20))
def test_probabilities_of_any_logits_are_sound(row: list[float], temperature: float) -> None:
    found = apply_temperature(np.array([row]), temperature)
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1)
    exact = [1 / sum(math.exp(min((b - a) / temperature, 700)) for b in row) for a in row]
    assert found[0] == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_must_be_above_zero(temperature: float) -> None:
    with pytest.raises(UsageError, match="above 0"):
        apply_temperature(np.zeros((1, 2)), temperature)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=60),
    st.integers(1, 100),
)
def test_the_operating_point_is_the_highest_threshold_that_reaches_the_target(
    drawn: list[tuple[int, bool]], percent: int
) -> None:
    scores = np.array([score / 10 for score, _ in drawn])
    positive = np.array([hit for _, hit in drawn])
    assume(positive.any())
    target = percent / 100
    point = choose_operating_point(scores, positive, target, "COVID-19")
    assert point.reached
    good = [at for at in np.unique(scores) if (scores[positive] >= at).mean() >= target]
    assert point.threshold == max(good)


def test_a_target_of_whole_images_is_not_rounded_up() -> None:
    scores = np.arange(100) / 100
    point = choose_operating_point(scores, np.ones(100, dtype=bool), 0.07, "a")
    assert point.threshold == 0.93
    assert choose_operating_point(scores, scores > -1, 0.0, "a").threshold == 0.99


def test_without_a_positive_image_the_target_is_not_reached() -> None:
    point = choose_operating_point(np.array([0.2, 0.9]), np.zeros(2, dtype=bool), 0.95, "a")
    assert (point.reached, point.threshold, point.chosen_on) == (False, 0.5, 2)
    assert (point.positives, point.expected_low, point.is_coarse) == (0, None, True)


@pytest.mark.parametrize(("n", "target"), [(4, 0.95), (10, 0.9), (40, 0.95), (200, 0.95)])
def test_the_expected_sensitivity_is_clopper_and_pearsons_where_patients_have_one_image(
    n: int, target: float
) -> None:
    scores = np.linspace(0.01, 0.99, 2 * n)
    positive = np.arange(2 * n) % 2 == 1
    point = choose_operating_point(scores, positive, target, "a", confidence=0.9)
    found = int((scores[positive] >= point.threshold).sum())
    assert found == math.ceil(target * n - 1e-9)
    exact = stats.binomtest(found, n).proportion_ci(0.9, method="exact")
    assert (point.expected_low, point.expected_high) == pytest.approx(exact)
    assert (point.chosen_on, point.positives, point.positive_groups) == (2 * n, n, n)
    assert point.is_coarse == (n < 20)


def test_images_of_one_patient_are_worth_fewer() -> None:
    scores = np.repeat(np.linspace(0.05, 0.95, 20), 3)
    positive = np.ones(60, dtype=bool)
    patients = np.repeat(np.arange(20), 3)
    alone = choose_operating_point(scores, positive, 0.9, "a")
    grouped = choose_operating_point(scores, positive, 0.9, "a", groups=patients)
    assert grouped.threshold == alone.threshold
    assert (grouped.positives, grouped.positive_groups) == (60, 20)
    # Three equal images of each of 20 patients are 20 images.
    exact = stats.binomtest(18, 20).proportion_ci(0.95, method="exact")
    assert (grouped.expected_low, grouped.expected_high) == pytest.approx(exact, abs=0.01)
    assert alone.expected_low is not None
    assert grouped.expected_low is not None
    assert grouped.expected_low < alone.expected_low


def test_the_bounds_reach_the_ends_of_the_scale() -> None:
    one = np.array([0])
    assert expected_sensitivity(np.array([True]), one, 0.95) == pytest.approx((0.025, 1.0))
    assert expected_sensitivity(np.array([False]), one, 0.95) == pytest.approx((0.0, 0.975))


def test_groups_have_to_be_as_many_as_images() -> None:
    with pytest.raises(InputError, match="groups of shape"):
        choose_operating_point(
            np.array([0.5]), np.array([True]), 0.9, "a", groups=np.array([1, 2])
        )


def test_figures_at_a_point_count_by_hand() -> None:
    positive = np.array([True, True, True, False, False, False, False])
    scores = np.array([0.9, 0.6, 0.2, 0.6, 0.3, 0.1, 0.0])
    point = choose_operating_point(scores, positive, 0.6, "a")
    found = decided_figures(point, called_positive(point, scores), positive, np.arange(7), 0.95)
    assert point.threshold == 0.6
    counts = {
        name: (figure.numerator, figure.denominator)
        for name in ("sensitivity", "specificity", "ppv", "npv")
        for figure in [getattr(found, name)]
    }
    assert counts == {"sensitivity": (2, 3), "specificity": (3, 4), "ppv": (2, 3), "npv": (3, 4)}


def test_wrong_targets_and_probabilities_are_refused() -> None:
    hit = np.array([True])
    with pytest.raises(UsageError, match="target sensitivity"):
        choose_operating_point(np.array([0.5]), hit, 1.2, "a")
    with pytest.raises(InputError, match="0 to 1"):
        choose_operating_point(np.array([math.nan]), hit, 0.9, "a")
    with pytest.raises(InputError, match="shape"):
        choose_operating_point(np.array([0.5, 0.5]), hit, 0.9, "a")
