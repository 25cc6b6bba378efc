"""Options and output that several commands share."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from pulmospark.cli.styling import say_error, styled, wrapped
from pulmospark.core.errors import UsageError
from pulmospark.core.locations import local_path, local_text
from pulmospark.core.safe_text import one_line, shown, shown_json
from pulmospark.core.store_uri import StoreUri, place_of_text, place_text

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pyspark.sql import SparkSession

    from pulmospark.config.experiment import Experiment
    from pulmospark.experiment.run_folder import RunFolder
    from pulmospark.spark.engine_choice import EngineChoice, EngineName

SHOWN = "pulmospark.shown"
"""key of a command's context: how its output names what lies in a store"""

Command = TypeVar("Command", bound=Callable[..., Any])


class _PathType(click.Path):
    """A path or a ``file:`` URI, as ``Path``; other URIs are refused."""

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002 - click's
        ctx: click.Context | None,  # noqa: ARG002
    ) -> Path:
        return local_path(str(value))


class _PatternType(click.Path):
    """The same as text: it may be a pattern, and a trailing slash matches only folders."""

    def __init__(self, *, stores: bool = False) -> None:
        super().__init__()
        self._stores = stores

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002
        ctx: click.Context | None,  # noqa: ARG002
    ) -> str:
        return place_text(str(value)) if self._stores else local_text(str(value))


class _PlaceType(_PathType):
    """A path, or an address in a store as ``StoreUri``."""

    def convert(  # type: ignore[override]  # wider: an address is no path
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002 - click's
        ctx: click.Context | None,  # noqa: ARG002
    ) -> Path | StoreUri:
        return place_of_text(str(value))


class _LayoutType(click.types.StringParamType):
    """The name of a layout, which a shell can complete."""

    name = "layout"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        from pulmospark.layouts.registry import LAYOUTS

        names = (layout.name for layout in LAYOUTS)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


LAYOUT = _LayoutType()
PATH = _PathType()
PLACE = _PlaceType()
PATTERN = _PatternType()
IMAGES = _PatternType(stores=True)
"""images to score, which may lie in a store"""


def spark_options(command: Command) -> Command:
    """``--master`` and ``--conf``."""
    for option in (
        click.option("--conf", "conf", multiple=True, metavar="KEY=VALUE", help="Spark setting."),
        click.option(
            "--master", metavar="URL", help="Spark master: local[2], spark://host:7077, yarn, ..."
        ),
    ):
        command = option(command)
    return command


def engine_option(command: Command) -> Command:
    """``--engine``."""
    return click.option(
        "--engine",
        type=click.Choice(["auto", "spark", "local"]),
        default="auto",
        show_default=True,
        help="What runs the work: Spark, or processes on this machine. auto: Spark for many "
        "images, on a cluster, and with --master or --conf.",
    )(command)


@contextlib.contextmanager
def engine_choice(
    engine: EngineName,
    master: str | None,
    conf: tuple[str, ...],
    *,
    preload: tuple[str, ...] = (),
    alone: bool = False,
    quiet: bool,
) -> Iterator[EngineChoice]:
    """What runs the chunks of a command, given its options; one line says what and why.

    Raises:
        UsageError: options exclude each other.
    """
    from pulmospark.spark.engine_choice import EngineChoice

    say = None if quiet else say_progress
    settings = pairs(conf, "--conf")
    with EngineChoice(engine, master, settings, preload=preload, alone=alone, say=say) as choice:
        # Not before, as it imports pyarrow: workers import it at the same time.
        from pulmospark.core.arrow_start import spare_pandas

        spare_pandas()
        yield choice


def speech_options(command: Command) -> Command:
    """``--json`` and ``--quiet``."""
    for option in (
        click.option("--quiet", "-q", is_flag=True, help="Do not show progress."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    ):
        command = option(command)
    return command


def scoring_options(command: Command) -> Command:
    """``--precision``, ``--allow-phantom-model`` and ``--any-body-part``."""
    for option in (
        click.option(
            "--any-body-part",
            is_flag=True,
            help="Also score DICOM images whose header names another body part than the chest; by "
            "default they are rejected.",
        ),
        click.option(
            "--allow-phantom-model",
            is_flag=True,
            help="Let a model trained on phantoms score other images; its predictions are "
            "meaningless for people.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "fp32", "fp16", "bf16", "int8"]),
            default="auto",
            show_default=True,
            help="Numerical precision of the network; below fp32 only if a check on the images "
            "passes.",
        ),
    ):
        command = option(command)
    return command


def heat_maps_option(command: Command) -> Command:
    """``--heatmaps``."""
    return click.option(
        "--heatmaps",
        "heat_maps",
        type=click.Choice(["png", "array", "both"]),
        is_flag=False,
        flag_value="png",
        help="Write the heat map of each image below the output folder, as a picture (png, the "
        "default), an array in the image's own coordinates (array) or both. Without --out, only "
        "print where the hottest tenth of the image lies.",
    )(command)


def set_option(command: Command) -> Command:
    """``--set``."""
    return click.option(
        "--set",
        "changes",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change a setting, e.g. train.model=squeezenet1_1. May be repeated.",
    )(command)


def augment_option(command: Command) -> Command:
    """``--augment`` and ``--no-augment``."""
    return click.option(
        "--augment/--no-augment",
        "augment",
        default=None,
        help="Randomly augment training images; default: as configured.",
    )(command)


def augmented(experiment: Experiment, wanted: bool | None) -> Experiment:
    """Apply ``--augment`` or ``--no-augment`` to an experiment, and print its warnings."""
    from pulmospark.experiment.expand_inputs import with_augmentation

    experiment = with_augmentation(experiment, wanted)
    if experiment.train.augment is not None:
        for text in experiment.train.augment.warnings():
            warn(text)
    return experiment


def what_argument(command: Command) -> Command:
    """The experiment: its TOML file, or the folder of a run, either of them also in a store."""
    return click.argument("what", metavar="EXPERIMENT", type=PLACE)(command)


def open_run(
    what: Path | StoreUri,
    changes: tuple[str, ...],
    out: Path | StoreUri | None = None,
    *,
    settings_only: bool = False,
) -> tuple[Experiment, RunFolder]:
    """The experiment that a command names, with ``--set``, and its run's folder.

    For arguments and errors see :func:`pulmospark.experiment.run_folder.open_experiment`.
    """
    from pulmospark.experiment.run_folder import open_experiment

    experiment, run = open_experiment(
        what, pairs(changes, "--set"), out, settings_only=settings_only
    )
    show_addresses(run)
    return experiment, run


def show_addresses(run: RunFolder) -> None:
    """Print the address of a run in a store in the place of its copy's path."""
    if run.mirror is not None:
        click.get_current_context().meta[SHOWN] = run.mirror.shown


def _with_addresses(text: str) -> str:
    context = click.get_current_context(silent=True)
    show = context and context.meta.get(SHOWN)
    return str(show(text)) if show else text


def pairs(texts: tuple[str, ...], flag: str) -> dict[str, str]:
    """``KEY=VALUE`` texts as a mapping.

    Raises:
        UsageError: one has no ``=``.
    """
    values = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{flag} {text!r}: give KEY=VALUE")
        values[key.strip()] = value.strip()
    return values


def check_sources(experiment: Experiment) -> None:
    """Check that each source exists and has a layout, before Spark starts.

    Raises:
        UsageError: a layout is unknown.
        InputError: a folder is missing, or has no known layout.
    """
    from pulmospark.layouts.sources import open_source

    for source in experiment.sources:
        open_source(source)


def make_folder(folder: Path) -> None:
    """Create the folder of a run before Spark starts, so that a failure is reported early.

    Raises:
        PlatformError: no space, no write permission, or a file exists at that path.
    """
    from pulmospark.core.files import disk_errors

    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def spark(
    master: str | None,
    conf: tuple[str, ...],
    *,
    quiet: bool,
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[SparkSession]:
    """A Spark session for ``--master`` and ``--conf``, whose start is shown as a stage.

    Args:
        master: value of ``--master``.
        conf: values of ``--conf``.
        quiet: do not show the stage.
        meanwhile: called while Spark starts, in seconds that mostly wait for Java.

    Raises:
        UsageError: a ``--conf`` has no value.
        PlatformError: Spark does not start.
    """
    values = pairs(conf, "--conf")
    from pulmospark.core.progress import stage
    from pulmospark.spark.background_start import started_early
    from pulmospark.spark.session import spark_session

    with contextlib.ExitStack() as session:
        with stage("start Spark", quiet=quiet):
            starting = session.enter_context(started_early(spark_session(master, values)))
            meanwhile()
            started = session.enter_context(starting)
        yield started


def say(text: str, style: str = "") -> None:
    """Print a line of the result on standard output.

    Args:
        text: of the line.
        style: on a terminal: ``bold`` or a colour; empty: none.
    """
    line = shown(_with_addresses(text))
    click.echo(styled(wrapped(line, sys.stdout), style, sys.stdout))


def say_heading(text: str) -> None:
    """Print an empty line and a heading on standard output."""
    click.echo()
    say(text, "bold")


def say_json(value: Any) -> None:
    """Print the result as one JSON object, the last line on standard output."""
    click.echo(shown_json(_with_addresses(json.dumps(value, ensure_ascii=False))))


def say_result(result: BaseModel, say_words: Callable[[], None], *, as_json: bool) -> None:
    """The result: as one JSON object for machines, else in words.

    Args:
        result: of the command.
        say_words: says it in words.
        as_json: whether ``--json`` was given.
    """
    if as_json:
        say_json(result.model_dump(mode="json"))
    else:
        say_words()


def warn(text: str) -> None:
    """Print a warning on standard error."""
    line = wrapped(f"warning: {one_line(_with_addresses(text))}", sys.stderr)
    word = styled("warning:", "yellow", sys.stderr)
    say_error(word + line.removeprefix("warning:"))


def say_progress(text: str) -> None:
    """Print a line of progress on standard error."""
    say_error(one_line(text))


def count(number: int, noun: str) -> str:
    """ "1 image", "1,234 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
