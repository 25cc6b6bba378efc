"""``pulmospark train``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pulmospark.cli import common

if TYPE_CHECKING:
    from pulmospark.core.store_uri import StoreUri


@click.command(
    help="""Train a detector and write its bundle.

    EXPERIMENT is its TOML file, or the folder of a run.

    \b
    Example:
      pulmospark train runs/mine --set train.model=squeezenet1_1
    """
)
@common.what_argument
@common.set_option
@common.augment_option
@common.spark_options
@common.speech_options
def command(
    what: Path | StoreUri,
    changes: tuple[str, ...],
    augment: bool | None,
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    experiment, run = common.open_run(what, changes, settings_only=True)
    experiment = common.augmented(experiment, augment)

    # Seconds of import, which a wrong setting need not wait for.
    from pulmospark.cli import printing
    from pulmospark.experiment import pipeline
    from pulmospark.experiment.run_folder import fetch_run

    fetch = partial(fetch_run, run)
    with common.spark(master, conf, quiet=quiet or as_json, meanwhile=fetch) as spark:
        result = pipeline.run_train(experiment, run, spark, quiet=quiet or as_json)
    common.say_result(
        result, lambda: printing.say_train(result, phantoms=experiment.phantoms), as_json=as_json
    )
