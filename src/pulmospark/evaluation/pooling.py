"""Pool probabilities from slices to scans to patients."""

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
"""lower bound on probabilities in noisy-or, about a network's rounding error"""


def mean(probabilities: Floats) -> Floats:
    """Mean of the rows: (n, k) -> (k,)."""
    return np.asarray(probabilities.mean(axis=0), dtype=np.float64)


def top_k(probabilities: Floats, *, count: int) -> Floats:
    """Mean of the ``count`` largest probabilities of each class, normalised to sum to 1.

    Args:
        probabilities: (n, k) rows that sum to 1.
        count: at least 1; all rows if there are fewer.

    Returns:
        (k,)
    """
    count = min(count, len(probabilities))
    largest = np.partition(probabilities, len(probabilities) - count, axis=0)[-count:]
    means = largest.mean(axis=0)
    return np.asarray(means / means.sum(), dtype=np.float64)


def noisy_or(probabilities: Floats, *, negative: int) -> Floats:
    """Noisy-or: a unit has a disease if at least one of its rows shows it (Pearl 1988, 4.3).

    With two classes it is 1 - prod(1 - p) for the disease. With several diseases, each class
    except the negative one is such a cause, c_k = 1 - prod(1 - p_k). A unit has exactly one class,
    so at most one cause holds: the odds are c_k / (1 - c_k), and 1 for none, normalised to sum to
    1. Logarithms are summed, so that hundreds of rows do not underflow.

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
    """The pooling function of a name, (n, k) -> (k,).

    Args:
        pooling: its name.
        classes: k names, in the order of the columns.
        count: for ``top_k``.
        negative_class: for ``noisy_or``.
        weights: for ``attention``; ``None``: equal weights.

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
            f"evaluate.negative_class is {negative_class!r}, but the classes are "
            f"{', '.join(classes)}: noisy_or needs the class without disease"
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
