"""``pulmospark audit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pulmospark.cli import common

if TYPE_CHECKING:
    from pulmospark.core.store_uri import StoreUri


@click.command(
    help="""Audit the data, the split and the model.

    RUN_OR_TABLE is an experiment's TOML file, the folder of a run, or an images table, such as
    the output of an ingest, each of them also in a store.

    \b
    Examples:
      pulmospark audit runs/mine
      pulmospark audit runs/mine --all --strict
      pulmospark audit runs/mine/tables --out audits
    """
)
@click.argument("what", metavar="RUN_OR_TABLE", type=common.PLACE)
@click.option("--strict", is_flag=True, help="A failed audit ends with exit code 5.")
@click.option(
    "--all",
    "costly",
    is_flag=True,
    help="Also run the audits that need the model: covered lungs, one source excluded, ...",
)
@click.option("--bundle", type=common.PLACE, help="Model to audit; by default the run's own.")
@click.option(
    "--out",
    type=common.PATH,
    help="Output folder; only for a table. Default: `audit` next to it.",
)
@common.set_option
@common.spark_options
@common.speech_options
def command(
    what: Path | StoreUri,
    strict: bool,
    costly: bool,
    bundle: Path | StoreUri | None,
    out: Path | None,
    changes: tuple[str, ...],
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    from pulmospark.core.errors import UsageError
    from pulmospark.experiment.run_folder import is_run, local_copy

    flags = {"strict": strict, "costly": costly}
    changes += tuple(f"audit.{name}=true" for name, wanted in flags.items() if wanted)
    of_run = is_run(what)
    if of_run and out is not None:
        raise UsageError("--out is for a table: a run's audit is written to its own folder")
    if of_run:
        experiment, run = common.open_run(what, changes)
        settings = experiment.audit
    else:
        from pulmospark.experiment.audit import images_of, table_settings

        settings = table_settings(common.pairs(changes, "--set"))
        table = local_copy(what)
        images_of(table)  # seconds before Spark is there
        if out is None:
            _check_beside(table)

    # Seconds of import, which a wrong setting need not wait for.
    from pulmospark.cli import printing
    from pulmospark.experiment import audit, pipeline
    from pulmospark.experiment.evaluate import other_evaluation
    from pulmospark.models.bundle.bundle import bundle_folder

    silent = quiet or as_json
    model = None if bundle is None else bundle_folder(bundle)
    with common.spark(master, conf, quiet=silent) as spark:
        if of_run:
            report = pipeline.run_audit(experiment, run, spark, bundle=model, quiet=silent)
            folder = run.audit
            phantoms = experiment.phantoms
            if (why := other_evaluation(run)) is not None:
                common.warn(f"the report was not written: {why}")
            elif (run.evaluation / "evaluation.json").is_file():
                pipeline.run_report(experiment, run, quiet=silent)
        else:
            folder, phantoms = (out or table.resolve().parent / "audit"), False
            report = audit.audit_table(table, settings, folder, spark, bundle=model, quiet=silent)
    if as_json:
        common.say_json(report.model_dump(mode="json"))
    else:
        printing.say_audit(report, phantoms=phantoms)
        common.say(f"audit: {folder / 'audit.html'}")
    audit.check_strict(report, settings)


def _check_beside(table: Path) -> None:
    """Refuse to overwrite a run's own audit with that of its tables."""
    from pulmospark.core.errors import UsageError

    run = table.resolve().parent
    if (run / "experiment.json").is_file():
        raise UsageError(
            f"{table}: belongs to the run {run}, whose own audit is in {run / 'audit'}: name the "
            "run itself, or another folder with --out"
        )
