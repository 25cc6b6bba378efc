"""Recalibration on a small sample: what it finds, and that it keeps the order of images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from pulmospark.evaluation.calibration import fit_temperature
from pulmospark.evaluation.recalibrate import fit_recalibration


def _images(n: int, temperature: float, offsets: tuple[float, ...], seed: int = 1):  # type: ignore[no-untyped-def]
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (n, len(offsets)))
    chance = softmax(logits / temperature + np.asarray(offsets), axis=1)
    labels = np.asarray([random.choice(len(offsets), p=one) for one in chance])
    return logits, labels


def test_temperature_and_offsets_are_found_again() -> None:
    logits, labels = _images(4000, 2.5, (1.0, -1.0, 0.0))
    found = fit_recalibration(logits, labels)
    assert found.temperature == pytest.approx(2.5, rel=0.15)
    assert found.offsets == pytest.approx((1.0, -1.0, 0.0), abs=0.15)
    assert found.images == 4000


def test_without_offsets_it_is_temperature_scaling() -> None:
    logits, labels = _images(4000, 2.0, (0.0, 0.0, 0.0))
    found = fit_recalibration(logits, labels)
    assert found.temperature == pytest.approx(fit_temperature(logits, labels), rel=0.03)


def test_few_images_move_it_little() -> None:
    logits, labels = _images(2, 1.0, (0.0, 0.0))
    found = fit_recalibration(logits, labels, start=1.3)
    assert 0.5 < found.temperature < 3.0
    assert max(map(abs, found.offsets)) < 1.0


def test_probabilities_sum_to_1() -> None:
    logits, labels = _images(50, 1.0, (2.0, 0.0))
    told = fit_recalibration(logits, labels).probabilities(logits)
    np.testing.assert_allclose(told.sum(axis=1), 1.0)
