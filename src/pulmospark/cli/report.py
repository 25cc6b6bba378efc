"""``pulmospark report``."""

from __future__ import annotations

from pathlib import Path

import click

from pulmospark.cli import common


@click.command(
    help="""Write the report of an evaluated run: one self-contained HTML file.

    Next to it the folder figures holds each plot as SVG and PDF, metrics.csv, predictions.csv
    and a LaTeX table.

    EXPERIMENT is its TOML file, or the folder of a run.

    \b
    Example:
      pulmospark report runs/mine
    """
)
@common.what_argument
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(what: Path, as_json: bool) -> None:
    """Run it."""
    from pulmospark.experiment.run_folder import open_experiment

    experiment, run = open_experiment(what, {})

    # Seconds of import, which a wrong path need not wait for.
    from pulmospark.experiment import pipeline

    path = pipeline.run_report(experiment, run, quiet=as_json)
    if as_json:
        common.say_json({"report": str(path)})
    else:
        common.say(f"report: {path}")
