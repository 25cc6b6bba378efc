"""Whether the libraries of the extra are there; imports none of them."""

from __future__ import annotations

import importlib.util

from pulmospark.core.errors import EnvironmentProblem
from pulmospark.core.extras import how_to_install
from pulmospark.core.tracking_settings import TrackingSettings

_MLFLOW = ("mlflow", "sqlalchemy", "alembic")
_TENSORBOARD = ("tensorboard",)


def check_tracking(settings: TrackingSettings) -> None:
    """Refuse tracking that could not be written, before anything is done.

    Raises:
        EnvironmentProblem: a library of the extra is missing.
    """
    asked = (
        ("mlflow", settings.mlflow, _MLFLOW),
        ("tensorboard", settings.tensorboard, _TENSORBOARD),
    )
    for name, value, libraries in asked:
        missing = [one for one in libraries if importlib.util.find_spec(one) is None]
        if value is not None and missing:
            raise EnvironmentProblem(
                f"tracking.{name} is {str(value)!r}, and {missing[0]} is not installed: "
                f"{how_to_install('tracking')}"
            )
