"""Numbers as the pages write them."""

from __future__ import annotations

import math

from pulmospark.evaluation.registry import Scale
from pulmospark.evaluation.results import Evaluation, Figure

DASH = "\N{EM DASH}"
MINUS = "\N{MINUS SIGN}"
PERCENT = "\N{NO-BREAK SPACE}%"


def number(value: float, scale: Scale = "number") -> str:
    """A value as the page shows it: ``91.3 %``, ``0.947``; a dash where it is no number."""
    if not math.isfinite(value):
        return DASH
    text = f"{value * 100:.1f}{PERCENT}" if scale == "percent" else f"{value:.3f}"
    return text.replace("-", MINUS)


def count(value: int, one: str, many: str | None = None) -> str:
    """A count with its noun: ``1 image``, ``1,204 images``."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def interval(figure: Figure, scale: Scale = "number") -> str:
    """The CI of a figure: ``88.1 to 93.7 %``; empty where there is none."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{number(figure.low, scale).removesuffix(PERCENT)} to {number(figure.high, scale)}"


def shown_value(figure: Figure, scale: Scale = "number") -> str:
    """The value, or in words that there is none."""
    return "not defined" if figure.value is None else number(figure.value, scale)


def with_ci(figure: Figure, confidence: str, scale: Scale = "percent") -> str:
    """Value and CI: ``91.3 % (95 % CI 88.1 to 93.7 %)``."""
    span = interval(figure, scale)
    return shown_value(figure, scale) + (f" ({confidence} CI {span})" if span else "")


def confidence(evaluation: Evaluation) -> str:
    """The confidence level of the CIs: ``95 %``."""
    return f"{evaluation.confidence * 100:g}{PERCENT}"
