"""``pulmospark reproduce``."""

from __future__ import annotations

from pathlib import Path

import click

import pulmospark
from pulmospark.cli import common


@click.command(
    help=f"""Repeat a published experiment, and show the paper's figure beside ours.

    PRESET is a name; without one they are listed. DIR holds public data sets side by side: they
    are recognised by their layouts. What the paper leaves open is said, and what was taken; so
    is where the data at hand is smaller than the paper's.

    {pulmospark.NOT_A_MEDICAL_DEVICE}

    \b
    Example:
      pulmospark reproduce belman-lopez-2022-binary --data data
    """
)
@click.argument("preset", required=False)
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the data sets.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=20201, show_default=True)
@click.option("--processes", type=click.IntRange(1, 64), help="Of the training of a CNN.")
@common.set_option
@common.spark_options
@common.speech_options
def command(
    preset: str | None,
    data: Path | None,
    out: Path,
    seed: int,
    processes: int | None,
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
    from pulmospark.experiment.reproduce import experiment_of, reproduce
    from pulmospark.spark.session import slots, spark_session

    quiet = quiet or as_json
    asked = common.pairs(changes, "--set")
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
        result = reproduce(chosen, experiment, run_folder(experiment), spark, quiet=quiet)
    if as_json:
        common.say_json(result.model_dump(mode="json"))
    else:
        words.say_reproduction(result)


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
