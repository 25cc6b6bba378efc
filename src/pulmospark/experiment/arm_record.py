"""What an arm of a comparison says of itself once it is done: what made it, what came out."""

from __future__ import annotations

from typing import Any

from pulmospark.core import content, files
from pulmospark.core.errors import InputError
from pulmospark.core.settings import Experiment
from pulmospark.data.expanded import RECORD
from pulmospark.data.split_summary import read_split
from pulmospark.experiment.folder import RunFolder
from pulmospark.models.bundle import read_bundle
from pulmospark.training.augmenting import expanded_of

_DONE = "done.json"


def arm_id(experiment: Experiment, place: RunFolder) -> str:
    """Content id of all that an arm's outcome follows from.

    These are the settings (but for where the run is written to, which does not change it), the
    cohort, the tables, and the model that ``train.start`` holds now.

    Args:
        experiment: settings of the arm.
        place: its folder, whose tables and cohort are the run's.

    Raises:
        InputError: ingest or split is missing.
        BundleError: the bundle of ``train.start`` is missing or damaged.
    """
    train = experiment.train
    expanded = expanded_of(train, place.tables)
    told = None if expanded is None else expanded / RECORD
    return content.value_id(
        {
            "settings": experiment.model_dump(mode="json", exclude={"tracking"}),
            "cohort": read_split(place.cohort).cohort_id,
            "tables": files.read_json(place.tables / "ingest.json").get("key"),
            "expanded": files.read_json(told).get("key") if told and told.is_file() else None,
            "start": None if train.start is None else read_bundle(train.start).model_id,
        }
    )


def note_done(place: RunFolder, made_from: str) -> None:
    """Say of an arm that training, evaluation and report are there, and what made them.

    Args:
        place: folder of the arm.
        made_from: its :func:`arm_id`, as it was before the training.
    """
    files.write_json(place.root / _DONE, {"made_from": made_from, "outcome": _outcome(place)})


def is_done(place: RunFolder, made_from: str) -> bool:
    """Whether an arm's training, evaluation and report are there, and made by this.

    Settings that a stage saved before it began say nothing of its outcome: it may have failed,
    and have left what an earlier one made.

    Args:
        place: folder of the arm.
        made_from: its :func:`arm_id` now.
    """
    try:
        told = files.read_json(place.root / _DONE)
        same = bool(told == {"made_from": made_from, "outcome": _outcome(place)})
    except InputError:
        return False
    return same and place.report.is_file()


def _outcome(place: RunFolder) -> dict[str, Any]:
    """Content ids of what the stages left."""
    return {
        "model_id": read_bundle(place.bundle).model_id,
        "training": content.value_id(files.read_json(place.training / "training.json")),
        "evaluation": content.value_id(files.read_json(place.evaluation / "evaluation.json")),
    }
