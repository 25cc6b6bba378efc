"""``pulmospark evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pulmospark.cli import common

if TYPE_CHECKING:
    from pulmospark.core.settings import Experiment


@click.command(
    help="""Figures with intervals, on films that the model has not seen.

    EXPERIMENT is its TOML file, or the folder of a run. Films and slices are always evaluated one
    by one; --level adds CT scans, or patients, each scored as a whole.

    \b
    Example:
      pulmospark evaluate runs/mine --json
      pulmospark evaluate runs/ct --level scan --level patient --set evaluate.pooling=top_k
    """
)
@common.what_argument
@click.option(
    "--level",
    "levels",
    multiple=True,
    type=click.Choice(["slice", "scan", "patient"]),
    help="Evaluate scans or patients, too; as evaluate.levels.",
)
@common.set_option
@common.spark_options
@common.speech_options
def command(
    what: Path,
    levels: tuple[str, ...],
    changes: tuple[str, ...],
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    from pulmospark.experiment.folder import open_experiment

    experiment, run = open_experiment(what, common.pairs(changes, "--set"))
    if levels:
        experiment = _with_levels(experiment, levels)

    # Seconds of import, which a wrong setting need not wait for.
    from pulmospark.cli import words
    from pulmospark.experiment import stages
    from pulmospark.spark.session import spark_session

    with spark_session(master, common.pairs(conf, "--conf")) as spark:
        result = stages.run_evaluate(experiment, run, spark, quiet=quiet or as_json)
    if as_json:
        common.say_json(result.model_dump(mode="json"))
    else:
        words.say_evaluate(result, phantoms=experiment.phantoms)


def _with_levels(experiment: Experiment, levels: tuple[str, ...]) -> Experiment:
    from pulmospark.core.settings import Experiment, parse

    values = experiment.model_dump(mode="json")
    # That of slices is always there.
    values["evaluate"]["levels"] = [name for name in levels if name != "slice"]
    return parse(Experiment, values, where="--level")
