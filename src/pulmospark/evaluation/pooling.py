"""From slices to scans to patients: probabilities pooled upward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np

from pulmospark.core.arrays import Floats, Ints
from pulmospark.core.errors import InputError
from pulmospark.evaluation.attention import attend

Pooling = Literal["mean", "top_k", "noisy_or", "attention"]

_SMALLEST = 1e-12
"""probability below which noisy-or takes a class as not seen: a network's rounding"""


def mean(probabilities: Floats) -> Floats:
    """Mean of the rows: (n, k) -> (k,)."""
    return np.asarray(probabilities.mean(axis=0), dtype=np.float64)


def top_k(probabilities: Floats, *, count: int) -> Floats:
    """Of each class the mean of its ``count`` largest probabilities, made to sum to 1.

    Args:
        probabilities: (n, k) rows that sum to 1.
        count: 1 or more; all rows where there are fewer.

    Returns:
        (k,)
    """
    count = min(count, len(probabilities))
    largest = np.partition(probabilities, len(probabilities) - count, axis=0)[-count:]
    means = largest.mean(axis=0)
    return np.asarray(means / means.sum(), dtype=np.float64)


def noisy_or(probabilities: Floats, *, negative: int) -> Floats:
    """Noisy-or: a unit has a disease where at least one of its rows shows it (Pearl 1988, 4.3).

    With two classes it is 1 - prod(1 - p) for the disease. With several diseases, each class but
    the negative one is such a cause, c_k = 1 - prod(1 - p_k), and since a unit has one class
    alone, that exactly one or none of them holds: the odds c_k / (1 - c_k) beside 1 for none,
    made to sum to 1. Summed as logarithms, so that hundreds of rows do not run out of digits.

    Args:
        probabilities: (n, k) rows that sum to 1.
        negative: column of the class without a disease.

    Returns:
        (k,)
    """
    kept = np.log1p(-np.clip(probabilities, _SMALLEST, 1 - _SMALLEST)).sum(axis=0)
    odds = np.log(-np.expm1(kept)) - kept
    odds[negative] = 0.0
    shares = np.exp(odds - odds.max())
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def pooler(
    pooling: Pooling,
    classes: Sequence[str],
    *,
    count: int,
    negative_class: str | None,
    weights: Floats | None = None,
) -> Callable[[Floats], Floats]:
    """The pooling of a name, as a function of (n, k) -> (k,).

    Args:
        pooling: its name.
        classes: k names, in the order of the columns.
        count: of ``top_k``.
        negative_class: of ``noisy_or``.
        weights: of ``attention``; ``None``: all count the same.

    Raises:
        InputError: noisy-or without a negative class that is among the classes.
    """
    if pooling == "attention" and weights is not None:
        return partial(attend, weights=weights)
    if pooling in ("mean", "attention"):
        return mean
    if pooling == "top_k":
        return partial(top_k, count=count)
    if negative_class is None or negative_class not in classes:
        raise InputError(
            f"evaluate.negative_class is {negative_class!r}, and the classes are "
            f"{', '.join(classes)}: noisy_or needs the one without a disease"
        )
    return partial(noisy_or, negative=list(classes).index(negative_class))


def pool(
    probabilities: Floats, units: Ints, how: Callable[[Floats], Floats]
) -> tuple[Floats, Ints]:
    """Pool the rows of each unit.

    Args:
        probabilities: (n, k) rows that sum to 1.
        units: (n,) unit of each row, 0 to m - 1, none of them empty.
        how: (n, k) -> (k,).

    Returns:
        (m, k) pooled, and (m,) the number of rows of each.
    """
    order = np.argsort(units, kind="stable")
    sizes = np.bincount(units)
    ends = np.cumsum(sizes)
    rows = probabilities[order]
    pooled = [how(rows[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
    return np.asarray(pooled, dtype=np.float64).reshape(len(sizes), -1), sizes.astype(np.int64)
