"""``pulmospark split``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pulmospark.cli import common

if TYPE_CHECKING:
    from pulmospark.core.store_uri import StoreUri
    from pulmospark.spark.engine_choice import EngineName


@click.command(
    help="""Build the cohort: classes, training, validation and test sets.

    EXPERIMENT is its TOML file, or the folder of a run.

    \b
    Example:
      pulmospark split runs/mine --set split.folds=5
    """
)
@common.what_argument
@common.set_option
@common.engine_option
@common.spark_options
@common.speech_options
def command(
    what: Path | StoreUri,
    changes: tuple[str, ...],
    engine: EngineName,
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    experiment, run = common.open_run(what, changes)

    # Seconds of import, which a wrong setting need not wait for.
    from pulmospark.cli import printing
    from pulmospark.experiment import pipeline

    quiet = quiet or as_json
    with common.engine_choice(
        engine, master, conf, preload=("pulmospark.data.duplicates.near_duplicates",), quiet=quiet
    ) as workers:
        result = pipeline.run_split(experiment, run, workers, quiet=quiet)
    common.say_result(
        result, lambda: printing.say_split(result, phantoms=experiment.phantoms), as_json=as_json
    )
