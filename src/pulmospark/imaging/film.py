"""Old name of :mod:`pulmospark.imaging.image`; it goes with 1.0."""

from __future__ import annotations

import warnings
from typing import Any

from pulmospark.imaging import image


def __getattr__(name: str) -> Any:
    """Hand on what the new module has."""
    value = getattr(image, name)
    warnings.warn(f"{__name__} is now pulmospark.imaging.image", DeprecationWarning, stacklevel=2)
    return value
