"""Whether images and cohort of a run were made with the settings that are now given.

A bundle carries the preparation of its films (``ingest.crop``, say) to all that it will see,
and a report says how patients were dealt out: both tell the experiment's settings, which must
then be those that the tables were made with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pulmospark.core import files
from pulmospark.core.errors import InputError
from pulmospark.core.settings import Experiment, IngestSettings, Settings
from pulmospark.data.split_summary import SplitResult, read_split

_NO_PIXELS = {"salt_path"}
"""settings of ingest that change no pixel; whose patients are whose, the cohort tells"""


def check_made_with(experiment: Experiment, tables: Path, cohort: Path) -> None:
    """Refuse tables and a cohort that were made with other settings than the experiment's.

    Records without settings are taken as they are; a setting that an older version did not
    know yet has its default, which is what that version did.

    Args:
        experiment: the settings.
        tables: folder that ingest wrote.
        cohort: folder that split wrote.

    Raises:
        InputError: they were, or an earlier step is missing.
    """
    _check_ingest(experiment.ingest, tables)
    _check_split(experiment, cohort, read_split(cohort))


def is_made_with(experiment: Experiment, tables: Path, cohort: Path) -> bool:
    """Whether both are there, made with these settings; see :func:`check_made_with`."""
    try:
        check_made_with(experiment, tables, cohort)
    except InputError:
        return False
    return True


def _check_ingest(settings: IngestSettings, tables: Path) -> None:
    record = tables / "ingest.json"
    if not record.is_file():
        raise InputError(f"{tables}: nothing there yet: run `pulmospark ingest` first")
    made = files.read_json(record).get("provenance", {}).get("settings")
    if made and (told := _difference(made, settings)):
        raise InputError(f"{tables}: made with ingest.{told}: run `pulmospark ingest` again")


def _check_split(experiment: Experiment, cohort: Path, result: SplitResult) -> None:
    made = files.read_json(cohort / "split.json").get("provenance", {})
    told = _difference(made["settings"], experiment.split) if made.get("settings") else None
    if told is not None:
        told = f"split.{told}"
    elif (seed := made.get("seed")) is not None and seed != experiment.seed:
        told = f"seed = {seed}, and the experiment has {experiment.seed}"
    elif _other_classes(experiment, result):
        told = f"other classes than the experiment's (its own are {', '.join(result.classes)})"
    if told is not None:
        raise InputError(f"{cohort}: made with {told}: run `pulmospark split` again")


def _difference(made: Mapping[str, Any], settings: Settings) -> str | None:
    """The first setting that was another one, in words; ``None``: all are the same."""
    default = type(settings)().model_dump(mode="json")
    for name, now in settings.model_dump(mode="json", exclude=_NO_PIXELS).items():
        if (before := made.get(name, default[name])) != now:
            return f"{name} = {before!r}, and the experiment has {now!r}"
    return None


def _other_classes(experiment: Experiment, result: SplitResult) -> bool:
    """Whether the classes, their findings or their order are others."""
    classes = list(experiment.classes.items())
    if result.findings is None:  # of an older version, which kept their names alone
        return bool(classes) and tuple(experiment.classes) != result.classes
    return classes != list(result.findings.items())
