"""Out-of-fold scores of a training set, and the regularisation that is best on them.

A model must be tuned on images it was not fitted on, and on as many as possible: a tenth of the
images for validation leaves only a handful of a rare class. So the images outside the test fold
are divided into inner folds, and each is scored by a fit on the others. Regularisation,
temperature and operating point are chosen on all these scores together. The model is then fitted
on all of the images. scikit-learn does the same in ``LogisticRegressionCV``,
``CalibratedClassifierCV(ensemble=False)`` and ``TunedThresholdClassifierCV``. The test fold is
never used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from pulmospark.config.split import SplitSettings
from pulmospark.core.arrays import Floats, Ints, Mask, Singles
from pulmospark.core.blas import one_blas_thread
from pulmospark.data.cohort.assignment import assign
from pulmospark.training.softmax_regression import (
    TUNING_TOLERANCE,
    SoftmaxFit,
    Standardised,
    fit_softmax,
)

REG_PARAMS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""candidate strengths, strongest first: each fit starts from the previous one"""
INNER_FOLDS = 5
_WORSE_BY = 0.002
"""the search stops when the log loss exceeds the best by this much: it rises steadily beyond its
minimum, and weakly regularised fits are the slowest"""


@dataclass(frozen=True)
class Tuned:
    """The choice on out-of-fold scores.

    Attributes:
        reg_param: with the lowest mean log loss.
        logits: float64 (n, classes), out-of-fold at that strength; nan for other images.
        losses: strength -> mean log loss, for the candidates tried.
        fit: at that strength, without the first inner fold: where the fit on all of them starts.
    """

    reg_param: float
    logits: Floats
    losses: Mapping[float, float]
    fit: SoftmaxFit


def inner_folds(groups: Sequence[str], labels: Ints, sources: Sequence[str], seed: int) -> Ints:
    """Inner fold of each image, assigned by group as in a split; int64 (n,)."""
    rows = pd.DataFrame(
        {"group_id": groups, "label": labels.astype(str), "source": sources, "part": None}
    )
    places = assign(rows, SplitSettings(folds=INNER_FOLDS), seed)["fold"]
    return rows["group_id"].map(places).to_numpy(np.int64)


def can_cross_fit(labels: Ints, parts: Sequence[Mask], classes: int) -> bool:
    """Whether each class is in the training set of every inner fold.

    Args:
        labels: int64 (n,).
        parts: bool (n,), the inner folds.
        classes: their number.
    """
    inside = np.logical_or.reduce(list(parts))
    return all(np.unique(labels[inside & ~part]).size == classes for part in parts)


class CrossFit:
    """Fits on the images outside one or two folds, cached.

    If the inner folds of one model are the outer folds of a cross-validation, the fit without
    folds 1 and 2 serves both models.
    """

    def __init__(
        self,
        features: Singles,
        labels: Ints,
        classes: int,
        *,
        max_iter: int = 200,
        threads: int = 1,
    ) -> None:
        """Fits on a matrix of features.

        Args:
            features: float32 (n, width).
            labels: int64 (n,), 0 to classes - 1.
            classes: their number.
            max_iter: maximum number of iterations of a fit.
            threads: fits at a time.
        """
        self._features, self._labels, self._classes = features, labels, classes
        self._max_iter, self._threads = max_iter, threads
        self._fits: dict[tuple[bytes, float], SoftmaxFit] = {}
        # Not the standardised features: a copy of all for each training set.
        self._scales: dict[bytes, tuple[Floats, Floats]] = {}

    @property
    def fits(self) -> int:
        """Number of fits."""
        return len(self._fits)

    def tuned(
        self,
        parts: Sequence[Mask],
        reg_params: Sequence[float] = REG_PARAMS,
        *,
        on_strength: Callable[[], None] = lambda: None,
    ) -> Tuned:
        """Choose the strength by the mean log loss of out-of-fold scores.

        Args:
            parts: bool (n,), the inner folds; images in none of them are ignored.
            reg_params: strengths, strongest first; a single one is used as is.
            on_strength: called after each strength.
        """
        inside = np.logical_or.reduce(list(parts))
        losses: dict[float, float] = {}
        best: Tuned | None = None
        before: float | None = None
        for reg_param in reg_params:
            fits = self._fitted([inside & ~part for part in parts], reg_param, before)
            logits = np.full((len(self._labels), self._classes), np.nan)
            for part, fit in zip(parts, fits, strict=True):
                logits[part] = fit.logits(self._features[part])
            before = reg_param
            losses[reg_param] = loss = log_loss(logits[inside], self._labels[inside])
            on_strength()
            if best is None or loss < losses[best.reg_param]:
                best = Tuned(reg_param, logits, losses, fits[0])
            elif loss > losses[best.reg_param] + _WORSE_BY:
                break
        if best is None:
            raise ValueError("no candidate strengths")
        return best

    def _fitted(
        self, trained: Sequence[Mask], reg_param: float, before: float | None
    ) -> list[SoftmaxFit]:
        """Fits on some training sets, each started from that of the strength before."""

        def fit(train: Mask) -> SoftmaxFit:
            name = train.tobytes()
            start = None if before is None else self._fits[name, before]
            features = self._features[train]
            if name in self._scales:
                given = Standardised.by(features, *self._scales[name])
            else:
                given = Standardised.of(features)
                self._scales[name] = given.mean, given.scale
            return fit_softmax(
                given, self._labels[train], self._classes, reg_param,
                start=start, max_iter=self._max_iter, tolerance=TUNING_TOLERANCE,
            )  # fmt: skip

        names = [train.tobytes() for train in trained]
        new = [n for n, name in enumerate(names) if (name, reg_param) not in self._fits]
        with one_blas_thread(), ThreadPoolExecutor(self._threads) as pool:
            for n, fitted in zip(new, pool.map(fit, [trained[n] for n in new]), strict=True):
                self._fits[names[n], reg_param] = fitted
        return [self._fits[name, reg_param] for name in names]


def log_loss(logits: Floats, labels: Ints) -> float:
    """Mean negative log probability of the labels (n,), from logits (n, k)."""
    rows = np.arange(len(labels))
    return float(np.mean(special.logsumexp(logits, axis=1) - logits[rows, labels]))
