"""``pulmospark train``."""

from __future__ import annotations

from pathlib import Path

import click

from pulmospark.cli import common


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
    what: Path,
    changes: tuple[str, ...],
    augment: bool | None,
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    from pulmospark.experiment.run_folder import open_experiment

    experiment, run = open_experiment(what, common.pairs(changes, "--set"))
    experiment = common.augmented(experiment, augment)

    # Seconds of import, which a wrong setting need not wait for.
    from pulmospark.cli import printing
    from pulmospark.experiment import pipeline

    with common.spark(master, conf, quiet=quiet or as_json) as spark:
        result = pipeline.run_train(experiment, run, spark, quiet=quiet or as_json)
    common.say_result(
        result, lambda: printing.say_train(result, phantoms=experiment.phantoms), as_json=as_json
    )
