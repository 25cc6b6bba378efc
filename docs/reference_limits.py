"""The page of the limits."""

from __future__ import annotations

from reference_words import sayings, table

from pulmospark.core import (
    archive_limits,
    lake_limits,
    limits,
    mirror_limits,
    serve_limits,
    spark_limits,
    store_limits,
    stream_limits,
)


def limits_page() -> str:
    """Every limit with its value and its reason."""
    rooms = (
        limits,
        spark_limits,
        serve_limits,
        store_limits,
        lake_limits,
        mirror_limits,
        stream_limits,
        archive_limits,
    )
    meanings = {name: text for room in rooms for name, text in sayings(room).items()}
    both = {name: value for room in rooms for name, value in vars(room).items()}
    values = {name: value for name, value in both.items() if name.isupper()}
    if silent := values.keys() - meanings.keys():
        raise SystemExit(f"limits: {', '.join(sorted(silent))} have no description")
    rows = [
        (f"`{name}`", f"{value:,}" if isinstance(value, int) else f"{value:g}", meanings[name])
        for name, value in values.items()
    ]
    files = ", ".join(f"`core/{room.__name__.rpartition('.')[2]}.py`" for room in rooms)
    return f"# Limits\n\nFrom {files}, in order.\n\n" + table(
        ("limit", "value", "unit and reason"), rows
    )
