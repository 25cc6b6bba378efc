"""Check that the libraries of the extra are installed, without importing them."""

from __future__ import annotations

import importlib.util

from pulmospark.config.tracking import TrackingSettings
from pulmospark.core.errors import PlatformError
from pulmospark.core.extras import how_to_install

_MLFLOW = ("mlflow", "sqlalchemy", "alembic")
_TENSORBOARD = ("tensorboard",)


def check_tracking(settings: TrackingSettings) -> None:
    """Refuse tracking whose libraries are missing, before a run starts.

    Raises:
        PlatformError: a library of the extra is missing.
    """
    trackers = (
        ("mlflow", settings.mlflow, _MLFLOW),
        ("tensorboard", settings.tensorboard, _TENSORBOARD),
    )
    for name, value, libraries in trackers:
        missing = [library for library in libraries if importlib.util.find_spec(library) is None]
        if value is not None and missing:
            raise PlatformError(
                f"tracking.{name} is {str(value)!r}, but {missing[0]} is not installed: "
                f"{how_to_install('tracking')}"
            )
