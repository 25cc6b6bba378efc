"""Out-of-fold scores of a training part, and the regularisation that does best on them.

What a model is tuned by must be images that it was not fitted on, and as many as there are: with
a tenth of the images for validation a rare class has a handful. So the images outside the tested
fold are divided into inner folds; each is scored by a fit on the others; and regularisation,
temperature and operating point are chosen on all these scores together. The model itself is then
fitted on all of them. scikit-learn does the same in ``LogisticRegressionCV``,
``CalibratedClassifierCV(ensemble=False)`` and ``TunedThresholdClassifierCV``. The tested fold
takes no part in any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from pulmospark.core.arrays import Floats, Ints, Mask, Singles
from pulmospark.core.settings import SplitSettings
from pulmospark.data.assignment import assign
from pulmospark.training.softmax import Standardised, fit_softmax, logits_of

REG_PARAMS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""strengths that are tried, strongest first: each fit starts from the one before it"""
INNER_FOLDS = 5
_WORSE_BY = 0.002
"""log loss by which a weaker regularisation may be worse than the best before it, after which
no weaker one is tried: it rises steadily beyond its minimum, and weak fits take longest"""


@dataclass(frozen=True)
class Tuned:
    """What was chosen on out-of-fold scores.

    Attributes:
        reg_param: with the lowest mean log loss.
        logits: float64 (n, classes), out-of-fold at that strength; nan for other images.
        losses: strength -> mean log loss, of those that were tried.
    """

    reg_param: float
    logits: Floats
    losses: Mapping[float, float]


def inner_folds(groups: Sequence[str], labels: Ints, sources: Sequence[str], seed: int) -> Ints:
    """Inner fold of each image: groups are dealt out as a split deals them; int64 (n,)."""
    rows = pd.DataFrame(
        {"group_id": groups, "label": labels.astype(str), "source": sources, "part": None}
    )
    places = assign(rows, SplitSettings(folds=INNER_FOLDS), seed)["fold"]
    return rows["group_id"].map(places).to_numpy(np.int64)


def can_cross_fit(labels: Ints, parts: Sequence[Mask], classes: int) -> bool:
    """Whether each class is in the training part of every inner fold.

    Args:
        labels: int64 (n,).
        parts: bool (n,), the inner folds.
        classes: their number.
    """
    inside = np.logical_or.reduce(list(parts))
    return all(np.unique(labels[inside & ~part]).size == classes for part in parts)


class CrossFit:
    """Fits on the images outside one or two folds, each made once.

    Where the inner folds of one model are the outer folds of a cross-validation, the fit without
    folds 1 and 2 serves the model of either.
    """

    def __init__(
        self, features: Singles, labels: Ints, classes: int, *, max_iter: int = 60
    ) -> None:
        """For features, float32 (n, width), and labels, int64 (n,), 0 to classes - 1."""
        self._features, self._labels, self._classes = features, labels, classes
        self._max_iter = max_iter
        self._made: dict[tuple[bytes, float], tuple[Floats, Floats]] = {}

    @property
    def fits(self) -> int:
        """Fits that were made."""
        return len(self._made)

    def tuned(
        self,
        parts: Sequence[Mask],
        reg_params: Sequence[float] = REG_PARAMS,
        *,
        told: Callable[[], None] = lambda: None,
    ) -> Tuned:
        """Choose the strength by the mean log loss of out-of-fold scores.

        Args:
            parts: bool (n,), the inner folds: images in none of them take no part.
            reg_params: strengths, strongest first; one alone is taken as it is.
            told: called after each strength.
        """
        inside = np.logical_or.reduce(list(parts))
        losses: dict[float, float] = {}
        best: tuple[float, float, Floats] | None = None
        before: float | None = None
        for reg_param in reg_params:
            logits = np.full((len(self._labels), self._classes), np.nan)
            for part in parts:
                logits[part] = self._scores(inside & ~part, reg_param, before)[part]
            before = reg_param
            losses[reg_param] = loss = log_loss(logits[inside], self._labels[inside])
            told()
            if best is None or loss < best[1]:
                best = (reg_param, loss, logits)
            elif loss > best[1] + _WORSE_BY:
                break
        if best is None:
            raise ValueError("no strength to try")
        return Tuned(best[0], best[2], losses)

    def _scores(self, train: Mask, reg_param: float, before: float | None) -> Floats:
        """Logits of all images by the fit on some, started from that at the strength before."""
        name = train.tobytes()
        if (name, reg_param) not in self._made:
            # Anew each time: kept for every training part it would be as many features more.
            given = Standardised.of(self._features[train])
            start = None if before is None else self._made[name, before][0]
            fit = fit_softmax(
                given, self._labels[train], self._classes, reg_param,
                start=start, max_iter=self._max_iter,
            )  # fmt: skip
            self._made[name, reg_param] = fit, logits_of(self._features, given, fit)
        return self._made[name, reg_param][1]


def log_loss(logits: Floats, labels: Ints) -> float:
    """Mean negative log probability of the labels."""
    rows = np.arange(len(labels))
    return float(np.mean(special.logsumexp(logits, axis=1) - logits[rows, labels]))
