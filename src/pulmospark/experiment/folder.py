"""Old name of :mod:`pulmospark.experiment.run_folder`; it goes with 1.0."""

from __future__ import annotations

import warnings
from typing import Any

from pulmospark.experiment import run_folder


def __getattr__(name: str) -> Any:
    """Hand on what the new module has."""
    value = getattr(run_folder, name)
    warnings.warn(
        f"{__name__} is now pulmospark.experiment.run_folder", DeprecationWarning, stacklevel=2
    )
    return value
