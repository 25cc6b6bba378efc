"""``pulmospark reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import pulmospark
from pulmospark.cli import common

if TYPE_CHECKING:
    from pulmospark.experiment.presets import Preset


@click.command(
    help=f"""Repeat a published experiment, and show the paper's figure beside ours.

    PRESET is a name; without one they are listed. DIR holds public data sets side by side: they
    are recognised by their layouts. What the paper leaves open is said, and what was taken; so
    is where the data at hand is smaller than the paper's. A paper that splits after augmenting is
    run both ways, and the difference is shown.

    {pulmospark.NOT_A_MEDICAL_DEVICE}

    \b
    Example:
      pulmospark reproduce belman-lopez-2022-binary --data data
    """
)
@click.argument("preset", required=False)
@click.option("--data", type=common.PATH, help="Folder of the data sets.")
@click.option("--out", type=common.PATH, default=Path("runs"), show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=20201, show_default=True)
@click.option("--processes", type=click.IntRange(1, 64), help="Of the training of a CNN.")
@click.option(
    "--per-class",
    type=click.IntRange(min=1),
    help="Rows of each class after augmentation. Default: the paper's, in proportion to films.",
)
@click.option("--full-count", is_flag=True, help="As many rows as the paper has, of fewer films.")
@common.set_option
@common.spark_options
@common.speech_options
def command(
    preset: str | None,
    data: Path | None,
    out: Path,
    seed: int,
    processes: int | None,
    per_class: int | None,
    full_count: bool,
    changes: tuple[str, ...],
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    from pulmospark.core.errors import UsageError
    from pulmospark.experiment.presets import preset_of

    if preset is None:
        _say_presets(as_json)
        return
    chosen = preset_of(preset)
    if data is None:
        raise UsageError("--data is missing: name the folder that holds the data sets")

    from pulmospark.cli import words
    from pulmospark.experiment.folder import run_folder, with_changes
    from pulmospark.experiment.reproduce import check_per_class, experiment_of, reproduce
    from pulmospark.spark.session import slots, spark_session

    quiet = quiet or as_json
    asked = common.pairs(changes, "--set")
    rows = _rows(chosen, per_class, full_count)
    check_per_class(chosen, rows)
    experiment_of(chosen, data, out, seed=seed, processes=1)
    with spark_session(master, common.pairs(conf, "--conf")) as spark:
        made = experiment_of(
            chosen,
            data,
            out.expanduser().resolve(),
            seed=seed,
            processes=processes or min(2, slots(spark)),
        )
        experiment = with_changes(made, asked)
        result = reproduce(
            chosen,
            experiment,
            run_folder(experiment),
            spark,
            per_class=rows,
            quiet=quiet,
        )
    common.say_result(result, lambda: words.say_reproduction(result), as_json=as_json)


def _rows(preset: Preset, per_class: int | None, full_count: bool) -> int | None:
    """Rows of each class; ``None``: the paper's, in proportion."""
    from pulmospark.core.errors import UsageError

    if not full_count:
        return per_class
    if per_class is not None or not preset.expanded_to:
        raise UsageError(
            "--full-count: goes with presets that name a number of rows (akter-2021), and without "
            "--per-class"
        )
    return preset.expanded_to


def _say_presets(as_json: bool) -> None:
    from pulmospark.experiment.presets import PRESETS

    if as_json:
        told = [
            {"name": one.name, "source": one.source, "published": one.published.accuracy}
            for one in PRESETS.values()
        ]
        common.say_json({"presets": told})
        return
    for one in PRESETS.values():
        common.say(f"{one.name}: {one.published.accuracy:.2%} published; {one.source}")
