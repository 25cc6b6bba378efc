"""``pulmospark report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pulmospark.cli import common

if TYPE_CHECKING:
    from pulmospark.core.store_uri import StoreUri


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
def command(what: Path | StoreUri, as_json: bool) -> None:
    """Run it."""
    experiment, run = common.open_run(what, ())

    # Seconds of import, which a wrong path need not wait for.
    from pulmospark.experiment import pipeline

    path = pipeline.run_report(experiment, run, quiet=as_json)
    if as_json:
        common.say_json({"report": str(path)})
    else:
        common.say(f"report: {path}")
