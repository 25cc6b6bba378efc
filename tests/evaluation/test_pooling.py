"""Slices pooled to scans: the definitions, and what they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pulmospark.core.errors import InputError
from pulmospark.evaluation.pooling import mean, noisy_or, pool, pooler, top_k

Floats = NDArray[np.float64]

ROWS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 40), st.integers(2, 4)),
    elements=st.floats(0.001, 1.0),
).map(lambda rows: rows / rows.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("pooling", ["mean", "top_k", "noisy_or", "attention"])
@given(rows=ROWS, seed=st.integers(0, 100))
def test_a_pooled_unit_is_a_distribution_whatever_the_order(
    pooling: str, rows: Floats, seed: int
) -> None:
    names = [f"class {at}" for at in range(rows.shape[1])]
    how = pooler(pooling, names, count=3, negative_class=names[-1])  # type: ignore[arg-type]
    pooled = how(rows)
    assert pooled.shape == (rows.shape[1],)
    assert pooled.min() >= 0
    assert pooled.sum() == pytest.approx(1)
    shuffled = np.random.default_rng(seed).permutation(rows)
    assert how(shuffled) == pytest.approx(pooled)


@given(rows=ROWS)
def test_one_slice_alone_is_its_scan(rows: Floats) -> None:
    one = rows[:1]
    assert mean(one) == pytest.approx(one[0])
    assert top_k(one, count=5) == pytest.approx(one[0])
    if one.shape[1] == 2:
        assert noisy_or(one, negative=1) == pytest.approx(one[0])


def test_top_k_by_hand() -> None:
    rows = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    # The two largest of each class: (0.9 + 0.4) / 2 and (0.8 + 0.6) / 2, made to sum to 1.
    assert top_k(rows, count=2) == pytest.approx([0.65 / 1.35, 0.7 / 1.35])
    assert top_k(rows, count=99) == pytest.approx(mean(rows))


def test_noisy_or_of_two_classes_is_the_textbooks() -> None:
    rows = np.array([[0.3, 0.7], [0.5, 0.5], [0.1, 0.9]])
    assert noisy_or(rows, negative=1)[0] == pytest.approx(1 - 0.7 * 0.5 * 0.9)


def test_noisy_or_of_three_classes_counts_the_cases() -> None:
    rows = np.array([[0.2, 0.1, 0.7], [0.3, 0.4, 0.3]])
    # Each disease is an independent cause; of the cases with one or none, by enumeration:
    one, other = 1 - 0.8 * 0.7, 1 - 0.9 * 0.6
    cases = np.array([one * (1 - other), (1 - one) * other, (1 - one) * (1 - other)])
    assert noisy_or(rows, negative=2) == pytest.approx(cases / cases.sum())


def test_noisy_or_of_a_thousand_slices_still_tells_the_diseases_apart() -> None:
    rows = np.tile([0.30, 0.29, 0.41], (1000, 1))
    pooled = noisy_or(rows, negative=2)
    assert np.isfinite(pooled).all()
    assert pooled[0] > 0.99 > pooled[1]


def test_noisy_or_of_impossible_and_certain_slices_is_finite() -> None:
    assert np.isfinite(noisy_or(np.array([[0.0, 1.0], [1.0, 0.0]]), negative=1)).all()


def test_noisy_or_needs_the_class_without_a_disease() -> None:
    with pytest.raises(InputError, match="needs the class without disease"):
        pooler("noisy_or", ["a", "b"], count=1, negative_class=None)


def test_rows_go_to_their_units() -> None:
    rows = np.array([[0.9, 0.1], [0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    pooled, sizes = pool(rows, np.array([1, 0, 1, 0]), mean)
    assert pooled == pytest.approx(np.array([[0.5, 0.5], [0.7, 0.3]]))
    assert sizes.tolist() == [2, 2]
