"""MLflow reads at its import whether it may tell of its use."""

from __future__ import annotations

import os

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
