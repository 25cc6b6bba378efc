"""pulmospark: COVID-19 and pneumonia detectors from chest X-rays, on Apache Spark.

    import pulmospark as ps

    run = ps.run("my.toml")
    model = ps.load("runs/mine/bundle")
    model.predict("image.png")

Research software, not a medical device.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pulmospark.api.models import Model, load
    from pulmospark.api.runs import Run, open_run, run
    from pulmospark.api.tables import read_table
    from pulmospark.audit.results import AuditReport
    from pulmospark.config.experiment import Experiment
    from pulmospark.config.source import SourceSettings
    from pulmospark.core.errors import (
        AuditError,
        BundleError,
        ClassError,
        InputError,
        LayoutError,
        PlatformError,
        PulmosparkError,
        SourceUnavailableError,
        TrainingError,
        UsageError,
    )
    from pulmospark.inference.batch.result import Prediction
    from pulmospark.inference.explain.heat_map import HeatMap

__version__ = "0.2.0"
NOT_A_MEDICAL_DEVICE = (
    "Research software, not a medical device: no output of it may guide the care of a person."
)

__all__ = [
    "NOT_A_MEDICAL_DEVICE",
    "AuditError",
    "AuditReport",
    "BundleError",
    "ClassError",
    "Experiment",
    "HeatMap",
    "InputError",
    "LayoutError",
    "Model",
    "PlatformError",
    "Prediction",
    "PulmosparkError",
    "Run",
    "SourceSettings",
    "SourceUnavailableError",
    "TrainingError",
    "UsageError",
    "__version__",
    "load",
    "open_run",
    "read_table",
    "run",
]

_ELSEWHERE = {
    "Experiment": "config.experiment",
    "SourceSettings": "config.source",
    "AuditReport": "audit.results",
    "HeatMap": "inference.explain.heat_map",
    "Prediction": "inference.batch.result",
    "Model": "api.models",
    "load": "api.models",
    "Run": "api.runs",
    "open_run": "api.runs",
    "run": "api.runs",
    "read_table": "api.tables",
}
"""public name -> its module; the errors, which are the rest, are in ``core.errors``"""


if not TYPE_CHECKING:  # a type checker is to find a name that there is not

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first used: importing the package takes milliseconds."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(f"{__name__}.{_ELSEWHERE.get(name, 'core.errors')}")
        value = getattr(module, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
