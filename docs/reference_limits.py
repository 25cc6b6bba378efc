"""The page of the limits."""

from __future__ import annotations

from reference_words import sayings, table

from pulmospark.core import limits, mirror_limits, serve_limits


def limits_page() -> str:
    """Every limit with its value and its reason."""
    modules = (limits, serve_limits, mirror_limits)
    meanings = {name: said for module in modules for name, said in sayings(module).items()}
    values = {
        name: value for module in modules for name, value in vars(module).items() if name.isupper()
    }
    if silent := values.keys() - meanings.keys():
        raise SystemExit(f"limits: {', '.join(sorted(silent))} have no description")
    rows = [
        (f"`{name}`", f"{value:,}" if isinstance(value, int) else f"{value:g}", meanings[name])
        for name, value in values.items()
    ]
    return (
        "# Limits\n\nFrom `core/limits.py`, `core/serve_limits.py` and `core/mirror_limits.py`, "
        "in order.\n\n" + table(("limit", "value", "unit and reason"), rows)
    )
