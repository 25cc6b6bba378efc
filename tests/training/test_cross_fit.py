"""Fits on the driver, and what is chosen by them: scikit-learn's on the same folds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as reference_loss

from pulmospark.training.cross_fit import (
    INNER_FOLDS,
    REG_PARAMS,
    CrossFit,
    can_cross_fit,
    inner_folds,
    log_loss,
)
from pulmospark.training.softmax_regression import Standardised, fit_softmax

Floats = NDArray[np.float64]
_CLASSES = 3


def _problem(
    images: int = 240, width: int = 40, seed: int = 4, spread: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features of very different scales, one of them constant, and classes that overlap."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(_CLASSES, images, p=[0.15, 0.5, 0.35])
    centres = rng.normal(size=(_CLASSES, width)) * 0.4
    values = (centres[labels] + rng.normal(size=(images, width)) * spread) * np.geomspace(
        0.1, 10, width
    )
    values[:, 3] = 5.0
    return values.astype(np.float32), labels.astype(np.int64)


def _reference(
    features: NDArray[np.float32], labels: NDArray[np.int64], strength: float
) -> tuple[LogisticRegression, Floats]:
    """scikit-learn's fit of the same objective: C = 1 / (n x strength), scale by n - 1."""
    scale = features.astype(float).std(axis=0, ddof=1)
    scale[scale == 0] = 1.0
    model = LogisticRegression(C=1 / (len(labels) * strength), max_iter=5000, tol=1e-10)
    return model.fit(features / scale, labels), scale


@pytest.mark.parametrize("strength", [1.0, 0.1, 0.003])
def test_probabilities_are_scikit_learns(strength: float) -> None:
    features, labels = _problem()
    given = Standardised.of(features)
    fit = fit_softmax(given, labels, _CLASSES, strength, max_iter=500)
    logits = fit.logits(features)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    model, scale = _reference(features, labels, strength)
    np.testing.assert_allclose(shares, model.predict_proba(features / scale), atol=5e-4)
    assert log_loss(logits, labels) == pytest.approx(reference_loss(labels, shares), rel=1e-6)
    warm = fit_softmax(given, labels, _CLASSES, strength, start=fit, max_iter=500)
    np.testing.assert_allclose(warm.logits(features), logits, atol=2e-3)
    assert len(warm.objective) < len(fit.objective) / 2


@pytest.mark.parametrize(("seed", "spread"), [(4, 1.0), (5, 2.5), (6, 0.6)])
def test_the_strength_and_the_scores_are_those_of_a_grid_search(seed: int, spread: float) -> None:
    """Each fold is scored by a fit on the others, and the lowest mean log loss wins."""
    features, labels = _problem(seed=seed, spread=spread)
    folds = np.arange(len(labels)) % 6
    inner = [folds == fold for fold in range(4)]  # folds 4 and 5 take no part
    inside = folds < 4
    tuned = CrossFit(features, labels, _CLASSES, max_iter=500).tuned(inner)
    wanted = {}
    scores = {}
    for strength in REG_PARAMS:
        shares = np.full((len(labels), _CLASSES), np.nan)
        for part in inner:
            train = inside & ~part
            model, scale = _reference(features[train], labels[train], strength)
            shares[part] = model.predict_proba(features[part] / scale)
        wanted[strength] = reference_loss(labels[inside], shares[inside])
        scores[strength] = shares
    assert tuned.reg_param == min(wanted, key=wanted.__getitem__)
    for strength, loss in tuned.losses.items():
        assert loss == pytest.approx(wanted[strength], abs=2e-3)
    assert np.isnan(tuned.logits[~inside]).all()
    powers = np.exp(tuned.logits[inside])
    np.testing.assert_allclose(
        powers / powers.sum(axis=1, keepdims=True), scores[tuned.reg_param][inside], atol=5e-3
    )


def test_folds_of_a_cross_validation_share_their_fits_and_see_no_tested_image() -> None:
    features, labels = _problem()
    folds = np.arange(len(labels)) % 5
    fitter = CrossFit(features, labels, _CLASSES)
    parts = {
        fold: [folds == other for other in range(5) if other != fold] for fold in range(5)
    }  # fmt: skip
    one = fitter.tuned(parts[0], (0.1,))
    before = fitter.fits
    other = fitter.tuned(parts[1], (0.1,))
    assert (before, fitter.fits) == (4, 7)  # the fit without folds 0 and 1 serves both
    assert set(one.losses) == {0.1}
    # What a tested fold holds changes nothing of what is chosen for it.
    changed, relabelled = features.copy(), labels.copy()
    changed[folds == 0] += 7
    relabelled[folds == 0] = 0
    again = CrossFit(changed, relabelled, _CLASSES).tuned(parts[0], (0.1,))
    np.testing.assert_array_equal(again.logits, one.logits)
    assert not np.array_equal(other.logits, one.logits)


def test_weak_strengths_are_not_tried_once_the_loss_rises() -> None:
    features, labels = _problem(images=60, width=200, spread=4.0)
    folds = np.arange(60) % 3
    tuned = CrossFit(features, labels, _CLASSES).tuned([folds == fold for fold in range(3)])
    assert tuned.reg_param == 1.0
    assert 2 <= len(tuned.losses) < len(REG_PARAMS)


def test_inner_folds_part_no_group_and_hold_each_class() -> None:
    rng = np.random.default_rng(1)
    groups = [f"g{n // 3}" for n in range(150)]
    labels = np.repeat(rng.integers(0, 3, 50), 3)
    sources = ["a" if n < 90 else "b" for n in range(150)]
    found = inner_folds(groups, labels, sources, seed=2)
    assert set(found.tolist()) == set(range(INNER_FOLDS))
    assert all(len(set(found[n : n + 3].tolist())) == 1 for n in range(0, 150, 3))
    parts = [found == fold for fold in range(INNER_FOLDS)]
    assert can_cross_fit(labels, parts, 3)
    alone = np.where(np.arange(150) < 3, 3, labels)
    assert not can_cross_fit(alone, parts, 4)
