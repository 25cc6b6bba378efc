"""Small pieces of the sentences that audits say."""

from __future__ import annotations

from collections.abc import Iterable

from pulmospark.evaluation.results import Figure

_SHOWN = 4


def counted(number: int, one: str, many: str | None = None) -> str:
    """ "1 film", "1,204 films"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def named(names: Iterable[str]) -> str:
    """ "a, b, c, d and 3 more"."""
    told = list(names)
    more = f" and {len(told) - _SHOWN:,} more" if len(told) > _SHOWN else ""
    return ", ".join(told[:_SHOWN]) + more


def percent(figure: Figure) -> str:
    """ "3.1 % (2.0 to 4.6)"."""
    if figure.value is None:
        return "not defined"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.1%}"
    return f"{figure.value * 100:.1f} % ({figure.low * 100:.1f} to {figure.high * 100:.1f})"
