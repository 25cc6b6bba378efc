"""Input and settings of an expansion: a run, or a folder of tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pulmospark.config.augment import AugmentSettings
from pulmospark.config.expand import ExpandSettings
from pulmospark.config.experiment import Experiment
from pulmospark.config.parse import parse
from pulmospark.core import files
from pulmospark.core.errors import InputError, UsageError

_SETTINGS = "experiment.json"


@dataclass(frozen=True)
class Place:
    """What an expansion reads and writes.

    Attributes:
        images: the images table.
        cohort: folder of the cohort.
        target: folder of the result.
        experiment: settings of the run that the tables belong to, where there is one.
    """

    images: Path
    cohort: Path
    target: Path
    experiment: Experiment | None


def find_place(what: Path, *, cohort: Path | None = None, out: Path | None = None) -> Place:
    """Find images and cohort in a run's folder, or in a folder with an images table.

    Args:
        what: the folder of a run, or its ``tables``.
        cohort: folder of the cohort; ``None``: that of the run.
        out: folder of the result; ``None``: ``expanded`` in the folder of the run.

    Raises:
        UsageError: the folder holds no images table.
        InputError: there is no cohort.
    """
    what = what.resolve()
    tables = what if (what / "images").is_dir() else what / "tables"
    if not (tables / "images").is_dir():
        raise UsageError(
            f"{what}: neither a run's folder nor one with an images table: run `pulmospark "
            "ingest` first, or give another"
        )
    run = tables.parent
    found_cohort = (cohort or run / "cohort").resolve()
    if not (found_cohort / "split.json").is_file():
        raise InputError(f"{found_cohort}: contains no cohort: run `pulmospark split` first")
    saved = run / _SETTINGS
    experiment = None
    if saved.is_file():
        experiment = parse(Experiment, files.read_json(saved), where=str(saved))
    return Place(tables / "images", found_cohort, (out or run / "expanded").resolve(), experiment)


def expansion(
    experiment: Experiment | None, per_class: int | None, seed: int | None
) -> tuple[ExpandSettings, int]:
    """Settings and seed of an expansion: as given, else the experiment's, else the defaults.

    Args:
        experiment: the file given, or the run's own; ``None``: there is none.
        per_class: rows per class; ``None``: the experiment's.
        seed: ``None``: the experiment's.

    Raises:
        UsageError: the number of rows per class is not given.
    """
    own = experiment.expand if experiment else None
    if per_class is None:
        if own is None:
            raise UsageError(
                "the number of rows per class is not set: give --per-class, or [expand] per_class "
                "in the experiment"
            )
        per_class = own.per_class
    augment = own.augment if own else AugmentSettings()
    if own is None and experiment is not None and experiment.train.augment is not None:
        augment = experiment.train.augment
    values = {"per_class": per_class, "augment": augment.model_dump(mode="json")}
    settings = parse(ExpandSettings, values, where="--per-class")
    default: int = Experiment.model_fields["seed"].default
    if seed is None:
        seed = experiment.seed if experiment else default
    return settings, seed


def with_augmentation(experiment: Experiment, wanted: bool | None) -> Experiment:
    """An experiment with on-the-fly augmentation, or with none of any kind.

    Args:
        experiment: the experiment.
        wanted: ``True``: as configured, else the defaults; ``False``: neither on the fly nor
            from an expanded table; ``None``: unchanged.
    """
    if wanted is None:
        return experiment
    if wanted:
        changes = {"augment": experiment.train.augment or AugmentSettings()}
        return experiment.model_copy(update={"train": experiment.train.model_copy(update=changes)})
    bare = experiment.train.model_copy(update={"augment": None, "expanded": False})
    return experiment.model_copy(update={"train": bare, "expand": None})
