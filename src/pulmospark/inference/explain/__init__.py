"""Heat maps: where in an image a network found evidence for a class.

Imports the engine, models and imaging, and PyTorch only where a map needs gradients.
Batch, stream and all packages above inference may import it.
"""

from __future__ import annotations

from pulmospark.inference.explain.explainer import Explainer
from pulmospark.inference.explain.heat_map import HeatMap

__all__ = ["Explainer", "HeatMap"]
