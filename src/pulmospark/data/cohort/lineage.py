"""Check that images and cohort of a run were made with the current settings.

A bundle applies the preprocessing of its training images (such as ``ingest.crop``) to all others,
and a report describes the split: both state the experiment's settings, which must be those of
the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pulmospark.config.base import Settings
from pulmospark.config.experiment import Experiment
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import files
from pulmospark.core.errors import InputError
from pulmospark.data.cohort.split_summary import SplitResult, read_split

_NO_PIXELS = {"salt_path"}
"""settings of ingest that change no pixel; the cohort records who is whose patient"""


def check_made_with(experiment: Experiment, tables: Path, cohort: Path) -> None:
    """Refuse tables and a cohort that were made with other settings than the experiment's.

    Records without settings are accepted; a setting that an older version lacks has its default,
    which is what that version did.

    Args:
        experiment: the settings.
        tables: folder that ingest wrote.
        cohort: folder that split wrote.

    Raises:
        InputError: they were, or an earlier stage is missing.
    """
    _check_ingest(experiment.ingest, tables)
    _check_split(experiment, cohort, read_split(cohort))


def is_made_with(experiment: Experiment, tables: Path, cohort: Path) -> bool:
    """Whether both exist, made with these settings; see :func:`check_made_with`."""
    try:
        check_made_with(experiment, tables, cohort)
    except InputError:
        return False
    return True


def _check_ingest(settings: IngestSettings, tables: Path) -> None:
    record = tables / "ingest.json"
    if not record.is_file():
        raise InputError(f"{tables}: not ingested yet: run `pulmospark ingest` first")
    saved = files.read_json(record).get("provenance", {}).get("settings")
    if saved and (difference := _difference(saved, settings)):
        raise InputError(f"{tables}: made with ingest.{difference}: run `pulmospark ingest` again")


def _check_split(experiment: Experiment, cohort: Path, result: SplitResult) -> None:
    saved = files.read_json(cohort / "split.json").get("provenance", {})
    difference = (
        _difference(saved["settings"], experiment.split) if saved.get("settings") else None
    )
    if difference is not None:
        difference = f"split.{difference}"
    elif (seed := saved.get("seed")) is not None and seed != experiment.seed:
        difference = f"seed = {seed}, but the experiment has {experiment.seed}"
    elif _other_classes(experiment, result):
        difference = f"other classes than the experiment ({', '.join(result.classes)})"
    if difference is not None:
        raise InputError(f"{cohort}: made with {difference}: run `pulmospark split` again")


def _difference(saved: Mapping[str, Any], settings: Settings) -> str | None:
    """The first setting that differs, in words; ``None``: all are the same."""
    default = type(settings)().model_dump(mode="json")
    for name, now in settings.model_dump(mode="json", exclude=_NO_PIXELS).items():
        if (before := saved.get(name, default[name])) != now:
            return f"{name} = {before!r}, but the experiment has {now!r}"
    return None


def _other_classes(experiment: Experiment, result: SplitResult) -> bool:
    """Whether the classes, their findings or their order differ."""
    classes = list(experiment.classes.items())
    if result.findings is None:  # an older version, which only kept the names
        return bool(classes) and tuple(experiment.classes) != result.classes
    return classes != list(result.findings.items())
