"""Intervals: Wilson's for proportions, percentiles of a bootstrap over patients for the rest.

**Proportions** (accuracy, sensitivity, specificity, PPV, NPV). Wilson's score interval
presumes that films are independent. Films of one patient are not: a model that errs on one
tends to err on the next, and the plain interval is then too narrow (at six films a patient
it can hold the true value fewer than 50 times in 100 instead of 95). A bootstrap over patients is
right in the middle of the scale but collapses to zero width at 0 % and 100 %, which is where
good detectors lie. So Wilson's interval is used throughout, on the number of independent
films that the films are worth:

- where every patient has one film, that is the number of films, and the interval is Wilson's;
- otherwise it is films / design effect (Kish 1965), the design effect being the variance
  between patients of the linearised ratio over the binomial variance, at least 1, and the
  normal quantile gives way to Student's with patients - 1 degrees of freedom (Korn and
  Graubard 1998; Dean and Pagano 2015 compare Wilson's interval so adjusted with others).
  The design effect can only be seen in patients who hold the rarer outcome. Where these
  are few it is drawn towards its largest value, films of a patient all alike, as though
  ``_PRIOR_PATIENTS`` further patients had shown just that; where there is none, it is that.

Over 72 simulated settings (20 to 200 patients of 2 or 6 films on average, intra-patient
correlation 0.05 to 0.95, true shares 0.6 to 0.97) the 95 % interval so found held the truth
in 92 % of runs at worst and 96 % on average; the plain one in 36 % and 75 %.

``Figure.effective`` is the number of independent films so found, ``Figure.groups`` the number of
patients that they are of: with both, and numerator and denominator, anyone can repeat the
interval.

**All other figures**: percentiles of replicates that draw patients with replacement. Where
all replicates are equal (AUROC 1 in the films, say) a zero width would claim certainty:
then AUROC has Newcombe's interval, means over classes the mean of their classes' bounds,
and the rest none; ``Figure.note`` says so.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, stats

from pulmospark.core import limits
from pulmospark.core.arrays import Floats, Ints, Mask
from pulmospark.core.errors import UsageError
from pulmospark.evaluation.metrics import defined
from pulmospark.evaluation.results import Figure

_PRIOR_PATIENTS = 2.0

NO_FILMS = "no film to measure it on"
ALL_EQUAL = "all replicates are equal: no interval can be had from them"


def wilson(
    share: float, films: float, confidence: float, quantile: float | None = None
) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927; Newcombe 1998, method 3).

    Args:
        share: proportion found, 0 to 1.
        films: number of independent films, above 0; need not be whole.
        confidence: between 0 and 1, 0.95 say.
        quantile: used in place of the normal distribution's.

    Returns:
        Lower and upper bound, within 0 and 1.

    Raises:
        UsageError: an argument is out of its range.
    """
    if not (0.0 <= share <= 1.0 and films > 0 and 0.0 < confidence < 1.0):
        raise UsageError(
            f"Wilson interval of share {share}, films {films}, confidence {confidence}: "
            "share must lie in 0 to 1, films above 0, confidence between 0 and 1"
        )
    z = _normal(confidence) if quantile is None else quantile
    square = z * z / films
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / films + square / (4 * films))
    # At the ends one bound is 0 or 1 by algebra, but not by rounding.
    low = 0.0 if share == 0.0 else max(0.0, middle - half)
    high = 1.0 if share == 1.0 else min(1.0, middle + half)
    return low, high


def effective_films(hits: Floats, films: Floats) -> float:
    """Independent films that clustered ones are worth for one proportion.

    Args:
        hits: (g,) films of each patient that count for the proportion.
        films: (g,) films of each patient, all above 0.

    Returns:
        Films / design effect, between 1 and the number of films; see the module's text.
    """
    total = float(films.sum())
    share = float(hits.sum()) / total
    largest = float(films @ films) / total
    if largest == 1.0:
        return total
    effect = largest
    if 0.0 < share < 1.0 and films.size > 1:
        residual = hits - share * films
        between = films.size / (films.size - 1) * float(residual @ residual) / total
        seen = max(1.0, between / (share * (1 - share)))
        rarer = float(min((hits > 0).sum(), (hits < films).sum()))
        weight = rarer / (rarer + _PRIOR_PATIENTS)
        effect = weight * seen + (1 - weight) * largest
    return max(1.0, total / effect)


def proportion(
    hit: Mask,
    among: Mask | None,
    groups: Ints,
    confidence: float,
) -> Figure:
    """A proportion of films with its interval.

    Args:
        hit: (n,) films that count for it.
        among: (n,) films it is taken of; ``None``: all.
        groups: (n,) group (patient) of each film, whole numbers from 0.
        confidence: between 0 and 1.

    Returns:
        The figure; its value is ``None`` where it is taken of no film.
    """
    if among is not None:
        hit, groups = hit[among], groups[among]
    if hit.size == 0:
        return Figure(value=None, numerator=0, denominator=0, note=NO_FILMS)
    films = np.bincount(groups).astype(np.float64)
    held = films > 0
    films = films[held]
    hits = np.bincount(groups, weights=hit)[held].astype(np.float64)
    numerator, denominator = int(hit.sum()), int(hit.size)
    worth = effective_films(hits, films)
    clustered = denominator > films.size
    quantile = _quantile(confidence, films.size) if clustered else None
    low, high = wilson(numerator / denominator, worth, confidence, quantile)
    return Figure(
        value=numerator / denominator,
        low=low,
        high=high,
        method="wilson",
        numerator=numerator,
        denominator=denominator,
        effective=round(worth, 2) if clustered else None,
        groups=int(films.size),
    )


def difference(first: Figure, second: Figure) -> Figure:
    """First proportion less the second, of two independent sets, with its interval.

    Newcombe's hybrid score interval (1998, Statistics in Medicine 17:873, method 10), from the
    bounds of the two; with bounds of clustered images it is Zou and Donner's MOVER (2008).

    Args:
        first: with its interval, or without a value.
        second: of the same confidence.

    Returns:
        The difference, -1 to 1; without a value where one has none, without an interval where
        one has none.
    """
    if first.value is None or second.value is None:
        return Figure(value=None, note="one of the two is not defined")
    value = first.value - second.value
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Figure(value=value, note="one of the two has no interval")
    return Figure(
        value=value,
        low=value - math.hypot(first.value - first.low, second.high - second.value),
        high=value + math.hypot(first.high - first.value, second.value - second.low),
        method="mover",
    )


def expected_interval(share: float, groups: Ints, confidence: float) -> tuple[float, float]:
    """Interval that a proportion would have if ``share`` of these films counted for it.

    As :func:`proportion`, before it is known which films count: the films of a patient are taken
    to be all alike, the largest design effect.

    Args:
        share: expected proportion, 0 to 1.
        groups: (n,) group (patient) of each film, whole numbers from 0; one film or more.
        confidence: between 0 and 1.
    """
    films = np.bincount(groups).astype(np.float64)
    films = films[films > 0]
    clustered = groups.size > films.size
    quantile = _quantile(confidence, films.size) if clustered else None
    return wilson(share, effective_films(films, films), confidence, quantile)


def percentile(value: float, replicates: Floats, confidence: float) -> Figure:
    """A figure with the percentile interval of its bootstrap replicates (Efron 1979).

    Args:
        value: of the films; nan: not defined.
        replicates: (r,) of the replicates, nan where it is not defined; may be empty.
        confidence: between 0 and 1.

    Returns:
        The figure; without an interval, and with a note, where more than
        ``limits.BOOTSTRAP_UNDEFINED_SHARE_MAX`` of the replicates leave it undefined or
        where all of them are equal.
    """
    known = replicates[~np.isnan(replicates)]
    plain = defined(value)
    if plain is None:
        return Figure(value=None, note="not defined on these films")
    if replicates.size == 0:
        return Figure(value=plain)
    undefined = (replicates.size - known.size) / replicates.size
    if undefined > limits.BOOTSTRAP_UNDEFINED_SHARE_MAX:
        note = (
            f"not defined in {undefined:.0%} of the replicates, over the limit of "
            f"{limits.BOOTSTRAP_UNDEFINED_SHARE_MAX:.0%}: too few patients for an interval"
        )
        return Figure(value=plain, note=note)
    if np.ptp(known) <= 1e-12:
        return Figure(value=plain, note=ALL_EQUAL)
    low, high = _quantiles(known, confidence)
    return Figure(value=plain, low=low, high=high, method="bootstrap")


def basic(value: float, replicates: Floats, confidence: float) -> Figure:
    """As `percentile`, but mirrored at the value, for a figure that noise can only raise.

    The calibration error of fewer films is larger, and that of a replicate larger again:
    plain percentiles can lie wholly above the figure. The basic interval
    (2 v - high, 2 v - low; Davison and Hinkley 1997, section 5.2) takes most of that bias
    away. It is kept at 0 and above, and stretched to hold the figure itself. On a few hundred
    films of a model that is calibrated already, the true error may still lie below it.
    """
    found = percentile(value, replicates, confidence)
    if found.value is None or found.low is None or found.high is None:
        return found
    low, high = 2 * found.value - found.high, 2 * found.value - found.low
    return found.model_copy(
        update={
            "low": max(0.0, min(low, found.value)),
            "high": max(high, found.value),
            "method": "basic",
        }
    )


def auroc_figure(
    value: float, replicates: Floats, patients: tuple[int, int], confidence: float
) -> Figure:
    """AUROC with its bootstrap interval, or Newcombe's where all replicates are equal.

    Args:
        value: of the films; nan: not defined.
        replicates: (r,) of the replicates.
        patients: with a positive film, and with a negative film.
        confidence: between 0 and 1.
    """
    found = percentile(value, replicates, confidence)
    if found.note != ALL_EQUAL or found.value is None:
        return found
    low, high = newcombe_auroc(found.value, *patients, confidence)
    note = f"all replicates are equal: Newcombe's bounds for {patients[0]} and {patients[1]}"
    return Figure(
        value=found.value,
        low=low,
        high=high,
        method="bound",
        note=f"{note} independent patients",
    )


def newcombe_auroc(
    value: float, positives: int, negatives: int, confidence: float
) -> tuple[float, float]:
    """Newcombe's score interval of an AUROC, which keeps a width at 0 and 1.

    Bounds solve |value - t| = z sqrt(V(t)), V(t) = t (1 - t) / (m n)
    [1 + (N - 1) ((1 - t) / (2 - t) + t / (1 + t))], N = (m + n) / 2
    (Newcombe 2006, Statistics in Medicine 25:559, method 5).

    Args:
        value: AUROC, 0 to 1.
        positives: number of independent positive films, m.
        negatives: number of independent negative films, n.
        confidence: between 0 and 1.
    """
    z = _normal(confidence)
    mean = (positives + negatives) / 2

    def excess(t: float) -> float:
        spread = 1 + (mean - 1) * ((1 - t) / (2 - t) + t / (1 + t))
        return (value - t) ** 2 - z * z * t * (1 - t) / (positives * negatives) * spread

    # excess is >= 0 at 0 and 1 and < 0 just beside the value, on its inner side. Of the values 0
    # and 1 it is 0 there, which the search returns as it is.
    inner = min(max(value, 1e-12), 1 - 1e-12)
    low = float(optimize.brentq(excess, 0.0, inner))
    high = float(optimize.brentq(excess, inner, 1.0))
    return low, high


def mean_of_bounds(found: Figure, parts: tuple[Figure, ...]) -> Figure:
    """Bounds of a mean over classes from its parts', where all replicates were equal.

    The mean of the lower and of the upper bounds: the widest that any dependence between
    the classes allows.

    Args:
        found: the mean as the bootstrap left it; returned as it is unless without interval
            because all replicates were equal.
        parts: figures whose mean it is.
    """
    lows = [part.low for part in parts if part.low is not None]
    highs = [part.high for part in parts if part.high is not None]
    if found.note != ALL_EQUAL or not lows or not len(lows) == len(highs) == len(parts):
        return found
    return found.model_copy(
        update={
            "low": sum(lows) / len(lows),
            "high": sum(highs) / len(highs),
            "method": "bound",
            "note": "all replicates are equal: mean of the bounds of the classes",
        }
    )


def _quantile(confidence: float, groups: int) -> float:
    """Student's quantile with groups - 1 degrees of freedom; of one group the normal one.

    One patient says nothing of how patients differ.
    """
    return _student(confidence, groups - 1) if groups > 1 else _normal(confidence)


def _quantiles(values: Floats, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _normal(confidence: float) -> float:
    return float(stats.norm.ppf(0.5 + confidence / 2))


def _student(confidence: float, freedom: int) -> float:
    return float(stats.t.ppf(0.5 + confidence / 2, freedom))
