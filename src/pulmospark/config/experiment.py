"""An experiment: all its sections, as its TOML file has them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from pulmospark.config.audit import PHANTOM_COPIES, AuditSettings
from pulmospark.config.base import Seed, Settings
from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.config.expand import ExpandSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.parse import parse
from pulmospark.config.source import SourceSettings
from pulmospark.config.split import SplitSettings
from pulmospark.config.tracking import TrackingSettings
from pulmospark.config.train import TrainSettings
from pulmospark.core import limits
from pulmospark.core.errors import UsageError
from pulmospark.core.safe_text import is_name, one_line
from pulmospark.core.store_uri import PlacePath, StoreUri, below
from pulmospark.core.suggestions import did_you_mean


class Experiment(Settings):
    """A whole experiment: the TOML file that ``pulmospark run`` takes.

    Example:
        >>> source = ps.SourceSettings(path="data/chest_xray")
        >>> experiment = ps.Experiment(
        ...     name="mine",
        ...     sources=[source],
        ...     classes={"pneumonia": ["PNEUMONIA*"], "normal": ["NORMAL"]},
        ... )
        >>> list(experiment.classes)
        ['pneumonia', 'normal']
    """

    name: str = "experiment"
    """name of the experiment and of its folder"""
    seed: Seed = 20201
    """of the split, the training and the bootstrap"""
    out: PlacePath = Path("runs")
    """folder under which the experiment's own folder is created; may be an address in a store"""
    phantoms: bool = False
    """the images are synthetic: the report says so at the top"""
    sources: Annotated[tuple[SourceSettings, ...], Field(min_length=1)]
    """the data sets, one or more"""
    classes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """class -> findings, ignoring case, ``*`` and ``?`` allowed, ``source:finding`` for one
    source only; empty: every finding is a class"""
    ingest: IngestSettings = IngestSettings()
    """from files to the images table"""
    split: SplitSettings = SplitSettings()
    """how patients are split into training, validation and test"""
    expand: ExpandSettings | None = None
    """a table with augmented images; ``None``: no table"""
    train: TrainSettings = TrainSettings()
    """the network, and how it is trained"""
    evaluate: EvaluateSettings = EvaluateSettings()
    """metrics and their CIs"""
    audit: AuditSettings = AuditSettings()
    """whether data, split and model can be trusted"""
    tracking: TrackingSettings = TrackingSettings()
    """where the run is written for MLflow and TensorBoard; nowhere by default"""

    @model_validator(mode="before")
    @classmethod
    def _phantom_copies(cls, values: Any) -> Any:
        """Different phantoms are more alike than patients' images: see ``PHANTOM_COPIES``."""
        if not (isinstance(values, dict) and values.get("phantoms")):
            return values
        audit = values.get("audit", {})
        if isinstance(audit, AuditSettings):
            audit = audit.model_dump(include=audit.model_fields_set)
        return values | {"audit": PHANTOM_COPIES | audit} if isinstance(audit, dict) else values

    @model_validator(mode="after")
    def _negative(self) -> Self:
        settings, negative = self.evaluate, self.evaluate.negative_class
        if settings.levels and settings.pooling == "noisy_or" and negative is None:
            raise ValueError(
                "evaluate.pooling is noisy_or, but evaluate.negative_class is not set: set it to "
                "the class without a disease, or use mean or top_k"
            )
        if negative is not None and self.classes and negative not in self.classes:
            raise ValueError(
                f"evaluate.negative_class is {negative!r}{did_you_mean(negative, self.classes)}: "
                f"choose from {', '.join(self.classes)}"
            )
        return self

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.expand is not None and not self.train.expanded:
            raise ValueError(
                "expand is given and train.expanded is false, so nothing would train on the "
                "table: set train.expanded = true, or remove expand"
            )
        return self

    @field_validator("classes")
    @classmethod
    def _countable(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if len(value) == 1:
            raise ValueError(f"classes has only {next(iter(value))!r}: name two or more")
        for name in value:
            if not is_name(name):
                raise ValueError(
                    f"{one_line(name, 80)!r} cannot be the name of a class: it is blank, over "
                    f"{limits.NAME_CHARS_MAX} characters, or has control characters"
                )
        if len(value) > limits.CLASSES_MAX:
            raise ValueError(f"classes has {len(value)}, the maximum is {limits.CLASSES_MAX}")
        return value


def read_experiment(path: Path) -> Experiment:
    """Read an experiment's TOML file; relative paths are taken from the file's folder.

    Raises:
        UsageError: the file is missing or not TOML, or a setting is wrong.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give the TOML file of an experiment")
    if (size := path.stat().st_size) > limits.CONFIG_FILE_BYTES_MAX:
        raise UsageError(f"{path}: {size} bytes, over {limits.CONFIG_FILE_BYTES_MAX}")
    return experiment_of(path.read_bytes(), str(path), path.resolve().parent)


def experiment_of(content: bytes, where: str, base: Path | StoreUri) -> Experiment:
    """The experiment in the content of a TOML file.

    Args:
        content: of the file.
        where: the file's path or address, for messages.
        base: what relative paths are taken from.

    Raises:
        UsageError: it is not TOML, or a setting is wrong.
    """
    try:
        values: dict[str, Any] = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: not TOML: {error}") from error
    return located(parse(Experiment, values, where=where), base)


def located(experiment: Experiment, base: Path | StoreUri) -> Experiment:
    """The experiment with absolute paths; relative ones are taken from ``base``.

    Raises:
        UsageError: ``base`` is in a store, and a path that must be on this machine is relative.
    """
    train, salt = experiment.train, experiment.ingest.salt_path
    named = {"weights_path": train.weights_path, "start": train.start}
    own: dict[str, Path] = {
        name: _here(base, name, path)
        for name, path in (
            ("train.expanded_path", train.expanded_path),
            ("ingest.salt_path", salt),
            ("tracking.mlflow", experiment.tracking.mlflow_folder),
            ("tracking.tensorboard", experiment.tracking.tensorboard),
        )
        if path is not None
    }
    tracked = {name: own.get(f"tracking.{name}") for name in ("mlflow", "tensorboard")}
    return experiment.model_copy(
        update={
            "out": below(base, experiment.out),
            "tracking": experiment.tracking.placed(**tracked),
            "ingest": experiment.ingest.model_copy(
                update={"salt_path": own.get("ingest.salt_path")}
            ),
            "train": train.model_copy(
                update={
                    **{name: below(base, at) for name, at in named.items() if at},
                    "expanded_path": own.get("train.expanded_path"),
                }
            ),
            "sources": tuple(
                source.model_copy(update={"path": below(base, source.path)})
                for source in experiment.sources
            ),
        }
    )


def _here(base: Path | StoreUri, name: str, path: Path) -> Path:
    """A path on this machine, which an experiment in a store cannot place."""
    place = below(base, path)
    if isinstance(place, StoreUri):
        raise UsageError(
            f"{name} is {str(path)!r}, but the experiment lies in a store ({base}), and this must "
            "be on this machine: give an absolute path"
        )
    return place
