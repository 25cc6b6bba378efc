"""``pulmospark evaluate``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pulmospark.cli import common
from pulmospark.cli.outputs import written_to
from pulmospark.core.errors import UsageError
from pulmospark.core.store_uri import StoreUri

if TYPE_CHECKING:
    from pulmospark.config.experiment import Experiment


@click.command(
    help="""Evaluate a model on its test set or on external data.

    EXPERIMENT is its TOML file, or the folder of a run. With an external TABLE (the output of
    `pulmospark ingest`) EXPERIMENT is a run or a bundle, and external performance is compared
    with internal performance; each may lie in a store. Images and slices are always evaluated one
    by one; --level adds metrics per CT scan or patient. Spark starts only for a TABLE.

    \b
    Examples:
      pulmospark evaluate runs/mine --json
      pulmospark evaluate runs/ct --level scan --level patient --set evaluate.pooling=top_k
      pulmospark evaluate runs/mine/bundle runs/other/tables --class "COVID-19=covid*"
    """
)
@common.what_argument
@click.argument("table", required=False, type=common.PLACE)
@click.option(
    "--level",
    "levels",
    multiple=True,
    type=click.Choice(["slice", "scan", "patient"]),
    help="Also evaluate scans or patients, like evaluate.levels.",
)
@click.option(
    "--class",
    "mapping",
    multiple=True,
    metavar="CLASS=FINDING,...",
    help="Map findings of the table to a class of the bundle. May be repeated.",
)
@click.option(
    "--recalibrate",
    type=click.IntRange(1),
    help="Also recalibrate on this many patients of the table, and evaluate on the others.",
)
@click.option(
    "--out",
    type=common.PLACE,
    help="Output folder for a table. Default: `external` next to the bundle.",
)
@common.set_option
@common.spark_options
@common.speech_options
def command(
    what: Path | StoreUri,
    table: Path | StoreUri | None,
    levels: tuple[str, ...],
    mapping: tuple[str, ...],
    recalibrate: int | None,
    out: Path | StoreUri | None,
    changes: tuple[str, ...],
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    if table is not None:
        if changes:
            raise UsageError("--set requires an experiment: a table uses the bundle's settings")
        classes = {k: tuple(v.split(",")) for k, v in common.pairs(mapping, "--class").items()}
        _external(what, table, classes, recalibrate or 0, out, master, conf, as_json, quiet)
        return
    if mapping or recalibrate or out:
        raise UsageError("--class, --recalibrate and --out need a TABLE after EXPERIMENT")
    if master or conf:
        common.warn("--master and --conf have no effect: a run is evaluated without Spark")
    experiment, run = common.open_run(what, changes)
    if levels:
        experiment = _with_levels(experiment, levels)

    # Seconds of import, which a wrong setting need not wait for.
    from pulmospark.cli import printing
    from pulmospark.experiment import pipeline

    result = pipeline.run_evaluate(experiment, run, quiet=quiet or as_json)
    common.say_result(
        result,
        lambda: printing.say_evaluate(result, phantoms=experiment.phantoms),
        as_json=as_json,
    )


def _with_levels(experiment: Experiment, levels: tuple[str, ...]) -> Experiment:
    from pulmospark.config.experiment import Experiment
    from pulmospark.config.parse import parse

    values = experiment.model_dump(mode="json")
    # Slices are always evaluated.
    values["evaluate"]["levels"] = [name for name in levels if name != "slice"]
    return parse(Experiment, values, where="--level")


def _external(
    what: Path | StoreUri,
    table: Path | StoreUri,
    classes: dict[str, tuple[str, ...]],
    recalibrate: int,
    out: Path | StoreUri | None,
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    from pulmospark.chunks.shared_store import SharedStore
    from pulmospark.cli import printing_comparisons
    from pulmospark.experiment.external import RESULT, evaluate_external
    from pulmospark.experiment.run_folder import (
        bundle_of_run,
        local_copy,
        published,
        shared_store,
    )

    bundle, run = bundle_of_run(what)
    images = local_copy(table)
    with contextlib.ExitStack() as stack:
        if out is None and run is not None:
            common.show_addresses(run)
            stack.enter_context(published(run))
        home = bundle.resolve().parent if run is None else run.root
        target = stack.enter_context(written_to(out or home / "external", RESULT))
        store = None if run is None or out else shared_store(run)
        if isinstance(out, StoreUri):
            store = SharedStore(target.parent, out)
        spark = stack.enter_context(common.spark(master, conf, quiet=quiet or as_json))
        result = evaluate_external(
            bundle,
            images,
            target,
            spark,
            classes=classes,
            recalibrate=recalibrate,
            store=store,
            quiet=quiet or as_json,
        )
        if store is not None:
            store.clear()
    common.say_result(result, lambda: printing_comparisons.say_external(result), as_json=as_json)
