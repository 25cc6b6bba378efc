"""Intervals against references that share no code: roots, statsmodels, scipy, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats

from pulmospark.core.errors import UsageError
from pulmospark.evaluation.intervals import (
    auroc_figure,
    basic,
    difference,
    effective_images,
    expected_interval,
    mean_of_bounds,
    newcombe_auroc,
    percentile,
    proportion,
    wilson,
)
from pulmospark.evaluation.results import Figure

Floats = NDArray[np.float64]

HITS = np.array([4, 0, 3, 2, 5, 1, 0, 2, 6, 1, 3, 0], dtype=np.float64)
IMAGES = np.array([4, 3, 3, 4, 6, 2, 2, 5, 7, 3, 4, 2], dtype=np.float64)


def score_interval(share: float, size: float, quantile: float) -> tuple[float, float]:
    """Shares t that a score test does not reject: |share - t| = q sqrt(t (1 - t) / size)."""

    def excess(t: float) -> float:
        return abs(share - t) - quantile * math.sqrt(t * (1 - t) / size)

    low = optimize.brentq(excess, 1e-12, share - 1e-9) if share > 0 else 0.0
    high = optimize.brentq(excess, share + 1e-9, 1 - 1e-12) if share < 1 else 1.0
    return float(low), float(high)


def rows(hits: Floats, images: Floats) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """One row an image: whether it counts, and its patient."""
    hit = [n < h for h, many in zip(hits, images, strict=True) for n in range(int(many))]
    return np.array(hit), np.repeat(np.arange(images.size), images.astype(int))


def test_the_design_effect_is_that_of_cluster_robust_standard_errors() -> None:
    # statsmodels 0.15.0, OLS of the 45 images on a constant, cov_type="cluster" by patient:
    # share 0.6, standard error 0.09715134501582495, with its g / (g - 1); over the binomial
    # 0.6 x 0.4 / 45 that is a design effect of 1.76970.
    robust = 0.09715134501582495**2 / (0.6 * 0.4 / 45)
    largest = float((IMAGES**2).sum() / IMAGES.sum())  # 197 / 45: images of a patient all alike
    # 9 patients have an image that counts, 11 one that does not; two more stand for the prior.
    expected = (9 * robust + 2 * largest) / 11
    assert effective_images(HITS, IMAGES) == pytest.approx(45 / expected, rel=1e-9)
    assert 45 / expected == pytest.approx(20.0544, abs=1e-4)


def test_one_patient_with_errors_is_outweighed_two_to_one() -> None:
    # 10 patients of 4 images, 2 wrong in one of them. Residuals of the share 0.95: 0.2 nine
    # times and -1.8: squares sum to 0.36 + 3.24 = 3.6, over 40 images and 10 / 9: 0.1; over
    # 0.95 x 0.05 that is 2.10526. All alike would be 4; 1 part of the one, 2 of the other.
    hits = np.full(10, 4.0)
    hits[3] = 2.0
    effect = (0.1 / 0.0475 + 2 * 4.0) / 3
    assert effective_images(hits, np.full(10, 4.0)) == pytest.approx(40 / effect, rel=1e-12)


def test_images_of_a_patient_never_count_for_more_than_themselves() -> None:
    # Every patient has one image of two right: less variance between patients than by chance.
    many = np.full(200, 2.0)
    # 200 of 202 parts of an effect of 1, 2 of an effect of 2.
    assert effective_images(many / 2, many) == pytest.approx(400 / (202 * 1.0 + 2) * 202)


def test_the_interval_of_clustered_images_is_a_score_interval_with_students_quantile() -> None:
    hit, groups = rows(HITS, IMAGES)
    figure = proportion(hit, None, groups, 0.95)
    worth = effective_images(HITS, IMAGES)
    student = stats.t(df=11).isf(0.025)
    assert student == pytest.approx(2.2009852, abs=1e-7)  # tables of Student's distribution
    assert (figure.low, figure.high) == pytest.approx(
        score_interval(0.6, worth, student), abs=1e-7
    )
    assert (figure.numerator, figure.denominator, figure.groups) == (27, 45, 12)
    assert figure.effective == pytest.approx(worth, abs=0.005)
    other = proportion(hit, None, groups, 0.8)
    assert (other.low, other.high) == pytest.approx(
        score_interval(0.6, worth, stats.t(df=11).isf(0.1)), abs=1e-7
    )


def test_groups_outside_the_denominator_give_no_degrees_of_freedom() -> None:
    hit, groups = rows(HITS, IMAGES)
    more = np.concatenate([groups, np.arange(12, 60)])
    among = more < 12
    figure = proportion(np.resize(hit, more.size), among, more, 0.95)
    alone = proportion(np.resize(hit, more.size)[:45], None, groups, 0.95)
    assert figure == alone
    assert figure.groups == 12


def test_one_image_a_patient_is_the_plain_score_interval() -> None:
    # statsmodels 0.15.0: proportion_confint(89, 118, method="wilson")
    figure = proportion(np.arange(118) < 89, None, np.arange(118), 0.95)
    assert (figure.low, figure.high) == pytest.approx((0.6693551578, 0.8230880596), abs=1e-9)
    assert (figure.effective, figure.groups) == (None, 118)
    assert wilson(89 / 118, 118, 0.95) == pytest.approx(
        score_interval(89 / 118, 118, stats.norm.isf(0.025)), abs=1e-7
    )


def test_the_end_of_the_scale_is_reached_exactly() -> None:
    """By algebra a bound is 0 or 1 there; by rounding it is a little off."""
    for images in range(1, 400):
        assert wilson(1.0, images, 0.95)[1] == 1.0
        assert wilson(0.0, images, 0.95)[0] == 0.0
        assert 0.0 < wilson(1.0, images, 0.95)[0] < 1.0


def test_all_images_of_one_patient_are_one_image_with_the_normal_quantile() -> None:
    figure = proportion(np.arange(6) < 3, None, np.zeros(6, np.int64), 0.95)
    assert figure.effective == 1.0
    assert figure.groups == 1
    assert (figure.low, figure.high) == pytest.approx(
        score_interval(0.5, 1.0, stats.norm.isf(0.025)), abs=1e-7
    )


def test_where_all_images_count_they_are_worth_sum_squared_over_squares() -> None:
    images = np.array([1, 2, 3, 10])
    groups = np.repeat(np.arange(4), images)
    figure = proportion(np.ones(16, bool), None, groups, 0.95)
    # 16^2 / (1 + 4 + 9 + 100) = 256 / 114; lower bound n / (n + t^2) with t of 3 degrees.
    worth, t = 256 / 114, stats.t(df=3).isf(0.025)
    assert figure.low == pytest.approx(worth / (worth + t * t), rel=1e-12)
    assert figure.high == 1.0
    none = proportion(np.zeros(16, bool), None, groups, 0.95)
    assert none.low == 0.0
    assert none.high == pytest.approx(t * t / (worth + t * t), rel=1e-12)


def test_the_expected_interval_is_that_of_images_all_alike() -> None:
    groups = np.repeat(np.arange(4), [1, 2, 3, 10])
    assert expected_interval(0.9, groups, 0.95) == pytest.approx(
        score_interval(0.9, 256 / 114, stats.t(df=3).isf(0.025)), abs=1e-7
    )
    assert expected_interval(0.9, np.arange(50), 0.95) == pytest.approx(
        score_interval(0.9, 50, stats.norm.isf(0.025)), abs=1e-7
    )
    assert expected_interval(1.0, groups, 0.95) == pytest.approx(
        (proportion(np.ones(16, bool), None, groups, 0.95).low, 1.0)
    )


def newcombe_excess(area: float, t: float, m: int, n: int, z: float) -> float:
    """Square of the distance less z squared times the variance, method 5 in its own notation."""
    mean = (m + n) / 2
    variance = t * (1 - t) * (1 + (mean - 1) * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n)
    return (area - t) ** 2 - z * z * variance


@pytest.mark.parametrize(("area", "m", "n"), [(0.83, 9, 31), (0.5, 20, 20), (0.97, 4, 50)])
def test_newcombes_bounds_solve_his_equation(area: float, m: int, n: int) -> None:
    low, high = newcombe_auroc(area, m, n, 0.95)
    z = stats.norm.isf(0.025)
    for bound in (low, high):
        assert newcombe_excess(area, bound, m, n, z) == pytest.approx(0.0, abs=1e-9)
    # Between the bounds no share is rejected, beyond them each is.
    assert newcombe_excess(area, (low + high) / 2, m, n, z) < 0
    for beyond in (low - 0.02, (high + 1) / 2):
        assert newcombe_excess(area, beyond, m, n, z) > 0
    assert low < area < high


def test_newcombes_bound_of_a_perfect_area_by_hand() -> None:
    # (1 - t)^2 = z^2 t (1 - t) / (mn) [...] has the root 1 and one more; m = n = 1: N = 1, so
    # 1 - t = z^2 t, t = 1 / (1 + z^2), which is Wilson's bound of 1 of 1.
    z = stats.norm.isf(0.025)
    low, high = newcombe_auroc(1.0, 1, 1, 0.95)
    assert low == pytest.approx(1 / (1 + z * z), abs=1e-9)
    assert high == 1.0
    low, high = newcombe_auroc(0.0, 1, 1, 0.95)
    assert low == 0.0
    assert high == pytest.approx(z * z / (1 + z * z), abs=1e-9)


def test_percentiles_are_scipys_percentile_bootstrap() -> None:
    sample = np.random.default_rng(3).exponential(size=80)
    drawn = stats.bootstrap(
        (sample,), np.mean, n_resamples=999, method="percentile", rng=np.random.default_rng(1)
    )
    figure = percentile(float(sample.mean()), drawn.bootstrap_distribution, 0.95)
    expected = (drawn.confidence_interval.low, drawn.confidence_interval.high)
    assert (figure.low, figure.high) == pytest.approx(expected, abs=1e-12)
    assert (figure.method, figure.note) == ("bootstrap", None)
    reflected = stats.bootstrap((sample,), np.mean, method="basic", bootstrap_result=drawn,
                                n_resamples=0)  # fmt: skip
    mirrored = basic(float(sample.mean()), drawn.bootstrap_distribution, 0.95)
    assert mirrored.method == "basic"
    assert (mirrored.low, mirrored.high) == pytest.approx(
        (reflected.confidence_interval.low, reflected.confidence_interval.high), abs=1e-12
    )


def test_a_percentile_interval_leaves_the_same_share_out_on_both_sides() -> None:
    drawn = np.arange(1.0, 1001.0)
    figure = percentile(500.0, drawn, 0.9)
    assert figure.low is not None
    assert figure.high is not None
    assert np.count_nonzero(drawn < figure.low) == np.count_nonzero(drawn > figure.high) == 50


def test_a_width_of_rounding_is_no_width() -> None:
    assert percentile(0.5, 0.5 + np.array([0.0, 9e-13]), 0.95).low is None
    assert percentile(0.5, 0.5 + np.array([0.0, 2e-12]), 0.95).low is not None


def test_an_undefined_basic_interval_stays_undefined() -> None:
    for drawn in (np.array([]), np.full(50, 0.2)):
        figure = basic(0.2, drawn, 0.95)
        assert (figure.low, figure.high, figure.method) == (None, None, "none")


def test_an_auroc_with_an_interval_of_its_own_needs_no_bounds() -> None:
    drawn = np.linspace(0.7, 0.9, 101)
    assert auroc_figure(0.8, drawn, (5, 5), 0.95) == percentile(0.8, drawn, 0.95)
    assert auroc_figure(math.nan, drawn, (0, 5), 0.95).value is None
    low = newcombe_auroc(1.0, 10, 30, 0.95)[0]
    assert auroc_figure(1.0, np.ones(100), (10, 30), 0.95).low == low


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_a_difference_is_newcombes_table(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    # Newcombe 1998, Statistics in Medicine 17:873, table II, method 10.
    one, other = (
        proportion(np.arange(images) < hits, None, np.arange(images), 0.95)
        for hits, images in (first, second)
    )
    found = difference(one, other)
    assert found.value == pytest.approx(first[0] / first[1] - second[0] / second[1])
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert (found.method, found.note) == ("mover", None)


def test_a_difference_needs_two_values_and_two_intervals() -> None:
    whole = Figure(value=0.75, low=0.6, high=0.8)
    none = Figure(value=None)
    for pair in ((whole, none), (none, whole), (none, none)):
        assert difference(*pair) == Figure(value=None, note="one of the two is undefined")
    for missing in ("low", "high"):
        half = whole.model_copy(update={missing: None, "value": 0.5})
        told = "one of the two has no CI"
        assert difference(whole, half) == Figure(value=0.25, note=told)
        assert difference(half, whole) == Figure(value=-0.25, note=told)
        assert difference(half, half) == Figure(value=0.0, note=told)


@pytest.mark.parametrize(
    ("share", "images", "confidence"),
    [(-0.1, 5, 0.9), (1.1, 5, 0.9), (0.5, 0, 0.9), (0.5, 5, 0.0), (0.5, 5, 1.0)],
)
def test_what_has_no_interval_is_told_with_its_limits(
    share: float, images: float, confidence: float
) -> None:
    with pytest.raises(UsageError) as caught:
        wilson(share, images, confidence)
    assert caught.value.message == (
        f"Wilson interval of share {share}, images {images}, confidence {confidence}: "
        "share must lie in 0 to 1, images above 0, confidence between 0 and 1"
    )
    assert wilson(0.0, 0.5, 0.001)[0] == 0.0
    assert wilson(1.0, 0.5, 0.999)[1] == 1.0


def test_the_words_of_figures_without_an_interval() -> None:
    none = proportion(np.ones(3, bool), np.zeros(3, bool), np.arange(3), 0.95)
    assert none == Figure(
        value=None, numerator=0, denominator=0, note="no images to compute it on"
    )
    assert percentile(math.nan, np.ones(3), 0.95) == Figure(
        value=None, note="undefined on these images"
    )
    drawn = np.linspace(0, 1, 16)
    drawn[0] = math.nan
    assert percentile(0.5, drawn, 0.95) == Figure(
        value=0.5,
        note="undefined in 6% of the replicates, over the limit of 5%: too few patients for a CI",
    )
    equal = percentile(0.5, np.full(9, 0.5), 0.95)
    assert equal.note == "all replicates are equal: no CI can be computed"
    parts = (Figure(value=0.5, low=0.25, high=0.75), Figure(value=0.5, low=0.5, high=1.0))
    assert mean_of_bounds(equal, parts) == Figure(
        value=0.5,
        low=0.375,
        high=0.875,
        method="bound",
        note="all replicates are equal: mean of the classes' CIs",
    )
    for missing in ("low", "high"):
        half = (parts[0], parts[1].model_copy(update={missing: None}))
        assert mean_of_bounds(equal, half) == equal
    assert mean_of_bounds(equal, ()) == equal
    own = percentile(0.5, np.linspace(0, 1, 11), 0.95)
    assert mean_of_bounds(own, parts) == own
    one = auroc_figure(1.0, np.ones(100), (10, 30), 0.95)
    assert one.note == (
        "all replicates are equal: Newcombe's bounds for 10 and 30 independent patients"
    )
    assert (one.value, one.method) == (1.0, "bound")


def test_replicates_that_are_all_undefined_leave_no_interval() -> None:
    found = percentile(0.5, np.full(4, math.nan), 0.95)
    assert found.value == 0.5
    assert (found.note or "").startswith("undefined in 100% of the replicates")


@pytest.mark.parametrize("area", [1e-13, 1e-6, 1 - 1e-6, 1 - 1e-13])
def test_newcombes_bounds_near_the_ends_go_over_into_those_of_the_ends(area: float) -> None:
    low, high = newcombe_auroc(area, 6, 9, 0.95)
    end = newcombe_auroc(float(round(area)), 6, 9, 0.95)
    assert (low, high) == pytest.approx(end, abs=2e-5)
    assert low <= area <= high


def test_a_rounded_number_of_independent_images_is_told() -> None:
    hit, groups = rows(HITS, IMAGES)
    figure = proportion(hit, None, groups, 0.95)
    assert figure.effective == round(effective_images(HITS, IMAGES), 2) == 20.05


def test_two_patients_have_students_quantile_with_one_degree_of_freedom() -> None:
    groups = np.repeat([0, 1], 5)
    figure = proportion(np.arange(10) < 7, None, groups, 0.95)
    worth = effective_images(np.array([5.0, 2.0]), np.array([5.0, 5.0]))
    student = stats.t(df=1).isf(0.025)
    assert student == pytest.approx(12.7062, abs=1e-4)
    assert (figure.low, figure.high) == pytest.approx(
        score_interval(0.7, worth, student), abs=1e-7
    )
