"""A whole run in MLflow's store, read back with MLflow's own client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import pulmospark
from pulmospark.config.experiment import Experiment
from pulmospark.config.tracking import TrackingSettings
from pulmospark.core.errors import PlatformError
from pulmospark.experiment.pipeline import run_report
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.experiment.tracking import followed, track
from pulmospark.tracking.mlflow_store import MlflowStore
from pulmospark.training.train import read_training

if TYPE_CHECKING:
    from conftest import FinishedRun


@pytest.fixture(scope="module")
def tracked(
    finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Experiment, RunFolder, MlflowClient]:
    """A copy of the run, written into a store in a folder."""
    folder = tmp_path_factory.mktemp("tracked")
    run = RunFolder(folder / "run")
    shutil.copytree(finished_run.folder.root, run.root)
    experiment = finished_run.experiment.model_copy(
        update={"tracking": TrackingSettings(mlflow=str(folder / "mlflow"))}
    )
    run_report(experiment, run)
    return experiment, run, MlflowClient(f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}")


def _runs(client: MlflowClient, name: str) -> list[Any]:
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


@pytest.mark.spark
def test_settings_figures_and_curves_are_there(
    tracked: tuple[Experiment, RunFolder, MlflowClient], finished_run: FinishedRun, tmp_path: Path
) -> None:
    experiment, _, client = tracked
    (run,) = _runs(client, experiment.name)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == experiment.name
    evaluation = finished_run.result.evaluate.evaluation
    assert run.data.metrics["accuracy"] == evaluation.accuracy.value
    assert run.data.metrics["accuracy_low"] == evaluation.accuracy.low
    first = evaluation.by_class[0]
    assert run.data.metrics[f"{first.name}/sensitivity"] == first.sensitivity.value
    assert run.data.metrics["seconds/train"] > 0
    assert run.data.params["train.model"] == "squeezenet1_1"
    assert run.data.params["split.folds"] == "2"
    assert run.data.params["seed"] == str(experiment.seed)
    assert not [name for name in run.data.params if name.startswith("tracking")]
    assert run.data.tags["pulmospark.model_id"] == finished_run.result.evaluate.model_id
    assert run.data.tags["mlflow.note.content"] == pulmospark.NOT_A_MEDICAL_DEVICE
    assert run.data.tags["pulmospark.images"] == "drawn phantoms"
    model = finished_run.result.train.models[0]
    course = client.get_metric_history(run.info.run_id, f"{model.name}/objective")
    assert [(point.step, point.value) for point in course] == list(
        enumerate(model.objective, start=1)
    )
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names == {"settings.json", "training.json", "evaluation.json", "curves"}
    curve = client.download_artifacts(run.info.run_id, "curves/roc.svg", str(tmp_path))
    assert ET.parse(curve).getroot().tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.spark
def test_the_same_run_is_written_once_until_it_is_deleted(
    tracked: tuple[Experiment, RunFolder, MlflowClient],
) -> None:
    experiment, run, client = tracked
    (first,) = _runs(client, experiment.name)
    assert track(experiment, run) == first.info.run_id
    assert len(_runs(client, experiment.name)) == 1
    client.delete_run(first.info.run_id)
    again = track(experiment, run)
    assert again not in {None, first.info.run_id}
    assert [found.info.run_id for found in _runs(client, experiment.name)] == [again]


@pytest.mark.spark
def test_the_course_of_a_training_is_there_for_tensorboard(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    tracking = TrackingSettings(tensorboard=tmp_path)
    experiment = finished_run.experiment.model_copy(update={"tracking": tracking})
    trained = read_training(finished_run.folder.training)
    with followed(experiment, finished_run.folder) as finish:
        finish(trained)
    for model in trained.models:
        reader = EventAccumulator(str(tmp_path / experiment.name / model.name))
        reader.Reload()
        values = [event.value for event in reader.Scalars("objective")]
        assert values == pytest.approx(model.objective, rel=1e-6)


_PROBE = """
import os, sys
from pathlib import Path
from pulmospark.config.tracking import TrackingSettings
from pulmospark.tracking.mlflow_store import MlflowStore
before = dict(os.environ)
MlflowStore(TrackingSettings(mlflow=sys.argv[1]), "x")
os.environ.pop("_RJEM_MALLOC_CONF", None)  # of Polars, which MLflow imports where it is
assert dict(os.environ) == before
from mlflow.telemetry import get_telemetry_client
print(get_telemetry_client())
"""


@pytest.mark.spark
def test_telemetry_is_off_and_the_environment_as_it_was(
    tracked: tuple[Experiment, RunFolder, MlflowClient],
) -> None:
    experiment, _, _ = tracked
    # Nothing that would switch it off by itself: MLflow looks for tests and for CI.
    kept = {
        name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ
    }
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, str(experiment.tracking.mlflow)],
        env=kept | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "None"), done.stderr[-2000:]


def test_a_store_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for uri, message in (
        (str(tmp_path / "file"), "is a file, but must be a folder"),
        (f"sqlite:///{tmp_path}/file/x.db", "x.db', but MLflow failed"),
        (
            "http://127.0.0.1:9",
            "127.0.0.1:9', but MLflow failed: MlflowException: API request",
        ),
    ):
        with pytest.raises(PlatformError, match=message) as told:
            MlflowStore(TrackingSettings(mlflow=uri), "x")
        assert "\n" not in told.value.message
