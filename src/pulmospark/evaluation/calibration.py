"""Temperature scaling and operating points, fitted on images outside the test set."""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, special

from pulmospark.core import limits
from pulmospark.core.arrays import Floats, Ints, Mask
from pulmospark.core.errors import InputError, UsageError
from pulmospark.evaluation import registry
from pulmospark.evaluation.intervals import effective_images, proportion
from pulmospark.evaluation.results import OperatingFigures, OperatingPoint


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """Fit the temperature of temperature scaling (Guo et al. 2017), within bounds.

    Minimises the mean cross-entropy of softmax(logits / T) with the targets. It has one minimum,
    because it is convex in 1 / T. The search runs over log T between ``limits.TEMPERATURE_MIN``
    and ``limits.TEMPERATURE_MAX``.

    The targets are smoothed. With targets of 0 and 1, a small sample classified without error
    would drive T to 0 and every probability to 0 or 1, which 30 images cannot justify. Platt
    (1999, "Probabilistic outputs for support vector machines", section 2.2) gives an image of a
    class with n images the target (n + 1) / (n + 2), the posterior mean of the label probability
    under a uniform prior. With k classes that is Laplace's rule of succession:
    (n + 1) / (n + k) for the true class and 1 / (n + k) for each other, which equals Platt's
    for k = 2. For many images it converges to Guo's likelihood.

    Args:
        logits: (n, k) of the validation split.
        labels: (n,) true class, 0 to k - 1.

    Returns:
        T; 1 where no other value is better.

    Raises:
        InputError: no images, different lengths, a label out of range, or a logit that is
            not finite.
    """
    scores = _logits(logits)
    truth = np.asarray(labels)
    images, classes = scores.shape
    if truth.shape != (images,):
        raise InputError(
            f"{images} rows of logits but labels of shape {truth.shape}: provide one label per row"
        )
    if images == 0:
        raise InputError(
            "the validation split is empty: temperature scaling needs at least one image"
        )
    if truth.min() < 0 or truth.max() >= classes:
        raise InputError(
            f"labels from {truth.min()} to {truth.max()}: must lie in 0 to {classes - 1}"
        )
    # Subtract the maximum first: differences of huge logits would lose precision.
    scores = scores - scores.max(axis=1, keepdims=True)
    aimed = (scores * smoothed_targets(truth, classes)).sum(axis=1)

    def loss(log_temperature: float) -> float:
        inverse = math.exp(-log_temperature)
        return float(np.mean(special.logsumexp(scores * inverse, axis=1) - aimed * inverse))

    fit = optimize.minimize_scalar(
        loss,
        bounds=(math.log(limits.TEMPERATURE_MIN), math.log(limits.TEMPERATURE_MAX)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    # Where the loss is flat (all logits equal), the search can end anywhere.
    if loss(0.0) <= float(fit.fun) + 1e-15:
        return 1.0
    return math.exp(float(fit.x))


def smoothed_targets(labels: Ints, classes: int) -> Floats:
    """Targets of images, (n, classes): see :func:`fit_temperature`; each row sums to 1.

    Args:
        labels: (n,) true class, 0 to classes - 1.
        classes: their number, k.
    """
    truth = np.asarray(labels)
    counts = np.bincount(truth, minlength=classes)[truth][:, None]
    return np.asarray((np.eye(classes)[truth] * counts + 1.0) / (counts + classes))


def apply_temperature(logits: Floats, temperature: float) -> Floats:
    """Probabilities softmax(logits / T), (n, k) float64, for logits of any size.

    Args:
        logits: (n, k).
        temperature: above 0.

    Raises:
        UsageError: the temperature is not above 0.
        InputError: a logit is not finite.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise UsageError(f"temperature {temperature}: must be a number above 0")
    return np.asarray(special.softmax(_logits(logits) / temperature, axis=1))


def choose_operating_point(
    probabilities: Floats,
    positive: Mask,
    target_sensitivity: float,
    positive_class: str,
    *,
    groups: Ints | None = None,
    confidence: float = 0.95,
) -> OperatingPoint:
    """Choose the highest threshold that reaches the target sensitivity on held-out images.

    An image is called positive if its probability is at or above the threshold. With a target
    of 0 the threshold still detects one image.

    The sensitivity expected on new patients is given as a CI: see `expected_sensitivity`.

    Args:
        probabilities: (n,) of the positive class.
        positive: (n,) whether an image is of that class.
        target_sensitivity: 0 to 1.
        positive_class: its name.
        groups: (n,) group (patient) of each image, whole numbers from 0; ``None``: one
            image per patient.
        confidence: level of the CI, between 0 and 1.

    Returns:
        The point; ``reached`` is false and the threshold 0.5 if no image is positive.

    Raises:
        UsageError: the target is outside 0 to 1.
        InputError: different lengths, or a probability outside 0 to 1.
    """
    if not 0.0 <= target_sensitivity <= 1.0:
        raise UsageError(f"target sensitivity {target_sensitivity}: must lie in 0 to 1")
    scores, truth = _scores(probabilities, positive)
    whose = np.arange(scores.size) if groups is None else np.asarray(groups)
    if whose.shape != scores.shape:
        raise InputError(
            f"groups of shape {whose.shape} for {scores.size} images: provide one per image"
        )
    ranked = -np.sort(-scores[truth])
    threshold, low, high = 0.5, None, None
    if ranked.size:
        # Compare like the sensitivity is computed: 0.07 x 100 would round up to 8 images.
        reached = np.arange(1, ranked.size + 1) / ranked.size >= target_sensitivity
        threshold = float(ranked[int(np.argmax(reached))])
        low, high = expected_sensitivity(scores[truth] >= threshold, whose[truth], confidence)
    return OperatingPoint(
        positive_class=positive_class,
        threshold=threshold,
        sensitivity_target=target_sensitivity,
        chosen_on=int(scores.size),
        reached=bool(ranked.size),
        positives=int(ranked.size),
        positive_groups=int(np.unique(whose[truth]).size),
        expected_low=low,
        expected_high=high,
    )


def expected_sensitivity(called: Mask, groups: Ints, confidence: float) -> tuple[float, float]:
    """Bounds of the sensitivity on new patients at a threshold chosen on these images.

    The threshold is the score of the k-th highest of n positives, and the share of the population
    above an order statistic has the distribution Beta(k, n - k + 1) (David and Nagaraja 2003,
    section 2.5). The lower bound is a quantile of it, equal to Clopper and Pearson's. The upper
    bound is Clopper and Pearson's too, slightly wider because the final model was fitted on more
    images than the models that scored these. Where patients have several images, n is the
    effective sample size (``intervals.effective_images``).

    Args:
        called: (n,) whether each positive image is at or above the threshold; one or more.
        groups: (n,) group (patient) of each, whole numbers from 0.
        confidence: between 0 and 1.
    """
    images = np.bincount(groups).astype(np.float64)
    hits = np.bincount(groups, weights=called).astype(np.float64)[images > 0]
    effective = effective_images(hits, images[images > 0])
    right = effective * float(called.mean())
    tail = (1 - confidence) / 2
    low = float(special.betaincinv(right, effective - right + 1, tail)) if right else 0.0
    high = (
        float(special.betaincinv(right + 1, effective - right, 1 - tail))
        if right < effective
        else 1.0
    )
    return low, high


def called_positive(point: OperatingPoint, probabilities: Floats) -> Mask:
    """Images that a point calls positive, (n,): those at or above its threshold.

    Args:
        point: the point.
        probabilities: (n,) of its class.
    """
    return np.asarray(probabilities >= point.threshold)


def decided_figures(
    point: OperatingPoint,
    called: Mask,
    positive: Mask,
    groups: Ints,
    confidence: float,
    *,
    thresholds: tuple[float, ...] = (),
) -> OperatingFigures:
    """Performance of given decisions, such as those with one threshold per fold.

    Args:
        point: the point to report.
        called: (n,) whether an image was called positive.
        positive: (n,) whether it is.
        groups: (n,) group (patient) of each image, whole numbers from 0.
        confidence: level of the CIs, between 0 and 1.
        thresholds: of each fold, if there were several.
    """
    return OperatingFigures.model_validate(
        {
            "point": point,
            **{
                metric.name: proportion(*metric.proportion(positive, called), groups, confidence)
                for metric in registry.of_decisions()
                if metric.proportion is not None
            },
            "thresholds": thresholds,
        }
    )


def _logits(logits: Floats) -> Floats:
    scores = np.asarray(logits, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] < 1:
        raise InputError(f"logits of shape {scores.shape}: expected (images, classes)")
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
        raise InputError(f"logits of row {row} are not finite: check the model's output")
    return scores


def _scores(probabilities: Floats, positive: Mask) -> tuple[Floats, Mask]:
    scores = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(positive, dtype=bool)
    if scores.ndim != 1 or scores.shape != truth.shape:
        raise InputError(
            f"probabilities of shape {scores.shape} and labels of shape {truth.shape}: "
            "provide one of each per image"
        )
    wrong = ~((scores >= 0) & (scores <= 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"probability {scores[row]} of row {row}: must lie in 0 to 1")
    return scores, truth
