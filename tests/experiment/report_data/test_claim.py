"""The checklist of a run, filled in."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pulmospark.config.train import TrainSettings
from pulmospark.core import files
from pulmospark.experiment.report_data.claim import claim_of
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.training.recipe import network_settings

if TYPE_CHECKING:
    from conftest import FinishedRun

pytestmark = pytest.mark.spark


def _answers(
    finished_run: FinishedRun,
    root: Path,
    train: TrainSettings,
    *,
    validated: bool = True,
    by: str = "validation",
) -> dict[int, str | None]:
    """Answers of the finished run, as though it had been trained this way."""
    run = RunFolder(root / "run", shared=finished_run.folder.root)
    for folder in ("training", "evaluation"):
        shutil.copytree(finished_run.folder.root / folder, run.root / folder)
    told: dict[str, Any] = files.read_json(run.training / "training.json")
    told["result"] |= {"method": train.method, "model": train.model}
    for model in told["result"]["models"]:
        model["validation_images"] *= validated
        model["calibrated_by"] = by
    files.write_json(run.training / "training.json", told)
    experiment = finished_run.experiment.model_copy(update={"train": train})
    return {item.number: item.answer for item in claim_of(experiment, run)}


def test_a_network_trained_by_its_own_rates_tells_them(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    train = TrainSettings(method="network")  # which leaves rate and batch to the network
    own = network_settings(train)
    told = _answers(finished_run, tmp_path, train)
    assert told[25] == (
        f"adamw, at most 10 epochs, batch size {own.batch_size}, learning rate "
        f"{own.learning_rate:g}, 1 processes."
    )
    assert (told[26] or "").startswith(
        "The epoch with the lowest loss on the validation split. Temperature and operating point "
        "from the validation split alone. The latter is based on "
    )


def test_where_no_image_validates_the_checklist_does_not_say_that_one_did(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    train = TrainSettings(method="network")
    said = _answers(finished_run, tmp_path / "a", train, validated=False)[26] or ""
    assert "or on the training split where there is none" in said
    assert "without one they are 1 and 0.5" in said
    frozen = TrainSettings(method="features")
    said = _answers(finished_run, tmp_path / "b", frozen, validated=False)[26] or ""
    assert "Refitted" not in said
    assert "Refitted" in (_answers(finished_run, tmp_path / "c", frozen)[26] or "")
    said = _answers(finished_run, tmp_path / "d", frozen, by="out-of-fold")[26] or ""
    assert "from out-of-fold scores of the training images" in said


def test_phantoms_are_called_phantoms(finished_run: FinishedRun) -> None:
    experiment, run = finished_run.experiment, finished_run.folder
    assert experiment.phantoms
    told = {item.number: item.answer or "" for item in claim_of(experiment, run)}
    assert "synthetic phantoms" in told[7]
    written = run.claim.read_text(encoding="utf-8")
    assert "synthetic phantoms" in written
    report = run.report.read_text(encoding="utf-8")
    for text in (written, report.partition('id="claim"')[2]):
        assert not re.search(r"[0-9] images|images of", text)
        assert "image-blind baselines" in text
