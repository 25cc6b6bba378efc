"""``pulmospark run``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pulmospark.cli import common

if TYPE_CHECKING:
    from pulmospark.core.store_uri import StoreUri
    from pulmospark.experiment.check import Plan
    from pulmospark.experiment.run_folder import RunFolder


@click.command(
    help="""Run an experiment: ingest, split, train, evaluate, audit, report.

    EXPERIMENT is its TOML file, or the folder of a run. Images that are already ingested are not
    read again.

    \b
    Examples:
      pulmospark run examples/covid_pneumonia_normal.toml
      pulmospark run my.toml --out s3://hospital/runs/mine
    """
)
@common.what_argument
@click.option(
    "--out",
    type=common.PLACE,
    help="Folder of the run, or its address in a store; default: as in the experiment.",
)
@click.option("--dry-run", is_flag=True, help="Only check the settings and list the stages.")
@common.set_option
@common.augment_option
@common.spark_options
@common.speech_options
def command(
    what: Path | StoreUri,
    out: Path | StoreUri | None,
    dry_run: bool,
    changes: tuple[str, ...],
    augment: bool | None,
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    from pulmospark.experiment.check import check_experiment

    experiment, run = common.open_run(what, changes, out)
    experiment = common.augmented(experiment, augment)
    plan = check_experiment(experiment)
    if dry_run:
        _say_plan(plan, run, as_json=as_json)
        return
    common.make_folder(run.root)

    # Seconds of import, which a wrong setting need not wait for.
    from pulmospark.cli import printing
    from pulmospark.experiment import pipeline

    silent = quiet or as_json
    with common.spark(master, conf, quiet=silent, meanwhile=pipeline.import_stages) as spark:
        result = pipeline.run_all(experiment, run, spark, quiet=silent)
    common.say_result(
        result, lambda: printing.say_run(result, phantoms=experiment.phantoms), as_json=as_json
    )
    if result.audit is not None:
        from pulmospark.experiment.audit import check_strict

        check_strict(result.audit, experiment.audit)


def _say_plan(plan: Plan, run: RunFolder, *, as_json: bool) -> None:
    if as_json:
        common.say_json({"folder": str(run.root), **dataclasses.asdict(plan)})
        return
    for source in plan.sources:
        common.say(f"source {source}")
    common.say(f"starts from {plan.weights}")
    common.say(f"stages: {', '.join(plan.stages)}")
    common.say(f"folder: {run.root}")
