"""Formatting for the sentences of audits."""

from __future__ import annotations

from collections.abc import Iterable

from pulmospark.evaluation.results import Figure

_SHOWN = 4


def named(names: Iterable[str]) -> str:
    """ "a, b, c, d and 3 more"."""
    shown = list(names)
    more = f" and {len(shown) - _SHOWN:,} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more


def percent(figure: Figure) -> str:
    """ "3.1 % (2.0 to 4.6)"."""
    if figure.value is None:
        return "not defined"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.1%}"
    return f"{figure.value * 100:.1f} % ({figure.low * 100:.1f} to {figure.high * 100:.1f})"
