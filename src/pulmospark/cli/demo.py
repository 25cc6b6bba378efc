"""``pulmospark demo``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pulmospark.cli import common

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@click.command(
    help="""Draw phantoms and run the whole pipeline on them.

    Phantoms are synthetic chest X-rays: the demo needs no patient, no data set and no network,
    and its results say nothing about real images. It draws them, writes them to disk in the
    layout of a public data set, ingests, splits, trains the basic CNN on Spark, evaluates it,
    and writes a report.

    \b
    Example:
      pulmospark demo --out demo
    """
)
@click.option(
    "--out",
    type=common.PATH,
    default=Path("demo"),
    show_default=True,
    help="Folder for the phantoms and the run.",
)
@click.option("--patients", type=click.IntRange(30, 20_000), default=320, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=20201, show_default=True)
@click.option("--processes", type=click.IntRange(1, 64), help="Training processes.")
@common.spark_options
@common.speech_options
def command(
    out: Path,
    patients: int,
    seed: int,
    processes: int | None,
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    quiet = quiet or as_json
    if not quiet:  # before seconds of imports
        common.say(f"drawing phantoms of {patients} synthetic patients, and starting Spark ...")

    from pulmospark.cli import printing
    from pulmospark.core.progress import stage
    from pulmospark.experiment import pipeline
    from pulmospark.experiment.demo import demo_experiment, draw_demo
    from pulmospark.experiment.run_folder import run_folder
    from pulmospark.spark.background_start import started_early
    from pulmospark.spark.preflight import wake_workers
    from pulmospark.spark.session import slots, spark_session

    folder = out.expanduser().resolve()
    session = spark_session(master, common.pairs(conf, "--conf"))

    def prepare(spark: SparkSession) -> None:
        wake_workers(spark)
        pipeline.import_stages()

    with started_early(session, first=prepare) as starting:
        drawn = draw_demo(folder, seed=seed, patients=patients, quiet=quiet)
        if not quiet:
            common.say(
                f"drew {drawn.frontal} frontal and {drawn.lateral} lateral phantoms of "
                f"{drawn.patients} synthetic patients, and {drawn.broken} broken files, into "
                f"{drawn.folder}"
            )
        with contextlib.ExitStack() as started:
            with stage("start Spark", quiet=quiet):
                spark = started.enter_context(starting)
            ranks = processes or min(2, slots(spark))
            experiment = demo_experiment(folder, drawn, processes=ranks)
            result = pipeline.run_all(experiment, run_folder(experiment), spark, quiet=quiet)
    common.say_result(
        result, lambda: printing.say_run(result, phantoms=experiment.phantoms), as_json=as_json
    )
