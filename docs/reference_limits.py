"""The page of the limits."""

from __future__ import annotations

from reference_words import sayings, table

from pulmospark.core import limits, serve_limits


def limits_page() -> str:
    """Every limit with its value and its reason."""
    meanings = sayings(limits) | sayings(serve_limits)
    both = vars(limits) | vars(serve_limits)
    values = {name: value for name, value in both.items() if name.isupper()}
    if silent := values.keys() - meanings.keys():
        raise SystemExit(f"limits: {', '.join(sorted(silent))} have no description")
    rows = [
        (f"`{name}`", f"{value:,}" if isinstance(value, int) else f"{value:g}", meanings[name])
        for name, value in values.items()
    ]
    return "# Limits\n\nFrom `core/limits.py` and `core/serve_limits.py`, in order.\n\n" + table(
        ("limit", "value", "unit and reason"), rows
    )
