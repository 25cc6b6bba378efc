"""Figures with an interval that no data stand behind."""

from __future__ import annotations

from pulmospark.evaluation.results import Figure


def wilson(hits: int, of: int) -> Figure:
    if of == 0:
        return Figure(value=None, numerator=0, denominator=0)
    z, share = 1.96, hits / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * (share * (1 - share) / of + z * z / (4 * of * of)) ** 0.5
    return Figure(
        value=share, low=max(middle - half, 0.0), high=min(middle + half, 1.0),
        method="wilson", numerator=hits, denominator=of,
    )  # fmt: skip


def about(value: float, half: float = 0.02, top: float = 1.0) -> Figure:
    low, high = max(value - half, -1.0), min(value + half * 0.8, top)
    return Figure(value=value, low=low, high=high, method="bootstrap")
