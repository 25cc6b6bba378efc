"""Record of a finished arm of a comparison: its inputs and its outputs."""

from __future__ import annotations

from typing import Any

from pulmospark.config.experiment import Experiment
from pulmospark.core import files, hashing
from pulmospark.core.errors import InputError
from pulmospark.data.cohort.split_summary import read_split
from pulmospark.data.expand.table import RECORD
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.models.bundle.bundle import read_bundle
from pulmospark.training.augmented_images import expanded_of

_DONE = "done.json"


def arm_id(experiment: Experiment, place: RunFolder) -> str:
    """Content id of everything that determines an arm's result.

    These are the settings (without tracking, which does not change it), the cohort, the tables,
    and the model that ``train.start`` holds now.

    Args:
        experiment: settings of the arm.
        place: its folder, whose tables and cohort are the run's.

    Raises:
        InputError: ingest or split is missing.
        BundleError: the bundle of ``train.start`` is missing or damaged.
    """
    train = experiment.train
    expanded = expanded_of(train, place.tables)
    record = None if expanded is None else expanded / RECORD
    return hashing.value_id(
        {
            "settings": experiment.model_dump(mode="json", exclude={"tracking"}),
            "cohort": read_split(place.cohort).cohort_id,
            "tables": files.read_json(place.tables / "ingest.json").get("key"),
            "expanded": files.read_json(record).get("key")
            if record and record.is_file()
            else None,
            "start": None if train.start is None else read_bundle(train.start).model_id,
        }
    )


def note_done(place: RunFolder, made_from: str) -> None:
    """Record that training, evaluation and report of an arm are complete, and their inputs.

    Args:
        place: folder of the arm.
        made_from: its :func:`arm_id`, as it was before the training.
    """
    files.write_json(place.root / _DONE, {"made_from": made_from, "outcome": _outcome(place)})


def is_done(place: RunFolder, made_from: str) -> bool:
    """Whether training, evaluation and report of an arm are complete, with these inputs.

    Saved settings do not show it: a stage saves them before it starts, and may then fail and
    leave an earlier result.

    Args:
        place: folder of the arm.
        made_from: its :func:`arm_id` now.
    """
    try:
        record = files.read_json(place.root / _DONE)
        same = bool(record == {"made_from": made_from, "outcome": _outcome(place)})
    except InputError:
        return False
    return same and place.report.is_file()


def _outcome(place: RunFolder) -> dict[str, Any]:
    """Content ids of the stages' results."""
    return {
        "model_id": read_bundle(place.bundle).model_id,
        "training": hashing.value_id(files.read_json(place.training / "training.json")),
        "evaluation": hashing.value_id(files.read_json(place.evaluation / "evaluation.json")),
    }
