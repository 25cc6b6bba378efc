"""Old name of :mod:`pulmospark.core.schemas`; it goes with 1.0."""

from __future__ import annotations

import warnings
from typing import Any

from pulmospark.core import schemas


def __getattr__(name: str) -> Any:
    """Hand on what the new module has."""
    value = getattr(schemas, name)
    warnings.warn(f"{__name__} is now pulmospark.core.schemas", DeprecationWarning, stacklevel=2)
    return value
