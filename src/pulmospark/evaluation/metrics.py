"""Exact metrics of class probabilities.

The functions on a confusion matrix take (k, k, ...) arrays, row the truth, column the
prediction, and return the remaining shape, with ``nan`` where a metric is undefined. So one
formula serves the metric and all bootstrap replicates. The functions on images return one number,
or ``None`` where it is undefined.

Definitions follow scikit-learn, and the tests compare every metric with it. One differs: a
quotient 0 / 0 is undefined here, but 0 in scikit-learn.
"""

from __future__ import annotations

import math

import numpy as np

from pulmospark.core.arrays import Floats, Ints, Mask
from pulmospark.evaluation.auc import Ranks
from pulmospark.evaluation.results import ReliabilityBin

_EPS = float(np.finfo(np.float64).eps)


def defined(value: float | np.floating | np.ndarray) -> float | None:
    """A number, or an array of shape (), as a plain float; ``None`` for ``nan``."""
    number = float(value)
    return None if math.isnan(number) else number


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Elementwise quotient of the broadcast shape; ``nan`` where the denominator is 0."""
    top, bottom = np.broadcast_arrays(
        np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    )
    out = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=out, where=bottom != 0)
    return out


# ---- on a confusion matrix -----------------------------------------------------------


def one_against_rest(confusion: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """True positives, false positives, false negatives, true negatives of each class.

    Args:
        confusion: (k, k, ...).

    Returns:
        Four arrays (k, ...).
    """
    true_positive = np.einsum("ii...->i...", confusion)
    false_positive = confusion.sum(axis=0) - true_positive
    false_negative = confusion.sum(axis=1) - true_positive
    total = confusion.sum(axis=(0, 1))
    return (
        true_positive,
        false_positive,
        false_negative,
        total - true_positive - false_positive - false_negative,
    )


def sensitivity(confusion: Floats) -> Floats:
    """TP / (TP + FN) of each class (recall); (k, ...)."""
    tp, _, fn, _ = one_against_rest(confusion)
    return ratio(tp, tp + fn)


def specificity(confusion: Floats) -> Floats:
    """TN / (TN + FP) of each class; (k, ...)."""
    _, fp, _, tn = one_against_rest(confusion)
    return ratio(tn, tn + fp)


def f1(confusion: Floats) -> Floats:
    """2 TP / (2 TP + FP + FN) of each class; (k, ...)."""
    tp, fp, fn, _ = one_against_rest(confusion)
    return ratio(2 * tp, 2 * tp + fp + fn)


def mcc(confusion: Floats) -> Floats:
    """Matthews correlation coefficient of each class against the rest; (k, ...)."""
    tp, fp, fn, tn = one_against_rest(confusion)
    # Take roots of pairs: the product of four counts may exceed 2^53.
    below = np.sqrt((tp + fp) * (tp + fn)) * np.sqrt((tn + fp) * (tn + fn))
    return ratio(tp * tn - fp * fn, below)


def balanced_accuracy(confusion: Floats, present: Mask) -> Floats:
    """Mean sensitivity of the classes that occur; (...).

    Args:
        confusion: (k, k, ...).
        present: (k,) classes that occur. A replicate without one of them has no balanced
            accuracy: the mean of the others would be a different metric.
    """
    if not present.any():
        return np.full(confusion.shape[2:], np.nan)
    return np.asarray(sensitivity(confusion)[present].mean(axis=0))


# ---- on images ------------------------------------------------------------------------


def predicted_class(probabilities: Floats) -> Ints:
    """Most probable class of each image, (n,); ties go to the first."""
    return np.asarray(np.argmax(probabilities, axis=1), dtype=np.int64)


def log_loss_of_images(labels: Ints, probabilities: Floats) -> Floats:
    """Minus the natural logarithm of the true class's probability, (n,).

    Probabilities are clipped to eps and 1 - eps of float64, as in scikit-learn.
    """
    true = probabilities[np.arange(labels.size), labels]
    return np.asarray(-np.log(np.clip(true, _EPS, 1 - _EPS)))


def brier_of_images(labels: Ints, probabilities: Floats) -> Floats:
    """Squared differences from the truth summed over the classes, (n,), 0 to 2."""
    difference = probabilities.copy()
    difference[np.arange(labels.size), labels] -= 1.0
    return np.asarray(np.einsum("nk,nk->n", difference, difference))


def bin_edges(bins: int) -> Floats:
    """Edges of equal-width bins from 0 to 1, (bins + 1,)."""
    return np.linspace(0.0, 1.0, bins + 1)


def bin_of_images(confidence: Floats, bins: int) -> Ints:
    """Bin of each image's probability, (n,); a bin holds its lower edge, the last both."""
    bin_numbers = np.searchsorted(bin_edges(bins), confidence, side="right") - 1
    return np.clip(bin_numbers, 0, bins - 1).astype(np.int64)


def confusion_matrix(
    labels: Ints, predicted: Ints, classes: int, weights: Floats | None = None
) -> Floats:
    """Images by true class (row) and predicted class (column), (classes, classes)."""
    cells = labels * classes + predicted
    flat = np.bincount(cells, weights=weights, minlength=classes * classes)
    return flat.astype(np.float64).reshape(classes, classes)


def auroc(positive: Mask, scores: Floats, weights: Floats | None = None) -> float | None:
    """Area under the ROC curve of (n,) scores, ties counting half; ``None`` for a single class."""
    return _area(positive, scores, weights)[0]


def average_precision(
    positive: Mask, scores: Floats, weights: Floats | None = None
) -> float | None:
    """Area under the precision-recall curve of (n,) scores: average precision, uninterpolated."""
    return _area(positive, scores, weights)[1]


def macro_auroc(
    labels: Ints, probabilities: Floats, weights: Floats | None = None
) -> float | None:
    """Mean one-vs-rest AUROC of (n, k) probabilities; ``None`` if that of a class is undefined."""
    areas = [
        auroc(labels == each, probabilities[:, each], weights)
        for each in range(probabilities.shape[1])
    ]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known and len(known) == len(areas) else None


def log_loss(labels: Ints, probabilities: Floats, weights: Floats | None = None) -> float | None:
    """Mean negative log likelihood (cross-entropy) of (n, k) probabilities, natural logarithm."""
    return _mean(log_loss_of_images(labels, probabilities), weights)


def brier(labels: Ints, probabilities: Floats, weights: Floats | None = None) -> float | None:
    """Mean over images of squared errors of (n, k) probabilities, summed over classes; 0 to 2."""
    return _mean(brier_of_images(labels, probabilities), weights)


def calibration_error(
    labels: Ints, probabilities: Floats, bins: int, weights: Floats | None = None
) -> float | None:
    """Expected calibration error of the predicted class's probability.

    Of (n, k) probabilities: the sum over equal-width bins of the bin's share of images times the
    distance between its mean probability and its accuracy (Naeini et al. 2015, Guo et al. 2017).
    """
    count, confidence, right = _binned(labels, probabilities, bins, weights)
    return defined(ratio(np.abs(confidence - right).sum(), count.sum()))


def reliability(labels: Ints, probabilities: Floats, bins: int) -> tuple[ReliabilityBin, ...]:
    """Bins of a reliability diagram of the predicted class's probability, from (n, k) of them."""
    edges = bin_edges(bins)
    count, confidence, right = _binned(labels, probabilities, bins, None)
    return tuple(
        ReliabilityBin(
            low=float(edges[each]),
            high=float(edges[each + 1]),
            count=int(count[each]),
            confidence=defined(ratio(confidence[each], count[each])),
            accuracy=defined(ratio(right[each], count[each])),
        )
        for each in range(bins)
    )


def _binned(
    labels: Ints, probabilities: Floats, bins: int, weights: Floats | None
) -> tuple[Floats, Floats, Floats]:
    """Weight, summed probability and weight classified correctly, each (bins,)."""
    predicted = predicted_class(probabilities)
    confidence = probabilities[np.arange(labels.size), predicted]
    weight = np.ones(labels.size) if weights is None else weights
    bin_numbers = bin_of_images(confidence, bins)
    count, summed, right = (
        np.bincount(bin_numbers, weights=weight * value, minlength=bins).astype(np.float64)
        for value in (np.ones(labels.size), confidence, (predicted == labels).astype(np.float64))
    )
    return count, summed, right


def _area(
    positive: Mask, scores: Floats, weights: Floats | None
) -> tuple[float | None, float | None]:
    if positive.size == 0:
        return None, None
    images = np.arange(positive.size, dtype=np.int64)
    weight = np.ones(positive.size) if weights is None else weights.astype(np.float64)
    both = Ranks.of(positive, scores, images, positive.size).areas(weight[:, None])
    return defined(both[0][0]), defined(both[1][0])


def _mean(values: Floats, weights: Floats | None) -> float | None:
    weight = np.ones(values.size) if weights is None else weights
    return defined(ratio(values @ weight, weight.sum()))
