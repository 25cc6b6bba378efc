"""Where a run is written for MLflow and TensorBoard."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import field_validator

from pulmospark.config.base import Settings
from pulmospark.core.errors import UsageError
from pulmospark.core.locations import LocalPath, local_text

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_STORES = re.compile(
    r"(https?|sqlite|mysql|mssql|postgresql|databricks(-uc)?|uc)(\+\w+)?:", re.IGNORECASE
)
"""databases and servers that MLflow stores runs in; anything else is a folder or a mistake"""
_PASSWORD = re.compile(r"[^:/]*://[^/@]*:[^/@]*@")


class TrackingSettings(Settings):
    """Output for MLflow and TensorBoard; needs the extra ``tracking``."""

    mlflow: str | None = None
    """a folder, for a new store there (``mlflow.db`` and ``artifacts``); or the URI of a store or
    server, as MLflow takes it; ``None``: off"""
    mlflow_experiment: str | None = None
    """MLflow's experiment; ``None``: the experiment's name"""
    tensorboard: LocalPath | None = None
    """folder for TensorBoard's event files, with a subfolder per run and model; ``None``: off"""

    @field_validator("mlflow")
    @classmethod
    def _no_secret(cls, value: str | None) -> str | None:
        if value is not None and _PASSWORD.match(value):
            raise ValueError(
                "it contains a password, which would go into the run's folder and report: give a "
                "server without one, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        if value is None or _STORES.match(value):
            return value
        try:
            return local_text(value)
        except UsageError as error:
            raise ValueError(error.message) from error

    @property
    def asked(self) -> bool:
        """Whether anything is written at all."""
        return self.mlflow is not None or self.tensorboard is not None

    @property
    def mlflow_folder(self) -> Path | None:
        """The folder that ``mlflow`` names; ``None``: it names a URI, or nothing."""
        if self.mlflow is None or _URI.match(self.mlflow):
            return None
        return Path(self.mlflow)

    def placed(self, mlflow: Path | None, tensorboard: Path | None) -> TrackingSettings:
        """The same with these folders; ``None``: as it is."""
        changes: dict[str, object] = {}
        if mlflow is not None:
            changes["mlflow"] = str(mlflow)
        if tensorboard is not None:
            changes["tensorboard"] = tensorboard
        return self.model_copy(update=changes)
