"""Every figure beside scikit-learn's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from pulmospark.evaluation import metrics, registry
from pulmospark.evaluation.bootstrap import GroupTables
from pulmospark.evaluation.curves import precision_recall_curve, roc_curve

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Drawn = tuple[Labels, Floats, Labels]


@st.composite
def predictions(draw: st.DrawFn) -> Drawn:
    """Labels, probabilities and whole-number weights: ties, zeros, ones, absent classes."""
    images, classes = draw(st.integers(1, 40)), draw(st.integers(2, 5))
    # Few levels make ties; 10^9 makes probabilities next to 0 and 1.
    level = st.sampled_from([0, 1, 2, 3, 10**9])
    cells = draw(st.lists(level, min_size=images * classes, max_size=images * classes))
    table = np.array(cells, dtype=np.float64).reshape(images, classes)
    table[table.sum(axis=1) == 0] = 1.0
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=images, max_size=images))
    weights = draw(st.lists(st.integers(0, 3), min_size=images, max_size=images))
    weights[0] += 1
    return (
        np.array(labels, dtype=np.int64),
        table / table.sum(axis=1, keepdims=True),
        np.array(weights, dtype=np.int64),
    )


def quiet(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **options)


def same(ours: float | None, theirs: float) -> bool:
    if ours is None or math.isnan(ours):
        return math.isnan(theirs)
    return abs(ours - theirs) <= 1e-9


def area(function: Callable[..., float], hit: Any, scores: Floats, weights: Any) -> float:
    """scikit-learn's area; nan where there is no positive or, for ROC, no negative weight."""
    positives, negatives = weights[hit].sum(), weights[~hit].sum()
    if positives == 0 or (negatives == 0 and function is reference.roc_auc_score):
        return math.nan
    return float(quiet(function, hit, scores, sample_weight=weights))


def share(name: str, truth: NDArray[Any], decided: NDArray[Any], weights: NDArray[Any]) -> float:
    """A proportion of the registry, images counted by their weight; nan where undefined."""
    (metric,) = (each for each in registry.METRICS if each.name == name)
    assert metric.proportion is not None
    hit, among = metric.proportion(truth, decided)
    counted = weights if among is None else weights * among
    return float((counted * hit).sum() / counted.sum()) if counted.sum() else math.nan


@settings(max_examples=60, deadline=None)
@given(predictions())
def test_figures_of_a_confusion_matrix_are_those_of_scikit_learn(drawn: Drawn) -> None:
    labels, probabilities, weights = drawn
    k = probabilities.shape[1]
    said = metrics.predicted_class(probabilities)
    matrix = metrics.confusion_matrix(labels, said, k, weights.astype(np.float64))
    every = list(range(k))
    expected = quiet(reference.confusion_matrix, labels, said, labels=every, sample_weight=weights)
    assert np.array_equal(matrix, expected)
    precision, recall, f1, _ = quiet(
        reference.precision_recall_fscore_support,
        labels,
        said,
        labels=every,
        sample_weight=weights,
        zero_division=np.nan,
    )
    theirs_accuracy = reference.accuracy_score(labels, said, sample_weight=weights)
    assert same(share("accuracy", labels, said, weights), theirs_accuracy)
    for each in every:
        rest = {"sample_weight": weights, "zero_division": np.nan}
        other_recall = quiet(reference.recall_score, labels != each, said != each, **rest)
        other_precision = quiet(reference.precision_score, labels != each, said != each, **rest)
        decided = (labels == each, said == each, weights)
        assert same(share("ppv", *decided), precision[each])
        assert same(share("npv", *decided), other_precision)
        assert same(share("sensitivity", *decided), recall[each])
        assert same(share("specificity", *decided), other_recall)
        assert same(metrics.sensitivity(matrix)[each], recall[each])
        assert same(metrics.f1(matrix)[each], f1[each])
        assert same(metrics.specificity(matrix)[each], other_recall)
        mcc = quiet(
            reference.matthews_corrcoef, labels == each, said == each, sample_weight=weights
        )
        ours = metrics.mcc(matrix)[each]
        assert mcc == 0 if math.isnan(ours) else same(ours, mcc)
    present = np.bincount(labels, weights=weights, minlength=k) > 0
    balanced = quiet(reference.balanced_accuracy_score, labels, said, sample_weight=weights)
    assert same(float(metrics.balanced_accuracy(matrix, present)), balanced)


@settings(max_examples=60, deadline=None)
@given(predictions())
def test_figures_of_probabilities_are_those_of_scikit_learn(drawn: Drawn) -> None:
    labels, probabilities, weights = drawn
    k = probabilities.shape[1]
    floats = weights.astype(np.float64)
    areas = []
    for each in range(k):
        hit, scores = labels == each, probabilities[:, each]
        areas.append(area(reference.roc_auc_score, hit, scores, weights))
        assert same(metrics.auroc(hit, scores, floats), areas[-1])
        expected = area(reference.average_precision_score, hit, scores, weights)
        assert same(metrics.average_precision(hit, scores, floats), expected)
    assert same(metrics.macro_auroc(labels, probabilities, floats), float(np.mean(areas)))
    loss = quiet(
        reference.log_loss, labels, probabilities, labels=list(range(k)), sample_weight=weights
    )
    assert same(metrics.log_loss(labels, probabilities, floats), loss)
    brier = quiet(
        reference.brier_score_loss,
        labels,
        probabilities,
        labels=list(range(k)),
        sample_weight=weights,
        scale_by_half=False,
    )
    assert same(metrics.brier(labels, probabilities, floats), brier)


@settings(max_examples=60, deadline=None)
@given(predictions(), st.integers(2, 20))
def test_calibration_error_is_the_definition_written_out(drawn: Drawn, bins: int) -> None:
    labels, probabilities, weights = drawn
    said = metrics.predicted_class(probabilities)
    edges = np.linspace(0, 1, bins + 1)
    error = 0.0
    for low, high in pairwise(edges.tolist()):
        confidence = probabilities.max(axis=1)
        inside = (confidence >= low) & ((confidence < high) | (high == 1.0))
        if (weight := weights[inside].sum()) > 0:
            mean = np.average(confidence[inside], weights=weights[inside])
            right = np.average((said == labels)[inside], weights=weights[inside])
            error += weight / weights.sum() * abs(mean - right)
    ours = metrics.calibration_error(labels, probabilities, bins, weights.astype(np.float64))
    assert same(ours, error)
    shown = metrics.reliability(labels, probabilities, bins)
    assert sum(each.count for each in shown) == labels.size


@settings(max_examples=60, deadline=None)
@given(predictions(), st.integers(1, 6), st.integers(0, 2**31 - 1))
def test_a_replicate_is_the_figure_of_the_images_it_repeats(
    drawn: Drawn, count: int, seed: int
) -> None:
    labels, probabilities, _ = drawn
    random = np.random.default_rng(seed)
    groups = random.integers(0, count, labels.size)
    multiplicities = random.multinomial(count, np.full(count, 1 / count), size=3).T
    tables = GroupTables.of(labels, probabilities, groups, count, 10)
    found = tables.figures(multiplicities.astype(np.float64))
    for each in range(3):
        images = np.repeat(np.arange(labels.size), multiplicities[groups, each])
        truth, table = labels[images], probabilities[images]
        for name, function in (
            ("log_loss", metrics.log_loss),
            ("brier", metrics.brier),
            ("macro_auroc", metrics.macro_auroc),
        ):
            expected = function(truth, table)
            assert same(found[name][each], math.nan if expected is None else expected)
        if images.size:
            error = metrics.calibration_error(truth, table, 10)
            assert error is not None
            assert same(found["calibration_error"][each], error)
            hit = truth == 0
            ones = np.ones(images.size)
            for name, theirs in (
                ("auroc", reference.roc_auc_score),
                ("auprc", reference.average_precision_score),
            ):
                assert same(found[name][0, each], area(theirs, hit, table[:, 0], ones))
            matrix = metrics.confusion_matrix(
                truth, metrics.predicted_class(table), table.shape[1]
            )
            assert np.allclose(found["mcc"][:, each], metrics.mcc(matrix), equal_nan=True)
            assert np.allclose(found["f1"][:, each], metrics.f1(matrix), equal_nan=True)


@settings(max_examples=80, deadline=None)
@given(predictions())
def test_curves_pass_through_the_points_of_scikit_learn(drawn: Drawn) -> None:
    labels, probabilities, _ = drawn
    hit, scores = labels == 0, probabilities[:, 0]
    if hit.any() and not hit.all():
        x, y, _ = reference.roc_curve(hit, scores, drop_intermediate=False)
        ours = roc_curve(hit, scores)
        assert np.allclose(ours.x, x, atol=1e-12)
        assert np.allclose(ours.y, y, atol=1e-12)
        for at, false, true in zip(ours.threshold, ours.x, ours.y, strict=True):
            assert math.isclose(float((scores[hit] >= at).mean()), true)
            assert math.isclose(float((scores[~hit] >= at).mean()), false)
    else:
        assert roc_curve(hit, scores).x == ()
    if hit.any():
        precision, recall, _ = reference.precision_recall_curve(hit, scores)
        drawn_curve = precision_recall_curve(hit, scores)
        assert np.allclose(drawn_curve.x, recall[::-1], atol=1e-12)
        assert np.allclose(drawn_curve.y, precision[::-1], atol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.5, 3.0])
def test_a_thinned_curve_keeps_ends_area_and_shape(shift: float) -> None:
    random = np.random.default_rng(3)
    hit = random.random(20_000) < 0.2
    scores = 1 / (1 + np.exp(-random.normal(size=hit.size) - shift * hit))
    x, y, _ = reference.roc_curve(hit, scores, drop_intermediate=False)
    thin = roc_curve(hit, scores)
    assert len(thin.x) <= 200
    assert (thin.x[0], thin.y[0], thin.x[-1], thin.y[-1]) == (0, 0, 1, 1)
    # Nearest kept point of each point, as |dx| + |dy|: at most a step of 2 / 199.
    apart = cdist(np.stack([x, y], axis=1), np.stack([thin.x, thin.y], axis=1), "cityblock")
    assert apart.min(axis=1).max() < 0.0102
    assert np.trapezoid(thin.y, thin.x) == pytest.approx(np.trapezoid(y, x), abs=0.001)
    whole_x = reference.precision_recall_curve(hit, scores)[1][::-1]
    whole_y = reference.precision_recall_curve(hit, scores)[0][::-1]
    thin = precision_recall_curve(hit, scores)
    assert len(thin.x) <= 200
    assert (thin.x[0], thin.y[0], thin.x[-1]) == (0, 1, 1)
    assert math.isclose(np.trapezoid(thin.y, thin.x), np.trapezoid(whole_y, whole_x), abs_tol=0.01)


def test_extreme_probabilities_keep_the_log_loss_finite() -> None:
    labels = np.array([0, 1])
    probabilities = np.array([[0.0, 1.0], [0.0, 1.0]])
    assert metrics.log_loss(labels, probabilities) == pytest.approx(
        reference.log_loss(labels, probabilities), abs=1e-9
    )


def test_nothing_is_defined_on_no_image() -> None:
    none, table = np.array([], dtype=np.int64), np.zeros((0, 2))
    assert metrics.log_loss(none, table) is None
    assert metrics.brier(none, table) is None
    assert metrics.calibration_error(none, table, 5) is None
    assert metrics.macro_auroc(none, table) is None
    assert metrics.average_precision(none == 1, table[:, 0]) is None
