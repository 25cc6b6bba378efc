"""Attention over slices: what it learns, and what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from pulmospark.core.errors import InputError
from pulmospark.evaluation.attention import PENALTY, attend, fit_attention
from pulmospark.evaluation.pooling import mean


def _scans(count: int, slices: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scans of which the ill show it in a tenth of their slices, and look well in the rest."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    ill = rng.uniform(0.05, 0.30, (count, slices))
    for scan in np.flatnonzero(labels == 0):
        ill[scan, : slices // 10] = rng.uniform(0.8, 0.99, slices // 10)
    rows = np.stack([ill, 1 - ill], axis=-1).reshape(-1, 2)
    return rows, np.repeat(np.arange(count), slices), labels


def test_it_finds_the_few_slices_that_show_it() -> None:
    weights = fit_attention(*_scans(40, 50, seed=1))
    rows, units, labels = _scans(40, 50, seed=2)  # others than it learnt from
    scans = [rows[units == unit] for unit in range(40)]
    plain = np.array([mean(scan).argmax() for scan in scans])
    told = np.array([attend(scan, weights).argmax() for scan in scans])
    assert (plain == labels).mean() == 0.5  # the mean averages the lesion away
    assert (told == labels).mean() > 0.95


def test_no_weights_are_the_mean_and_what_it_says_is_a_distribution() -> None:
    rows, units, labels = _scans(6, 20, seed=3)
    assert attend(rows, np.zeros(2)) == pytest.approx(mean(rows))
    pooled = attend(rows, fit_attention(rows, units, labels))
    assert pooled.sum() == pytest.approx(1)
    assert pooled.min() >= 0


def test_the_minimum_is_one() -> None:
    rows, units, labels = _scans(12, 20, seed=4)
    weights = fit_attention(rows, units, labels)

    def loss(given: np.ndarray) -> float:  # as the definition has it, one scan after the other
        pooled = [attend(rows[units == at], given)[label] for at, label in enumerate(labels)]
        return float(-np.log(pooled).mean() + PENALTY * given @ given)

    assert np.abs(approx_fprime(weights, loss, 1e-6)).max() < 1e-3


def test_the_order_of_the_rows_is_nothing() -> None:
    rows, units, labels = _scans(8, 20, seed=5)
    order = np.random.default_rng(0).permutation(len(rows))
    assert fit_attention(rows[order], units[order], labels) == pytest.approx(
        fit_attention(rows, units, labels), abs=1e-3
    )


def test_it_needs_a_validation_part() -> None:
    with pytest.raises(InputError, match="needs a validation split"):
        fit_attention(np.zeros((0, 2)), np.zeros(0, np.int64), np.zeros(0, np.int64))
