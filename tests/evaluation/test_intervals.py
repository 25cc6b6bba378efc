"""Intervals hold the true value as often as they say, on images that come by patient."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pulmospark.core import limits
from pulmospark.core.errors import UsageError
from pulmospark.evaluation.bootstrap import GroupTables
from pulmospark.evaluation.intervals import (
    ALL_EQUAL,
    auroc_figure,
    basic,
    effective_images,
    mean_of_bounds,
    newcombe_auroc,
    percentile,
    proportion,
    wilson,
)
from pulmospark.evaluation.results import Figure

Floats = NDArray[np.float64]


@pytest.mark.parametrize(
    ("hits", "images", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_is_newcombes_table(hits: int, images: int, low: float, high: float) -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
    assert wilson(hits / images, images, 0.95) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 50), st.integers(1, 50), st.floats(0.5, 0.999))
def test_wilson_holds_the_share_and_grows_with_the_confidence(
    hits: int, more: int, confidence: float
) -> None:
    images = hits + more
    low, high = wilson(hits / images, images, confidence)
    assert 0 <= low <= hits / images <= high <= 1
    assert low < high
    wider = wilson(hits / images, images, (1 + confidence) / 2)
    assert wider[0] <= low
    assert wider[1] >= high


@pytest.mark.parametrize(
    ("share", "images", "confidence"), [(1.1, 5, 0.9), (0.5, 0, 0.9), (0.5, 5, 1.0)]
)
def test_wilson_refuses_what_makes_no_sense(
    share: float, images: float, confidence: float
) -> None:
    with pytest.raises(UsageError, match="Wilson"):
        wilson(share, images, confidence)


def test_one_image_a_patient_is_plain_wilson() -> None:
    hit = np.arange(263) < 81
    found = proportion(hit, None, np.arange(263), 0.95)
    assert (found.low, found.high) == wilson(81 / 263, 263, 0.95)
    assert (found.numerator, found.denominator, found.effective) == (81, 263, None)


def test_images_all_alike_within_patients_are_worth_their_patients() -> None:
    images = np.full(50, 4.0)
    hits = np.where(np.arange(50) < 30, 4.0, 0.0)
    assert effective_images(hits, images) == pytest.approx(50, rel=0.03)


def test_where_no_image_is_wrong_images_are_worth_no_more_than_patients() -> None:
    images = np.array([1.0, 2.0, 3.0, 10.0])
    assert effective_images(images, images) == pytest.approx(16**2 / (1 + 4 + 9 + 100))
    assert effective_images(np.zeros(4), images) == effective_images(images, images)
    found = proportion(
        np.ones(16, dtype=bool), None, np.repeat(np.arange(4), images.astype(int)), 0.95
    )
    assert found.high == 1.0
    assert found.low is not None
    assert found.low < wilson(1.0, 16, 0.95)[0]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60))
def test_clustering_never_narrows_an_interval(drawn: list[tuple[int, bool]]) -> None:
    groups = np.array([group for group, _ in drawn])
    hit = np.array([each for _, each in drawn])
    found = proportion(hit, None, groups, 0.95)
    low, high = wilson(hit.mean(), hit.size, 0.95)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= low + 1e-12
    assert found.high >= high - 1e-12


def test_a_proportion_of_no_image_is_none() -> None:
    found = proportion(np.ones(3, dtype=bool), np.zeros(3, dtype=bool), np.arange(3), 0.95)
    assert (found.value, found.low, found.method) == (None, None, "none")


def clustered(
    random: np.random.Generator, patients: int, share: float, likeness: float
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Images right or wrong, with intra-patient correlation ``likeness``, mean 6 a patient."""
    images = random.geometric(1 / 6, patients)
    scale = (1 - likeness) / likeness
    chance = random.beta(share * scale, (1 - share) * scale, patients)
    groups = np.repeat(np.arange(patients), images)
    return random.random(groups.size) < chance[groups], groups


@pytest.mark.parametrize("share", [0.7, 0.95])
@pytest.mark.parametrize("patients", [30, 100])
def test_coverage_holds_on_clustered_images_where_plain_wilson_fails(
    share: float, patients: int
) -> None:
    random = np.random.default_rng(20201)
    ours = plain = 0
    runs = 400
    for _ in range(runs):
        hit, groups = clustered(random, patients, share, 0.5)
        found = proportion(hit, None, groups, 0.95)
        assert found.low is not None
        assert found.high is not None
        ours += found.low <= share <= found.high
        low, high = wilson(float(hit.mean()), hit.size, 0.95)
        plain += low <= share <= high
    assert ours / runs >= 0.92
    assert plain / runs <= 0.80


def test_auroc_coverage_needs_patients_not_images() -> None:
    random = np.random.default_rng(7)
    runs, patients, each = 120, 60, 5
    # Score = class shift + patient + image, unit variance: AUROC = Phi(shift / sqrt 2).
    true = 0.5 * (1 + math.erf(1.2 / 2))
    labels = np.repeat(np.arange(patients) % 2, each).astype(np.int64)
    groups = np.repeat(np.arange(patients), each)
    held = {"patients": 0, "images": 0}
    for run in range(runs):
        between = np.repeat(random.normal(size=patients), each) * math.sqrt(0.7)
        score = 1.2 * labels + between + random.normal(size=labels.size) * math.sqrt(0.3)
        chance = 1 / (1 + np.exp(-score))
        table = np.stack([1 - chance, chance], axis=1)
        for name, codes in (("patients", groups), ("images", np.arange(labels.size))):
            tables = GroupTables.of(labels, table, codes, int(codes.max()) + 1, 10)
            drawn = tables.bootstrap(200, run)["auroc"][1]
            found = percentile(float(tables.point()["auroc"][1]), drawn, 0.95)
            assert found.low is not None
            assert found.high is not None
            held[name] += found.low <= true <= found.high
    assert held["patients"] / runs >= 0.90
    assert held["images"] / runs <= 0.80


def test_newcombe_keeps_a_width_at_the_end_and_covers() -> None:
    random = np.random.default_rng(1)
    true = 0.5 * (1 + math.erf(2.5 / 2))
    runs, held, ends = 400, 0, 0
    for _ in range(runs):
        wins = random.normal(2.5, 1, 15)[:, None] > random.normal(size=15)[None]
        value = float(wins.mean())
        low, high = newcombe_auroc(value, 15, 15, 0.95)
        assert 0 <= low < high <= 1
        assert low <= value <= high
        held += low <= true <= high
        ends += value == 1.0
    assert ends > 20  # the case the rule is for does occur
    assert held / runs >= 0.93


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_newcombe_is_symmetric(value: float) -> None:
    low, high = newcombe_auroc(value, 8, 12, 0.9)
    mirrored = newcombe_auroc(1 - value, 8, 12, 0.9)
    assert (1 - high, 1 - low) == pytest.approx(mirrored, abs=1e-9)


def test_equal_replicates_are_no_interval_of_zero_width() -> None:
    found = percentile(1.0, np.ones(100), 0.95)
    assert (found.low, found.high, found.method, found.note) == (None, None, "none", ALL_EQUAL)
    ruled = auroc_figure(1.0, np.ones(100), (10, 30), 0.95)
    assert ruled.method == "bound"
    assert ruled.low is not None
    assert ruled.low < 0.99
    assert ruled.high == 1.0
    assert ruled.note is not None
    assert "10 and 30" in ruled.note
    mean = mean_of_bounds(
        found, (Figure(value=1.0, low=0.8, high=1.0), Figure(value=1.0, low=0.6, high=1.0))
    )
    assert (mean.low, mean.high) == pytest.approx((0.7, 1.0))
    assert mean.method == "bound"
    assert mean_of_bounds(found, (Figure(value=1.0),)) == found


def test_percentiles_of_known_replicates() -> None:
    found = percentile(0.5, np.linspace(0, 1, 1001), 0.9)
    assert (found.low, found.high) == pytest.approx((0.05, 0.95))
    assert found.method == "bootstrap"


@pytest.mark.parametrize(("undefined", "given"), [(5, True), (6, False)])
def test_too_many_undefined_replicates_leave_no_interval(undefined: int, given: bool) -> None:
    drawn = np.linspace(0, 1, 100)
    drawn[:undefined] = np.nan
    found = percentile(0.5, drawn, 0.95)
    assert (found.low is not None) is given
    assert (found.note is None) is given
    assert limits.BOOTSTRAP_UNDEFINED_SHARE_MAX == 0.05


def test_no_replicates_no_interval() -> None:
    assert percentile(0.5, np.array([]), 0.95) == Figure(value=0.5)
    assert percentile(math.nan, np.array([0.5, 0.6]), 0.95).value is None


def test_the_basic_interval_holds_the_value_and_stays_above_zero() -> None:
    raised = basic(0.03, np.linspace(0.03, 0.08, 501), 0.95)
    assert (raised.low, raised.high) == (0.0, 0.03)
    plain = basic(0.5, np.linspace(0.4, 0.7, 1001), 0.95)
    assert (plain.low, plain.high) == pytest.approx((0.3075, 0.5925))
