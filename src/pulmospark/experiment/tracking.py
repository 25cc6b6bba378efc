"""Report a run to MLflow and TensorBoard from its folder."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulmospark
from pulmospark.config.experiment import Experiment
from pulmospark.core import files
from pulmospark.core.errors import InputError
from pulmospark.evaluation.results import Evaluation
from pulmospark.experiment.evaluate import read_evaluation
from pulmospark.experiment.run_folder import RunFolder, read_seconds
from pulmospark.report.curves import precision_recall, roc
from pulmospark.report.figures import confusion, reliability
from pulmospark.tracking.extra import check_tracking
from pulmospark.tracking.mlflow_store import MlflowStore
from pulmospark.tracking.record import RunRecord, figures_of, flat, series_of
from pulmospark.tracking.tensorboard_follow import Follower
from pulmospark.training.results import TrainResult
from pulmospark.training.train import read_training

_NOTE = "tracked.json"


def track(experiment: Experiment, run: RunFolder) -> str | None:
    """Write an evaluated run into MLflow, if the settings ask for it.

    A run that is already in the store with the same settings and metrics is not written again.

    Args:
        experiment: the settings.
        run: folder of the run; train and evaluate must have finished there.

    Returns:
        Its id in the store; ``None``: the settings ask for no MLflow.

    Raises:
        PlatformError: MLflow is missing, or the store refuses.
        InputError: an earlier stage is missing.
    """
    settings = experiment.tracking
    if settings.mlflow is None:
        return None
    check_tracking(settings)
    record = run_record(experiment, run)
    store = MlflowStore(settings, experiment.name)
    identity = {"store": store.name, "experiment": store.experiment, "record_id": record.record_id}
    note = run.root / _NOTE
    before = _noted(note)
    if identity.items() <= before.items() and store.has(before["run_id"]):
        return str(before["run_id"])
    run_id = store.write(record)
    files.write_json(note, {**identity, "run_id": run_id})
    return run_id


def check_store(experiment: Experiment) -> None:
    """Open the configured store before hours of training.

    Raises:
        PlatformError: a library is missing, or the store does not answer.
    """
    check_tracking(experiment.tracking)
    if experiment.tracking.mlflow is not None:
        MlflowStore(experiment.tracking, experiment.name)


@contextlib.contextmanager
def followed(experiment: Experiment, run: RunFolder) -> Iterator[Callable[[TrainResult], None]]:
    """Write the progress of a training for TensorBoard while it runs.

    Args:
        experiment: the settings; without ``tracking.tensorboard`` nothing is done.
        run: folder of the run.

    Yields:
        To be called with the result, so that its last entries are written.

    Raises:
        PlatformError: TensorBoard is missing, or its folder cannot be written.
    """
    folder = experiment.tracking.tensorboard
    if folder is None:
        yield lambda _: None
        return
    check_tracking(experiment.tracking)
    work = run.training.with_name(f".{run.training.name}.work")
    with Follower(work, folder / run_label(experiment, run)) as follower:
        yield lambda result: follower.finish(result.models)


def run_label(experiment: Experiment, run: RunFolder) -> str:
    """Name of a run: its experiment's; for an arm of a comparison, followed by ``/ARM``."""
    return experiment.name if run.shared is None else f"{experiment.name}/{run.root.name}"


def run_record(experiment: Experiment, run: RunFolder) -> RunRecord:
    """What is reported of a run: settings, metrics and curves. No image, and no patient.

    Raises:
        InputError: an earlier stage is missing.
    """
    trained, evaluated = read_training(run.training), read_evaluation(run.evaluation)
    settings = experiment.model_dump(mode="json", exclude={"tracking"})
    evaluation = evaluated.evaluation
    return RunRecord(
        name=run_label(experiment, run),
        settings=flat(settings),
        tags={
            "pulmospark.version": pulmospark.__version__,
            "pulmospark.model_id": evaluated.model_id,
            "pulmospark.cohort_id": trained.cohort_id,
            "pulmospark.folder": str(run.place),
            "pulmospark.images": "drawn phantoms" if experiment.phantoms else "images",
            "mlflow.note.content": pulmospark.NOT_A_MEDICAL_DEVICE,
        },
        figures={**figures_of(evaluation), "parameters": float(trained.parameters)},
        seconds=_seconds(run, trained),
        series=series_of(trained),
        documents={
            "settings.json": _json(settings),
            "training.json": _json(trained.model_dump(mode="json")),
            "evaluation.json": _json(evaluated.model_dump(mode="json")),
            **_curves(evaluation),
        },
    )


def _seconds(run: RunFolder, trained: TrainResult) -> dict[str, float]:
    seconds = {f"seconds/{stage}": value for stage, value in read_seconds(run).items()}
    return seconds | {f"seconds/{model.name}": model.seconds for model in trained.models}


def _curves(evaluation: Evaluation) -> dict[str, str]:
    drawings = (
        roc(evaluation),
        precision_recall(evaluation),
        reliability(evaluation),
        confusion(evaluation),
    )
    return {
        f"curves/{drawing.name}.svg": drawing.svg for drawing in drawings if drawing is not None
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _noted(path: Path) -> dict[str, Any]:
    try:
        note: dict[str, Any] = files.read_json(path)
    except InputError:
        return {}
    return note
