"""Event files, read back with TensorBoard's own reader."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pulmospark.core.errors import PlatformError
from pulmospark.evaluation.results import OperatingPoint
from pulmospark.tracking.tensorboard_follow import Follower
from pulmospark.training.results import ModelRecord
from pulmospark.training.training_folder import EPOCHS


def _epoch(number: int, *, validated: bool = True) -> dict[str, Any]:
    return {
        "epoch": number,
        "loss": 1.0 / number,
        "accuracy": 1.0 - 0.5 / number,
        "validation_loss": 2.0 / number if validated else None,
        "validation_accuracy": 0.25 if validated else None,
        "seconds": 3.0,
        "images_per_s": 40.0,
        "learning_rate": 1e-3 / number,
    }


def _record(name: str, history: list[dict[str, Any]], objective: tuple[float, ...] = ()) -> Any:
    return ModelRecord(
        name=name,
        fold=None,
        images=1,
        validation_images=1,
        temperature=1.0,
        operating_point=OperatingPoint(
            positive_class="a", threshold=0.5, sensitivity_target=0.9, chosen_on=1, reached=True
        ),
        history=tuple(history),
        objective=objective,
        seconds=1.0,
    )


def _read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    reader = EventAccumulator(str(folder))
    reader.Reload()
    return {
        tag: [(event.step, event.value) for event in reader.Scalars(tag)]
        for tag in reader.Tags()["scalars"]
    }


def test_each_scalar_is_at_its_epoch(tmp_path: Path) -> None:
    with Follower(tmp_path / "work", tmp_path) as follower:
        follower.finish([_record("fold-0", [_epoch(1), _epoch(2)])])
        scalars = _read(tmp_path / "fold-0")  # before its file is closed
    assert set(scalars) == {
        "loss/train", "loss/validation", "accuracy/train", "accuracy/validation",
        "learning_rate", "images_per_s",
    }  # fmt: skip
    assert scalars["loss/validation"] == [(1, 2.0), (2, 1.0)]
    rates = [(step, round(value, 9)) for step, value in scalars["learning_rate"]]  # from float32
    assert rates == [(1, 1e-3), (2, 5e-4)]


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    with Follower(tmp_path / "work", tmp_path) as follower:
        follower.finish([_record("fold-0", [_epoch(1, validated=False)])])
    assert {"loss/validation", "accuracy/validation"}.isdisjoint(_read(tmp_path / "fold-0"))


def test_a_training_done_again_takes_the_place_of_the_last(tmp_path: Path) -> None:
    other = tmp_path / "final" / "events.out.tfevents.1.of-another-program"
    other.parent.mkdir()
    other.write_bytes(b"")
    for loss in (3.0, 4.0):
        with Follower(tmp_path / "work", tmp_path) as follower:
            follower.finish([_record("final", [], objective=(loss,))])
    assert _read(tmp_path / "final")["objective"] == [(1, 4.0)]
    assert other.exists()


def _tell(work: Path, name: str, epochs: list[dict[str, Any]]) -> None:
    (work / name).mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(epoch) + "\n" for epoch in epochs)
    (work / name / EPOCHS).write_text(lines)


def _wait_for(folder: Path, tag: str, count: int) -> list[tuple[int, float]]:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if folder.is_dir() and len(found := _read(folder).get(tag, [])) >= count:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{folder}: not {count} values of {tag}")


def test_epochs_are_written_while_a_training_goes_on(tmp_path: Path) -> None:
    work, boards = tmp_path / "work", tmp_path / "boards"
    _tell(work, "fold-1", [_epoch(1), _epoch(2), _epoch(3)])  # of an earlier training
    with Follower(work, boards) as follower:
        _tell(work, "fold-0", [_epoch(1)])
        assert _wait_for(boards / "fold-0", "loss/train", 1) == [(1, 1.0)]
        assert not (boards / "fold-1").exists()
        # The last epoch of fold 0 ends between two looks; fold 1 was done before.
        follower.finish(
            [
                _record("fold-0", [_epoch(1), _epoch(2)]),
                _record("fold-1", [_epoch(1)]),
                _record("final", [], objective=(0.75, 0.5)),
            ]
        )
    assert _read(boards / "fold-0")["loss/train"] == [(1, 1.0), (2, 0.5)]
    assert _read(boards / "fold-1")["loss/train"] == [(1, 1.0)]
    assert _read(boards / "final") == {"objective": [(1, 0.75), (2, 0.5)]}


def test_a_folder_that_cannot_be_written_ends_the_run_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "boards").write_text("")
    with (
        pytest.raises(PlatformError, match="is a file, but must be a folder"),
        Follower(tmp_path / "work", tmp_path / "boards") as follower,
    ):
        follower.finish([_record("final", [_epoch(1)])])
