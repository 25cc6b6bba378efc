"""The cohort: class mapping, split or folds, exclusions, and the lineage of its tables.

Imports ``data.ingest`` and ``data.duplicates``.
Expansion, inference and all packages above them may import it.
"""

from __future__ import annotations

from typing import Any

_PUBLIC = ("Part", "in_part", "read_cohort")


def __getattr__(name: str) -> Any:
    """Hand on what users import from here; loaded when asked for, as workers do without."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pulmospark.data.cohort import table  # noqa: PLC0415

    return getattr(table, name)
