"""Runs in an MLflow store: a folder, a database or a server."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

from pulmospark.config.tracking import TrackingSettings
from pulmospark.core import files, limits
from pulmospark.core.errors import PlatformError
from pulmospark.tracking.record import RunRecord

_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_RETRIES_DEFAULT = "2"
"""by default MLflow retries an unreachable server for minutes"""
_METRICS, _PARAMS = 1000, 100
"""limits of MLflow per call"""


class MlflowStore:
    """A store for runs; imports MLflow with its telemetry disabled.

    Args:
        settings: ``mlflow`` and ``mlflow_experiment``.
        experiment: name of the experiment if not in the settings.

    Raises:
        PlatformError: the store cannot be opened, or the server does not respond.
    """

    def __init__(self, settings: TrackingSettings, experiment: str) -> None:
        self._address = settings.mlflow or ""
        self.name = uri_of(settings)
        self.experiment = settings.mlflow_experiment or experiment
        folder = settings.mlflow_folder
        if folder is not None:
            with files.disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
        artifacts = None if folder is None else (folder.resolve() / "artifacts").as_uri()
        with self._failing(), _quietly():
            from mlflow.tracking import MlflowClient  # noqa: PLC0415 - seconds, and an extra
        with self._failing(), _quietly():  # again: the import resets the log level
            self._client: Any = MlflowClient(tracking_uri=self.name)
            self._experiment_id = self._found(self.experiment, artifacts)

    def has(self, run_id: str) -> bool:
        """Whether a run is in the store and not deleted."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415
        from mlflow.protos.databricks_pb2 import (  # noqa: PLC0415
            RESOURCE_DOES_NOT_EXIST,
            ErrorCode,
        )

        with self._failing(), _quietly():
            try:
                run = self._client.get_run(run_id)
            except MlflowException as error:
                if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                    return False
                raise
            return bool(run.info.lifecycle_stage == "active")

    def write(self, record: RunRecord) -> str:
        """Write a run.

        Returns:
            Its id in the store.

        Raises:
            PlatformError: the store rejects it.
        """
        with self._failing(), _quietly():
            tags = dict(record.tags)
            run = self._client.create_run(self._experiment_id, run_name=record.name, tags=tags)
            run_id: str = run.info.run_id
            try:
                self._fill(run_id, record)
            except BaseException:
                self._client.set_terminated(run_id, status="FAILED")
                raise
            self._client.set_terminated(run_id, status="FINISHED")
        return run_id

    def _fill(self, run_id: str, record: RunRecord) -> None:
        from mlflow.entities import Metric, Param  # noqa: PLC0415

        now = int(time.time() * 1000)
        figures = {**record.figures, **record.seconds}
        metrics = [Metric(name, value, now, 0) for name, value in figures.items()]
        for name, course in record.series.items():
            metrics += [Metric(name, value, now, step) for step, value in course]
        for at in range(0, len(metrics), _METRICS):
            self._client.log_batch(run_id, metrics=metrics[at : at + _METRICS])
        most = limits.MLFLOW_SETTING_CHARACTERS_MAX
        params = [
            Param(
                name,
                value if len(value) <= most else value[: most - 1] + "\N{HORIZONTAL ELLIPSIS}",
            )
            for name, value in record.settings.items()
        ]
        for at in range(0, len(params), _PARAMS):
            self._client.log_batch(run_id, params=params[at : at + _PARAMS])
        for name, text in record.documents.items():
            self._client.log_text(run_id, text, name)

    def _found(self, name: str, artifacts: str | None) -> str:
        known = self._client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        return str(self._client.create_experiment(name, artifact_location=artifacts))

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except PlatformError:
            raise
        except Exception as error:
            # Errors of MLflow, SQLAlchemy and requests have no common base class.
            lines = str(error).splitlines()
            raise PlatformError(
                f"tracking.mlflow is {self._address!r}, but MLflow failed: "
                f"{type(error).__name__}: {lines[0][:200] if lines else 'no message'}; specify a "
                "folder or a reachable store",
                detail=str(error),
            ) from error


def uri_of(settings: TrackingSettings) -> str:
    """The tracking URI: a folder's database, or the given URI."""
    if (folder := settings.mlflow_folder) is not None:
        return f"sqlite:///{folder.resolve() / 'mlflow.db'}"
    return settings.mlflow or ""


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Run MLflow without telemetry, which is configured at import, and without log output."""
    variables = {**_QUIET, _RETRIES: os.environ.get(_RETRIES, _RETRIES_DEFAULT)}
    before = {name: os.environ.get(name) for name in variables}
    logger = logging.getLogger("mlflow")
    level = logger.level
    os.environ.update(variables)
    try:
        logger.setLevel(logging.ERROR)
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
