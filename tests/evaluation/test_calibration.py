"""Temperatures and operating points against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pulmospark.core import limits
from pulmospark.core.errors import InputError, UsageError
from pulmospark.evaluation import metrics
from pulmospark.evaluation.calibration import (
    apply_temperature,
    choose_operating_point,
    fit_temperature,
    operating_figures,
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
        value = metrics.log_loss(labels, apply_temperature(logits, temperature))
        assert value is not None
        return value

    grid = np.exp(np.linspace(math.log(found) - 0.5, math.log(found) + 0.5, 401))
    assert loss(found) <= min(loss(float(each)) for each in grid) + 1e-12


def test_a_flat_loss_leaves_the_temperature_at_one() -> None:
    assert fit_temperature(np.zeros((4, 3)), np.array([0, 1, 2, 0])) == 1.0


def test_separated_classes_stop_at_the_limit() -> None:
    logits = np.array([[5.0, 0.0], [0.0, 5.0]])
    low = fit_temperature(logits, np.array([0, 1]))
    assert limits.TEMPERATURE_MIN <= low < 0.2
    high = fit_temperature(logits, np.array([1, 0]))
    assert high == pytest.approx(limits.TEMPERATURE_MAX, rel=1e-3)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((0, 2)), [], "no film"),
        (np.zeros((2, 2)), [0], "one each"),
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


def test_a_target_of_whole_films_is_not_rounded_up() -> None:
    scores = np.arange(100) / 100
    point = choose_operating_point(scores, np.ones(100, dtype=bool), 0.07, "a")
    assert point.threshold == 0.93
    assert choose_operating_point(scores, scores > -1, 0.0, "a").threshold == 0.99


def test_without_a_positive_film_the_target_is_not_reached() -> None:
    point = choose_operating_point(np.array([0.2, 0.9]), np.zeros(2, dtype=bool), 0.95, "a")
    assert (point.reached, point.threshold, point.chosen_on) == (False, 0.5, 2)


def test_figures_at_a_point_count_by_hand() -> None:
    positive = np.array([True, True, True, False, False, False, False])
    scores = np.array([0.9, 0.6, 0.2, 0.6, 0.3, 0.1, 0.0])
    point = choose_operating_point(scores, positive, 0.6, "a")
    found = operating_figures(point, scores, positive, np.arange(7), 0.95)
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
