"""When an arm of a comparison is done: what it says of itself, and not what was asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bundles import write_untrained
from data.expansions import member, write_cohort
from pulmospark.config.experiment import Experiment
from pulmospark.config.source import SourceSettings
from pulmospark.config.tracking import TrackingSettings
from pulmospark.config.train import TrainSettings
from pulmospark.core import files
from pulmospark.experiment.compare.arm_record import arm_id, is_done, note_done
from pulmospark.experiment.run_folder import RunFolder, save_settings

_EXPERIMENT = Experiment(
    sources=(SourceSettings(path=Path("images")),), train=TrainSettings(model="basic_cnn")
)


@pytest.fixture
def place(tmp_path: Path) -> RunFolder:
    """An arm whose stages have left their outcome, as far as its record looks at it."""
    write_cohort(tmp_path, [member(1), member(2, "normal")])
    files.write_json(tmp_path / "tables" / "ingest.json", {"key": "pixels"})
    place = RunFolder(tmp_path / "compare" / "arm", shared=tmp_path)
    write_untrained(place.bundle)
    files.write_json(place.training / "training.json", {"result": 1})
    files.write_json(place.evaluation / "evaluation.json", {"accuracy": 0.5})
    files.write_text(place.report, "")
    return place


def test_only_what_is_noted_is_done(place: RunFolder) -> None:
    made = arm_id(_EXPERIMENT, place)
    save_settings(_EXPERIMENT, place)  # as each stage does before it begins
    assert not is_done(place, made)
    note_done(place, made)
    assert is_done(place, made)


def test_where_it_is_written_to_does_not_change_an_arm(place: RunFolder) -> None:
    tracked = _EXPERIMENT.model_copy(update={"tracking": TrackingSettings(mlflow="store")})
    assert arm_id(tracked, place) == arm_id(_EXPERIMENT, place)


def test_settings_that_a_failed_training_saved_make_nothing_done(place: RunFolder) -> None:
    note_done(place, arm_id(_EXPERIMENT, place))
    other = _EXPERIMENT.model_copy(update={"seed": 7})
    save_settings(other, place)  # and then the training fails
    assert not is_done(place, arm_id(other, place))
    assert is_done(place, arm_id(_EXPERIMENT, place))  # whose outcome still stands there


def test_another_model_in_the_start_is_another_arm(place: RunFolder, tmp_path: Path) -> None:
    start = write_untrained(tmp_path / "start")
    started = _EXPERIMENT.model_copy(
        update={"train": TrainSettings(model="basic_cnn", method="network", start=start)}
    )
    before = arm_id(started, place)
    assert before == arm_id(started, place)
    shutil.rmtree(start)
    write_untrained(start, seed=2)  # trained anew, under the same path
    assert arm_id(started, place) != before


@pytest.mark.parametrize("what", ["tables", "cohort"])
def test_other_images_are_another_arm(place: RunFolder, tmp_path: Path, what: str) -> None:
    before = arm_id(_EXPERIMENT, place)
    if what == "tables":
        files.write_json(place.tables / "ingest.json", {"key": "other pixels"})
    else:
        shutil.rmtree(place.cohort)
        shutil.rmtree(place.tables)
        write_cohort(tmp_path, [member(1), member(3, "normal")])
        files.write_json(place.tables / "ingest.json", {"key": "pixels"})
    assert arm_id(_EXPERIMENT, place) != before


@pytest.mark.parametrize("what", ["training", "evaluation", "bundle", "report"])
def test_an_outcome_that_was_changed_since_is_not_the_one_noted(
    place: RunFolder, what: str
) -> None:
    made = arm_id(_EXPERIMENT, place)
    note_done(place, made)
    if what == "bundle":
        shutil.rmtree(place.bundle)
        write_untrained(place.bundle, seed=2)
    elif what == "report":
        place.report.unlink()
    else:
        files.write_json(place.root / what / f"{what}.json", {"of": "another run"})
    assert not is_done(place, made)
