"""The small model of one thing, beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from pulmospark.audit.predictability import guess, guess_figure

PATIENTS = 500


def _drawn(seed: int, shift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(PATIENTS), 2)
    labels = random.integers(0, 2, PATIENTS)[groups]
    return random.normal(labels * shift, 1.0), labels, groups


def test_a_number_is_told_about_as_well_as_by_logistic_regression() -> None:
    thing, labels, groups = _drawn(1, 1.0)
    ours = guess_figure(thing, labels, groups, classes=2, seed=1, replicates=200, confidence=0.95)
    golden = cross_val_predict(
        LogisticRegression(),
        thing[:, None],
        labels,
        groups=groups,
        cv=GroupKFold(5),
        method="predict_proba",
    )
    area = roc_auc_score(labels, golden[:, 1])
    assert ours.value == pytest.approx(area, abs=0.03)
    assert ours.low is not None
    assert ours.high is not None
    assert ours.low < area < ours.high


def test_no_patient_is_guessed_by_a_model_that_knows_him() -> None:
    """A thing that is each patient's own would be known by heart otherwise."""
    random = np.random.default_rng(2)
    groups = np.repeat(np.arange(60), 4)
    labels = random.integers(0, 2, 60)[groups]
    names = np.asarray([f"p{group}" for group in groups], dtype=object)
    found = guess(names, labels, groups, classes=2, seed=3)
    assert roc_auc_score(labels, found[:, 1]) < 0.6


def test_what_is_missing_tells_a_class_too() -> None:
    thing, labels, groups = _drawn(3, 0.0)
    thing[labels == 1] = np.nan
    found = guess_figure(thing, labels, groups, classes=2, seed=1, replicates=100, confidence=0.95)
    assert found.value == pytest.approx(1.0)


def test_chance_is_seldom_called_more() -> None:
    low = []
    for seed in range(40):
        thing, labels, groups = _drawn(seed, 0.0)
        figure = guess_figure(
            thing, labels, groups, classes=2, seed=seed, replicates=100, confidence=0.95
        )
        low.append(figure.low or 0.0)
    assert np.mean(np.asarray(low) > 0.5) <= 0.1
    assert max(low) < 0.6
