"""Two models on the same images: the difference, its interval, and its p-value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pulmospark.core.errors import InputError, UsageError
from pulmospark.evaluation.paired import holm, paired_difference
from pulmospark.evaluation.results import PairedDifference

_CLASSES = ("covid", "normal")


def _said(right: NDArray[np.bool_], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    named = np.where(right, labels, 1 - labels)
    return np.where(np.arange(2) == named[:, None], 0.9, 0.1)


def _compare(
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    groups: NDArray[np.int64] | None = None,
    replicates: int = 4000,
) -> PairedDifference:
    labels = np.arange(first.size) % 2
    return paired_difference(
        labels,
        _said(first, labels),
        _said(second, labels),
        np.arange(first.size) if groups is None else groups,
        _CLASSES,
        replicates=replicates,
        confidence=0.95,
        seed=3,
    )


def _models(images: int, shares: tuple[float, float, float], seed: int) -> list[NDArray[np.bool_]]:
    """Images that both, only the first, or only the second name rightly."""
    kind = np.random.default_rng(seed).choice(4, images, p=[*shares, 1 - sum(shares)])
    return [np.isin(kind, (0, 1)), np.isin(kind, (0, 2))]


@pytest.mark.parametrize("only", [(0.10, 0.02), (0.06, 0.05), (0.03, 0.01)])
def test_with_one_image_a_patient_the_p_value_is_mcnemars(only: tuple[float, float]) -> None:
    first, second = _models(300, (0.8, *only), seed=8)
    told = _compare(first, second)
    assert told.only_first == (first & ~second).sum()
    assert told.only_second == (second & ~first).sum()
    golden = stats.binomtest(told.only_first, told.only_first + told.only_second).pvalue
    assert told.p_value == pytest.approx(golden, abs=0.03)


def test_the_interval_is_that_of_the_normal_distribution_where_images_are_many() -> None:
    first, second = _models(3000, (0.8, 0.08, 0.03), seed=1)
    told = _compare(first, second)
    gain = first.astype(float) - second.astype(float)
    assert told.difference.value == pytest.approx(gain.mean(), abs=1e-12)
    half = 1.96 * gain.std() / np.sqrt(gain.size)
    assert told.difference.low == pytest.approx(gain.mean() - half, abs=0.002)
    assert told.difference.high == pytest.approx(gain.mean() + half, abs=0.002)


def test_images_of_one_patient_count_as_one_draw() -> None:
    first, second = _models(60, (0.7, 0.2, 0.05), seed=2)
    alone = _compare(first, second)
    # Five like images a patient are no five times the knowledge.
    five = _compare(np.repeat(first, 5), np.repeat(second, 5), np.repeat(np.arange(60), 5))
    assert five.p_value == pytest.approx(alone.p_value, abs=0.02)
    assert five.difference.low == pytest.approx(alone.difference.low, abs=0.02)
    assert five.groups == 60


def test_a_model_beside_itself() -> None:
    first, _ = _models(50, (0.7, 0.2, 0.05), seed=2)
    told = _compare(first, first)
    assert (told.difference.value, told.p_value) == (0.0, 1.0)
    assert told.difference.low is None
    assert told.difference.note


@given(seed=st.integers(0, 1000))
def test_exchanging_the_models_turns_the_sign_and_nothing_else(seed: int) -> None:
    first, second = _models(40, (0.6, 0.2, 0.1), seed=seed)
    there = _compare(first, second, replicates=200)
    back = _compare(second, first, replicates=200)
    assert there.difference.value == pytest.approx(-(back.difference.value or 0.0), abs=1e-12)
    assert there.p_value == back.p_value
    assert 0 < there.p_value <= 1


def test_images_that_do_not_fit_each_other() -> None:
    labels = np.zeros(3, dtype=np.int64)
    table = np.full((3, 2), 0.5)
    with pytest.raises(InputError):
        paired_difference(
            labels, table, table[:2], labels, _CLASSES, replicates=10, confidence=0.95, seed=1
        )


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_lies_between_the_p_value_and_bonferroni(
    values: list[float],
) -> None:
    found = holm(values)
    assert len(found) == len(values)
    for value, adjusted in zip(values, found, strict=True):
        assert value <= adjusted <= min(1.0, value * len(values)) + 1e-12
    order = np.argsort(values, kind="stable")
    assert list(np.asarray(found)[order]) == sorted(found)


def test_holm_s_own_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    with pytest.raises(UsageError, match="0 to 1"):
        holm([1.5])
