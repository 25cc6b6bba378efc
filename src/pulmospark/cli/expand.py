"""``pulmospark expand``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pulmospark.cli import common
from pulmospark.core import limits

if TYPE_CHECKING:
    from pulmospark.core.store_uri import StoreUri


@click.command(
    help="""Build a table of augmented training images, N per class.

    TABLE is the folder of a run, also in a store, or a folder with an images table. Each class
    then has N rows, including its original images. Only training images are augmented, and an
    augmented copy is used only where its original is.

    \b
    Example:
      pulmospark expand runs/mine --per-class 26000
      pulmospark train runs/mine --set train.expanded=true
    """
)
@click.argument("table", type=common.PLACE)
@click.option(
    "--per-class",
    type=click.IntRange(1, limits.EXPAND_PER_CLASS_MAX),
    metavar="N",
    help="Rows per class, including the original images.",
)
@click.option("--out", type=common.PATH, help="Output folder; default: the run's expanded/.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Seed of the augmentation.")
@click.option(
    "--config",
    type=common.PATH,
    metavar="TOML",
    help="Experiment whose [expand] section is used; default: the run's own.",
)
@click.option("--cohort", type=common.PATH, help="Folder of a different cohort.")
@click.option(
    "--parents",
    type=common.PATH,
    metavar="FILE",
    help="Use only these images, one path or image_id per line.",
)
@common.spark_options
@common.speech_options
def command(
    table: Path | StoreUri,
    per_class: int | None,
    out: Path | None,
    seed: int | None,
    config: Path | None,
    cohort: Path | None,
    parents: Path | None,
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    from pulmospark.config.experiment import read_experiment
    from pulmospark.experiment.expand_inputs import expansion, find_place
    from pulmospark.experiment.run_folder import local_run, published

    folder, run = local_run(table)
    if run is not None:
        common.show_addresses(run)
    place = find_place(folder, cohort=cohort, out=out)
    experiment = read_experiment(config) if config else place.experiment
    settings, seed = expansion(experiment, per_class, seed)
    only = _lines(parents) if parents else None

    # Seconds of import, which a wrong setting need not wait for.
    from pulmospark.cli import printing
    from pulmospark.data.expand.expand import expand

    with (
        published(run) if run else contextlib.nullcontext(),
        common.spark(master, conf, quiet=quiet or as_json) as spark,
    ):
        result = expand(
            place.images,
            place.cohort,
            settings,
            place.target,
            spark,
            seed=seed,
            only=only,
            quiet=quiet or as_json,
        )
    common.say_result(result, lambda: printing.say_expand(result), as_json=as_json)


def _lines(path: Path) -> list[str]:
    from pulmospark.core.errors import UsageError
    from pulmospark.core.locations import local_text

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--parents {path}: not a readable text file: {error}") from error
    return [local_text(line.strip()) for line in text.splitlines() if line.strip()]
