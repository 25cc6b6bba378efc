"""Old name of :mod:`pulmospark.data.expand.table`; it goes with 1.0."""

from __future__ import annotations

import warnings
from typing import Any

from pulmospark.data.expand import table


def __getattr__(name: str) -> Any:
    """Hand on what the new module has."""
    value = getattr(table, name)
    warnings.warn(
        f"{__name__} is now pulmospark.data.expand.table", DeprecationWarning, stacklevel=2
    )
    return value
