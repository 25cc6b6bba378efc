"""``python -m benchmarks [NAME...]``: all benchmarks, or those named."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from benchmarks.common import Options, command_line, facts, publish, python, start
from benchmarks.object_server import SERVERS

NAMES = (
    "ingest",
    "features",
    "memory",
    "list_memory",
    "training",
    "expand",
    "experiment",
    "fits",
    "operating_point",
    "finetune",
    "finetune_speed",
    "cluster",
    "score",
    "cold",
    "scale",
    "score_memory",
    "archive",
    "store",
    "store_kills",
    "list_store",
    "tables",
    "table_limits",
    "store_training",
    "stream",
    "stream_kills",
    "kills",
    "wrong_settings",
    "dicom",
    "image_memory",
    "slow_files",
    "ccccii",
    "near_duplicates",
    "real_duplicates",
    "audit_faults",
    "audit_models",
    "lungs",
    "heat_maps",
    "cautions",
    "view_guess",
    "demo",
    "serve_latency",
    "serve_kills",
    "serve_fuzz",
    "page",
)
SMALL = Options(
    files=40,
    images=40,
    sizes=(20, 40),
    rows=(80, 160),
    planned=600,
    slices=(900, 1800),
    models=("squeezenet1_1",),
    epochs=1,
    score_images=(40, 80),
    listed=(300, 600),
    patients=30,
    slots=(1,),
    stream_images=4,
    stream_lying=50,
    stream_load=40,
    kills=2,
    kill_images=100,
    store_images=40,
    repeats=1,
    small=True,
)
"""A smoke test: everything is run, and no figure means anything."""


@click.command(
    help=f"""Run benchmarks, each in a process of its own: {", ".join(NAMES)}; all by default.

    Each prints a small table and writes build/benchmarks/NAME.json.

    \b
    Example:
      python -m benchmarks ingest features --repeats 7
    """
)
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option("--small", is_flag=True, help="A smoke test at tiny sizes.")
@click.option("--repeats", type=click.IntRange(1), help="Rounds of each program.")
@click.option("--files", type=click.IntRange(1), help="Files of ingest.")
@click.option("--images", type=click.IntRange(1), help="Images of features.")
@click.option("--sizes", help="Numbers of images of memory: 1000,5000,20000.")
@click.option("--rows", help="Numbers of rows of expand: 5000,52000.")
@click.option("--planned", type=click.IntRange(1), help="Images of cluster.")
@click.option("--slices", help="Numbers of slices of ccccii (archive: the last): 61778,617775.")
@click.option("--training", type=click.IntRange(32), help="Images of training, an epoch.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs of store_training.")
@click.option("--models", help="Networks of training and score: mobilenet_v2,resnet50.")
@click.option(
    "--kills",
    type=click.IntRange(1),
    help="Kills of stream_kills, store_kills; of kills, up to 60.",
)
@click.option("--failing", type=click.FloatRange(0, 0.5), help="Share of failing requests: 0.05.")
@click.option("--kill-images", type=click.IntRange(1), help="Files of stream_kills.")
@click.option("--store-images", type=click.IntRange(1), help="Images of store_kills.")
@click.option(
    "--server", type=click.Choice(SERVERS), help="S3 server of both, of the latter with --store."
)
@click.option("--store", is_flag=True, help="Inbox and output of stream_kills in a store.")
@click.option("--stream-load", type=click.IntRange(1), help="Images of a round of stream.")
@click.option(
    "--score-images", help="Numbers of images of score, cold and score_memory: 2000,20000,100000."
)
@click.option("--peers", is_flag=True, help="In cold: predict alone, next to other frameworks.")
@click.option("--slots", help="Slots of scale: 1,2.")
@click.option("--nodes", type=click.IntRange(1), help="Machines of scale, for the cost.")
@click.option("--price-per-hour", type=click.FloatRange(0), help="Of a machine of scale.")
@click.option("--master", help="Spark master of scale; this machine by default.")
@click.option("--ray", help="Address of scale's Ray cluster, for Ray Data and Daft.")
@click.option("--at", help="Folder that all machines mount, or a bucket, for scale's images.")
@click.option("--listed", help="Numbers of images of list_memory: 10000,10000000.")
@click.option("--patients", type=click.IntRange(30), help="Made-up patients of the demo.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the public data sets; by default ../shared/data where it is.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results.")
def command(  # noqa: PLR0917 - click gives them by name
    names: tuple[str, ...],
    small: bool,
    sizes: str | None,
    rows: str | None,
    slices: str | None,
    models: str | None,
    **given: Any,
) -> None:
    """Run them."""
    told: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if sizes is not None:
        told["sizes"] = _sizes(sizes)
    if rows is not None:
        told["rows"] = _sizes(rows)
    if slices is not None:
        told["slices"] = _sizes(slices)
    told |= {
        key: _sizes(told[key])
        for key in ("sizes", "rows", "score_images", "slots", "listed")
        if key in told
    }
    if models is not None:
        told["models"] = tuple(models.split(","))
    options = replace(SMALL if small else Options(), **told)
    if len(names) == 1:
        _run(names[0], options)
        return
    # A fresh process for each: Spark's JVM and what is imported outlive a benchmark.
    arguments = _arguments()
    failed = [
        name
        for name in names or NAMES
        if start(python("-m", "benchmarks", name, *arguments)).wait()
    ]
    if failed:
        raise SystemExit(f"benchmarks: failed: {', '.join(failed)}")


def _run(name: str, options: Options) -> None:
    before = facts()
    module = importlib.import_module(f"benchmarks.{name}")
    publish(module.measure(options), options, command_line(name, _arguments()), before)


def _arguments() -> list[str]:
    return [text for text in sys.argv[1:] if text not in NAMES]


def _sizes(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise click.BadParameter(f"{text!r}: give numbers of images, as 1000,5000,20000")
    return found


if __name__ == "__main__":
    command()
