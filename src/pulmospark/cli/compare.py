"""``pulmospark compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import pulmospark
from pulmospark.cli import common

if TYPE_CHECKING:
    from pulmospark.core.store_uri import StoreUri


@click.command(
    help=f"""Train several networks on the same images and compare them.

    A network may be listed twice, with the training method after a colon: mobilenet_v2:features
    is frozen, under a logistic regression; mobilenet_v2:network is fine-tuned. A name alone uses
    the experiment's method.

    EXPERIMENT is its TOML file, or the folder of a run; ingest and split are run first if needed.
    The output is one table (JSON and CSV) and one page: accuracy with CI, training time,
    parameters, size, throughput, the Pareto frontier, and paired tests.

    {pulmospark.NOT_A_MEDICAL_DEVICE}

    \b
    Example:
      pulmospark compare runs/mine --models mobilenet_v2,squeezenet1_1,basic_cnn
      pulmospark compare runs/mine --models mobilenet_v2:features,mobilenet_v2:network
    """
)
@common.what_argument
@click.option("--models", required=True, help="Comma-separated list of MODEL or MODEL:METHOD.")
@common.set_option
@common.spark_options
@common.speech_options
def command(
    what: Path | StoreUri,
    models: str,
    changes: tuple[str, ...],
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    from pulmospark.data.cohort.lineage import is_made_with

    experiment, run = common.open_run(what, changes)
    ready = is_made_with(experiment, run.tables, run.cohort)
    if not ready:
        common.check_sources(experiment)

    # Seconds of import, which a wrong path need not wait for.
    from pulmospark.cli import printing_comparisons
    from pulmospark.experiment import pipeline
    from pulmospark.experiment.compare.arms import arms_of
    from pulmospark.experiment.compare.compare import compare

    names = [name.strip() for name in models.split(",") if name.strip()]
    arms_of(experiment, names)  # refused before anything is run
    quiet = quiet or as_json
    with common.spark(master, conf, quiet=quiet) as spark:
        if not ready:
            pipeline.run_ingest(experiment, run, spark, quiet=quiet)
            pipeline.run_split(experiment, run, spark, quiet=quiet)
        pipeline.run_expand(experiment, run, spark, quiet=quiet)
        result = compare(experiment, run, names, spark, quiet=quiet)
    common.say_result(result, lambda: printing_comparisons.say_comparison(result), as_json=as_json)
