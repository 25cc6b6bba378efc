"""What is told of a run, and what tracking refuses."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from pulmospark.config.experiment import read_experiment
from pulmospark.config.tracking import TrackingSettings
from pulmospark.core.errors import PlatformError, UsageError
from pulmospark.tracking.extra import check_tracking
from pulmospark.tracking.record import RunRecord, course_of, flat, plain_name


def test_settings_are_flat_and_text() -> None:
    values = {
        "seed": 1,
        "train": {"model": "m", "augment": None, "network": {"lr": 1e-3}},
        "a": [],
    }
    assert flat(values) == {
        "seed": "1",
        "train.model": "m",
        "train.augment": "null",
        "train.network.lr": "0.001",
        "a": "[]",
    }


@given(st.text(max_size=40))
def test_a_name_has_only_what_mlflow_takes(text: str) -> None:
    _validate_metric_name(f"{plain_name(text)}/sensitivity")
    assert plain_name(plain_name(text)) == plain_name(text)


def test_epochs_without_a_value_are_left_out() -> None:
    history = ({"epoch": 1, "loss": 0.5, "validation_loss": None}, {"epoch": 2, "loss": 0.25})
    assert course_of(history, "loss") == ((1, 0.5), (2, 0.25))
    assert course_of(history, "validation_loss") == ()


def test_a_run_done_again_is_the_same_run() -> None:
    one = RunRecord("r", figures={"accuracy": 0.9}, seconds={"seconds/train": 5.0})
    assert one.record_id == RunRecord("r", {}, {}, {"accuracy": 0.9}, {}).record_id
    assert one.record_id != RunRecord("r", figures={"accuracy": 0.8}).record_id


def test_folders_start_from_the_file_and_uris_stay(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    head = 'sources = [{ path = "images" }]\n[tracking]\n'
    file.write_text(f'{head}mlflow = "kept/mlflow"\ntensorboard = "kept/boards"\n')
    tracking = read_experiment(file).tracking
    assert tracking.mlflow_folder == tmp_path / "kept" / "mlflow"
    assert tracking.tensorboard == tmp_path / "kept" / "boards"
    for uri in ("sqlite:////tmp/runs.db", "https://mlflow.example.org", "databricks://mine"):
        file.write_text(f'{head}mlflow = "{uri}"\n')
        tracking = read_experiment(file).tracking
        assert tracking.mlflow == uri
        assert tracking.mlflow_folder is None


def test_nothing_is_tracked_by_default() -> None:
    assert TrackingSettings() == TrackingSettings(mlflow=None, tensorboard=None)
    check_tracking(TrackingSettings())


def test_a_password_is_refused() -> None:
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_PASSWORD"):
        TrackingSettings(mlflow="https://me:secret@mlflow.example.org/")


@pytest.mark.parametrize(
    ("settings", "library"),
    [
        (TrackingSettings(mlflow="runs"), "mlflow"),
        (TrackingSettings(mlflow="runs"), "sqlalchemy"),
        (TrackingSettings(tensorboard=Path("boards")), "tensorboard"),
    ],
)
def test_a_missing_extra_is_one_line_with_its_remedy(
    settings: TrackingSettings, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == library else find(name)
    )
    with pytest.raises(PlatformError, match=f"{library} is not installed") as caught:
        check_tracking(settings)
    assert caught.value.message.endswith("'.[tracking]' in pulmospark's checkout")
    assert "\n" not in caught.value.message


def test_the_command_line_tells_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pulmospark.experiment.run_folder import open_experiment

    file = tmp_path / "my.toml"
    file.write_text('sources = [{ path = "images" }]\n[tracking]\nmlflow = "m"\n')
    open_experiment(file, {})
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(PlatformError, match="pip install"):
        open_experiment(file, {})
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(UsageError, match="no such setting"):
        open_experiment(file, {"tracking.wandb": "x"})
