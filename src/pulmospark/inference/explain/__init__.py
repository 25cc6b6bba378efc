"""Heat maps: where in an image a network found evidence for a class.

Imports the engine, models and imaging, and PyTorch only where a map needs gradients; its public
names are imported at their first use, since scoring needs this package's small modules alone.
Batch, stream and all packages above inference may import it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pulmospark.inference.explain.explainer import Explainer
    from pulmospark.inference.explain.heat_map import HeatMap

__all__ = ["Explainer", "HeatMap"]

_HOMES = {"Explainer": "explainer", "HeatMap": "heat_map"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
