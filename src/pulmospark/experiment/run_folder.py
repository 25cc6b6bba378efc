"""The folder of an experiment, and where each stage writes in it."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pulmospark.audit.skip import check_skip
from pulmospark.chunks.shared_store import SharedStore
from pulmospark.config.base import Settings
from pulmospark.config.experiment import Experiment, experiment_of, located, read_experiment
from pulmospark.config.parse import parse
from pulmospark.core import files, limits
from pulmospark.core.atomic_folders import sweep_inside
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.locks import hold_lock
from pulmospark.core.records import RenamedSettingWarning
from pulmospark.core.store_uri import StoreUri
from pulmospark.core.suggestions import did_you_mean
from pulmospark.models.bundle.bundle import bundle_folder
from pulmospark.store.mirror import Mirror, run_around
from pulmospark.store.published import NAME, read_published
from pulmospark.store.store import open_store
from pulmospark.tracking.extra import check_tracking

_LOG = logging.getLogger(__name__)

_EXPERIMENT_END = ".toml"

LOCK = ".lock"
"""file in a run's folder that its writer locks"""

_TABLES = {
    "manifest": ("tables", "manifest.parquet"),
    "images": ("tables", "images"),
    "rejects": ("tables", "rejects"),
    "cohort": ("cohort", "table"),
    "expanded": ("expanded", "table"),
    "scores": ("training", "scores"),
    "predictions": ("evaluation", "predictions"),
    "metrics": ("evaluation", "metrics"),
    "units": ("evaluation", "units"),
    "audits": ("audit", "audits"),
    "distances": ("audit", "distances"),
}
"""table -> its place in a run's folder"""

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
    """Paths of an experiment's outputs; none of them need exist."""

    root: Path
    shared: Path | None = None
    """folder of another run, whose tables and cohort are used"""
    mirror: Mirror | None = field(default=None, compare=False)
    """of a run in a store, whose copy ``root`` is"""

    settings = _Place("experiment.json")
    """The experiment's settings, as JSON."""
    tables = _Place("tables", shared=True)
    """``images``, ``rejects`` and the manifest: ingest's output."""
    cohort = _Place("cohort", shared=True)
    """Output of split."""
    expanded = _Place("expanded", shared=True)
    """Output of expand, if requested."""
    training = _Place("training")
    """Scores and history: train's output next to the bundle."""
    bundle = _Place("bundle")
    """The trained model."""
    evaluation = _Place("evaluation")
    """Predictions and metrics: evaluate's output."""
    audit = _Place("audit")
    """The audits' results."""
    report = _Place("report.html")
    """The report."""
    figures = _Place("figures")
    """The report's plots and tables as files for a paper."""
    claim = _Place("claim.md")
    """The CLAIM 2024 checklist, filled in as far as the run knows it."""
    comparison = _Place("compare")
    """Networks compared on the same images: compare's output, one folder per arm."""
    paper = _Place("paper.json")
    """The published experiment that the run reproduces, as JSON for its report."""
    timings = _Place("timings.json")
    """Seconds of each stage, as JSON."""

    @property
    def place(self) -> Path | StoreUri:
        """Where the run is: its folder, or its address in a store."""
        if self.mirror is None:
            return self.root.resolve()
        inside = self.root.relative_to(self.mirror.folder).as_posix()
        return self.mirror.address if inside == "." else self.mirror.address / inside


def shared_store(run: RunFolder) -> SharedStore | None:
    """What workers on other machines share of a run in a store; ``None``: it is in a folder."""
    if run.mirror is None:
        return None
    return SharedStore(run.mirror.folder, run.mirror.address)


def run_at(place: Path | StoreUri) -> RunFolder:
    """The run folder at a path or an address in a store."""
    if isinstance(place, Path):
        return RunFolder(place)
    mirror = Mirror(place)
    return RunFolder(mirror.folder, mirror=mirror)


def run_folder(experiment: Experiment) -> RunFolder:
    """The folder of an experiment: its name, under its ``out``.

    Raises:
        UsageError: the name is not a valid folder name.
    """
    if not _SAFE_NAME.fullmatch(experiment.name):
        raise UsageError(
            f"name is {experiment.name!r}: use letters, digits, dots, dashes and underscores, "
            "100 at most, a letter or digit first"
        )
    out = experiment.out
    return run_at((out.resolve() if isinstance(out, Path) else out) / experiment.name)


def table_of_run(path: Path) -> Path:
    """Where a table lies that is named as though it were right below a run's folder.

    Args:
        path: ``RUN/images`` and so on, or the table's own place, which stays as it is.
    """
    place = _TABLES.get(path.name)
    if place is None or not RunFolder(path.parent).settings.is_file():
        return path
    return path.parent.joinpath(*place)


def open_experiment(
    what: Path | StoreUri | Experiment,
    changes: dict[str, str],
    out: Path | StoreUri | None = None,
    *,
    settings_only: bool = False,
) -> tuple[Experiment, RunFolder]:
    """An experiment from its TOML file, from the folder of an earlier run, or as it is given.

    Of a run in a store, its copy on this machine is brought up to date.

    Args:
        what: the file or the folder, on this machine or in a store, or the experiment, whose
            relative paths are then taken from the current folder.
        changes: setting, with dots (``train.model``) -> value, as text.
        out: folder of the run, in the place of the experiment's own.
        settings_only: the copy gets no more yet; :func:`fetch_run` brings the rest.

    Raises:
        UsageError: it is neither, or a setting is wrong, or ``out`` is given with a run's folder.
        InputError: there is no such object, or the run in the store is damaged.
        PlatformError: a library that ``tracking`` needs is missing.
        SourceUnavailableError: the store fails.
    """
    experiment, run = _opened(what, changes)
    if out is not None:
        if run.settings.is_file() and run.place == what:
            raise UsageError(
                f"--out applies to an experiment's file, but {what} is a run's folder"
            )
        run = run_at(out if isinstance(out, StoreUri) else out.expanduser().resolve())
    if not settings_only:
        fetch_run(run)
    return experiment, run


def _opened(
    what: Path | StoreUri | Experiment, changes: dict[str, str]
) -> tuple[Experiment, RunFolder]:
    if isinstance(what, Experiment):
        experiment = _ready(with_changes(located(what, Path.cwd()), changes))
        return experiment, run_folder(experiment)
    if isinstance(what, StoreUri) and _is_file(what):
        content, _ = open_store(what).read(what.key, limits.CONFIG_FILE_BYTES_MAX)
        experiment = experiment_of(content, str(what), what.parent)
        return _ready(with_changes(experiment, changes)), run_folder(experiment)
    if isinstance(what, StoreUri) or what.is_dir():
        run = run_at(what if isinstance(what, StoreUri) else what.resolve())
        if not fetch_run(run, run.settings.name):
            raise UsageError(
                f"{what}: not an experiment's folder (it has no {NAME}): give one, or an "
                f"experiment's file, which ends in {_EXPERIMENT_END}"
            )
        try:
            values = files.read_json(run.settings)
        except InputError as error:
            raise UsageError(
                f"{what}: not an experiment's folder (it has no {run.settings.name}): give one, "
                "or an experiment's TOML file"
            ) from error
        with warnings.catch_warnings():  # nobody wrote that file by hand
            warnings.simplefilter("ignore", RenamedSettingWarning)
            experiment = parse(Experiment, values, where=str(run.settings))
        return _ready(with_changes(experiment, changes)), run
    experiment = _ready(with_changes(read_experiment(what), changes))
    changed = experiment.model_dump(mode="json", exclude_defaults=True, exclude={"sources"})
    _LOG.info("%s: settings that are not the defaults: %s", what, json.dumps(changed))
    return experiment, run_folder(experiment)


def _ready(experiment: Experiment) -> Experiment:
    """The experiment, once libraries and audit names are checked."""
    check_tracking(experiment.tracking)
    check_skip(experiment.audit)
    return experiment


def with_changes(experiment: Experiment, changes: dict[str, str]) -> Experiment:
    """An experiment with some settings changed.

    Args:
        experiment: the experiment.
        changes: setting, with dots -> value, as text; parsed as the setting's type. ``none``
            unsets an optional setting, unless it is one of the setting's values.

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
            raise UsageError(f"--set {key}: no such setting{near}; see docs/reference/settings.md")
        place[last] = None if text in {"", "none"} and _may_be_unset(key) else text
    return parse(Experiment, values, where="--set") if changes else experiment


def _may_be_unset(key: str) -> bool:
    """Whether a setting can be ``None``, and "none" is not one of its values."""
    kind: Any = Experiment
    for name in key.split("."):
        # An optional section is a union of its settings and None.
        inside = [part for part in (kind, *get_args(kind)) if isinstance(part, type)]
        section = next((part for part in inside if issubclass(part, Settings)), None)
        if section is None or name not in section.model_fields:
            return False  # of a table with the user's own names, such as the classes
        kind = section.model_fields[name].annotation
    options = get_args(kind)
    literals = [word for option in options for word in get_args(option)]
    return type(None) in options and "none" not in literals


def _is_file(uri: StoreUri) -> bool:
    return uri.name.lower().endswith(_EXPERIMENT_END)


def fetch_run(run: RunFolder, only: str | None = None) -> bool:
    """Bring the copy of a stored run, or one unit, up to date, unless this machine writes there.

    Returns:
        Whether there is a run; always true of a folder on this machine.

    Raises:
        InputError: the run in the store is damaged.
        SourceUnavailableError: the store fails.
    """
    if run.mirror is None:
        return True
    with files.disk_errors(run.root):
        run.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with hold_lock(run.root / LOCK, run.root, writer="run", needed=False, again=True):
            return run.mirror.fetch(only)
    except UsageError:  # its writer has all that is in the store, or newer
        return run.settings.is_file()


def is_run(what: Path | StoreUri) -> bool:
    """Whether a place is an experiment's file or a run's folder."""
    if isinstance(what, StoreUri):
        return _is_file(what) or read_published(what) is not None
    return what.is_file() or RunFolder(what).settings.is_file()


def local_run(place: Path | StoreUri) -> tuple[Path, RunFolder | None]:
    """A run's folder, or what lies in it, on this machine; copied from a store.

    Args:
        place: a path, or the address of a run, its ``bundle``, ``tables`` or ``tables/images``.

    Returns:
        The path, as given or of the copy, and the run of which it is a copy.

    Raises:
        InputError: there is no run at the address.
        SourceUnavailableError: the store fails.
    """
    if isinstance(place, Path):
        return place, None
    if (around := run_around(place)) is None:
        raise InputError(
            f"{place}: in no run's folder (none around it has a {NAME}): give the address of a "
            "run, or copy it to this machine"
        )
    mirror, path = around
    run = RunFolder(mirror.folder, mirror=mirror)
    fetch_run(run)
    return path, run


def local_copy(place: Path | StoreUri) -> Path:
    """The path of :func:`local_run` alone."""
    return local_run(place)[0]


def bundle_of_run(what: Path | StoreUri) -> tuple[Path, RunFolder | None]:
    """The bundle of a run, or a bundle itself, on this machine, and the run in a store around it.

    Raises:
        InputError: nothing is at the address.
        SourceUnavailableError: the store fails.
    """
    if isinstance(what, StoreUri) and run_around(what) is None:
        return bundle_folder(what), None
    path, run = local_run(what)
    return bundle_folder(path), run


@contextlib.contextmanager
def published(run: RunFolder) -> Iterator[None]:
    """Publish what is written to a run's folder meanwhile, if the run is in a store.

    Raises:
        UsageError: another process is writing there.
        ConflictError: another process took over.
        SourceUnavailableError: the store fails.
    """
    with run.mirror.writing() if run.mirror else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """Hold the lock of a run's folder, and remove what a killed process left there.

    Raises:
        UsageError: another process writes there; the message names it.
        PlatformError: no space, or no permission to write there.
    """
    with files.disk_errors(run.root):
        run.root.mkdir(parents=True, exist_ok=True)
        lock = run.root / LOCK
        lock.touch()
    # A file system without locks is accepted: two runs at once are then the user's doing.
    with hold_lock(lock, run.root, writer="run", needed=False, again=True):
        sweep_inside(run.root)
        with published(run):
            yield


def save_settings(experiment: Experiment, run: RunFolder) -> None:
    """Save the settings in the run's folder for later stages."""
    files.write_json(run.settings, experiment.model_dump(mode="json"))


def note_seconds(run: RunFolder, stage: str, seconds: float) -> None:
    """Record the duration of a stage."""
    seconds_so_far = read_seconds(run)
    files.write_json(run.timings, {**seconds_so_far, stage: round(seconds, 3)})


def read_seconds(run: RunFolder) -> dict[str, float]:
    """Seconds of each stage so far; empty before the first."""
    if not run.timings.is_file():
        return {}
    seconds: dict[str, float] = files.read_json(run.timings)
    return seconds
