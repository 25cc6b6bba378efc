"""The folder of an experiment, and where each stage's outcome lies in it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pulmospark.core import files
from pulmospark.core.audit_settings import check_skip
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.locks import hold_lock
from pulmospark.core.near_names import did_you_mean
from pulmospark.core.settings import Experiment, Settings, parse, read_experiment
from pulmospark.core.whole_folders import sweep_inside
from pulmospark.tracking.extra import check_tracking

LOCK = ".lock"
"""file in a run's folder whose lock its writer holds"""

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class _Place:
    """A path in a run's folder; where it may be shared, in that of the run that has it."""

    name: str
    shared: bool = False

    def __get__(self, run: RunFolder, _: type[RunFolder]) -> Path:
        return (run.shared if self.shared and run.shared else run.root) / self.name


@dataclass(frozen=True)
class RunFolder:
    """Paths of an experiment's outcome; nothing of it need exist."""

    root: Path
    shared: Path | None = None
    """folder of another run, whose tables and cohort are used"""

    settings = _Place("experiment.json")
    """The experiment's settings, as JSON."""
    tables = _Place("tables", shared=True)
    """``images``, ``rejects`` and the manifest: ingest's outcome."""
    cohort = _Place("cohort", shared=True)
    """Split's outcome."""
    expanded = _Place("expanded", shared=True)
    """Expand's outcome, where it was asked for."""
    training = _Place("training")
    """Scores and history: train's outcome, beside the bundle."""
    bundle = _Place("bundle")
    """The trained model."""
    evaluation = _Place("evaluation")
    """Predictions and figures: evaluate's outcome."""
    audit = _Place("audit")
    """What the audits found: audit's outcome."""
    report = _Place("report.html")
    """The report."""
    claim = _Place("claim.md")
    """The CLAIM 2024 checklist, filled in as far as the run knows it."""
    comparison = _Place("compare")
    """Networks compared on the same films: compare's outcome, a folder each."""
    paper = _Place("paper.json")
    """The published experiment that the run repeats, as its report shows it, as JSON."""
    timings = _Place("timings.json")
    """Seconds of each stage, as JSON."""


def run_folder(experiment: Experiment) -> RunFolder:
    """The folder of an experiment: its name, under its ``out``.

    Raises:
        UsageError: the name cannot be a folder's.
    """
    if not _SAFE_NAME.fullmatch(experiment.name):
        raise UsageError(
            f"name is {experiment.name!r}: use letters, digits, dots, dashes and underscores, "
            "100 at most, a letter or digit first"
        )
    return RunFolder(experiment.out.resolve() / experiment.name)


def open_experiment(what: Path, changes: dict[str, str]) -> tuple[Experiment, RunFolder]:
    """An experiment from its TOML file, or from the folder of an earlier run.

    Args:
        what: the file or the folder.
        changes: setting, with dots (``train.model``) -> value, as text.

    Raises:
        UsageError: it is neither, or a setting is wrong.
        EnvironmentProblem: a library is missing that ``tracking`` asks for.
    """
    if what.is_dir():
        run = RunFolder(what.resolve())
        try:
            values = files.read_json(run.settings)
        except InputError as error:
            raise UsageError(
                f"{what}: not the folder of an experiment (it has no {run.settings.name}); name "
                "one, or an experiment's TOML file"
            ) from error
        experiment = parse(Experiment, values, where=str(run.settings))
        return _ready(with_changes(experiment, changes)), run
    experiment = _ready(with_changes(read_experiment(what), changes))
    return experiment, run_folder(experiment)


def _ready(experiment: Experiment) -> Experiment:
    """The experiment, if what it asks for beside the data is there."""
    check_tracking(experiment.tracking)
    check_skip(experiment.audit)
    return experiment


def with_changes(experiment: Experiment, changes: dict[str, str]) -> Experiment:
    """An experiment with some settings changed.

    Args:
        experiment: the experiment.
        changes: setting, with dots -> value, as text; read as the setting's type asks. ``none``
            unsets what may be unset, but where it is one of the setting's own words.

    Raises:
        UsageError: a setting is unknown or a value is wrong.
    """
    values = experiment.model_dump(mode="json")
    for key, text in changes.items():
        place: Any = values
        *path, last = key.split(".")
        for name in path:
            place = place.get(name) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            near = did_you_mean(last, place) if isinstance(place, dict) else ""
            raise UsageError(
                f"--set {key}: there is no such setting{near}; see docs/reference/settings.md"
            )
        place[last] = None if text in {"", "none"} and _may_be_unset(key) else text
    return parse(Experiment, values, where="--set") if changes else experiment


def _may_be_unset(key: str) -> bool:
    """Whether a setting can be ``None``, and "none" is no word of its own."""
    kind: Any = Experiment
    for name in key.split("."):
        # A section that may be left out is a union of its settings and None.
        inside = [one for one in (kind, *get_args(kind)) if isinstance(one, type)]
        section = next((one for one in inside if issubclass(one, Settings)), None)
        if section is None or name not in section.model_fields:
            return False  # of a table whose names are a user's own, the classes, say
        kind = section.model_fields[name].annotation
    told = get_args(kind)
    return type(None) in told and "none" not in [word for one in told for word in get_args(one)]


@contextlib.contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """Be the one that writes to a run's folder, and remove what a killed one left there.

    Raises:
        UsageError: another process writes there; the message names it.
        EnvironmentProblem: no space, or no right to write there.
    """
    with files.disk_errors(run.root):
        run.root.mkdir(parents=True, exist_ok=True)
        lock = run.root / LOCK
        lock.touch()
    # Where a file system has no locks a run works as well: it is the user who starts two.
    with hold_lock(lock, run.root, writer="run", needed=False, again=True):
        sweep_inside(run.root)
        yield


def save_settings(experiment: Experiment, run: RunFolder) -> None:
    """Keep the settings in the run's folder, for the stages that come later."""
    files.write_json(run.settings, experiment.model_dump(mode="json"))


def note_seconds(run: RunFolder, stage: str, seconds: float) -> None:
    """Keep how long a stage took."""
    told = read_seconds(run)
    files.write_json(run.timings, {**told, stage: round(seconds, 3)})


def read_seconds(run: RunFolder) -> dict[str, float]:
    """Seconds of each stage so far; empty before the first."""
    if not run.timings.is_file():
        return {}
    told: dict[str, float] = files.read_json(run.timings)
    return told
