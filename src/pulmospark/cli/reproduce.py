"""``pulmospark reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import pulmospark
from pulmospark.cli import common

if TYPE_CHECKING:
    from pulmospark.core.store_uri import StoreUri
    from pulmospark.experiment.papers.presets import Preset


@click.command(
    help=f"""Reproduce a published experiment and compare the results.

    Without a PRESET the presets are listed. --data holds public data sets side by side; they are
    recognised by their layouts. The output lists what the paper does not specify, with the
    choices made, and where your data are smaller than the paper's. If the paper splits after
    augmenting, both orders are run and the difference is shown.

    {pulmospark.NOT_A_MEDICAL_DEVICE}

    \b
    Example:
      pulmospark reproduce belman-lopez-2022-binary --data data
    """
)
@click.argument("preset", required=False)
@click.option("--data", type=common.PATH, help="Folder of the data sets.")
@click.option(
    "--out",
    type=common.PLACE,
    default=Path("runs"),
    show_default=True,
    help="Folder of the run's folder; may be an address in a store.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=20201, show_default=True)
@click.option("--processes", type=click.IntRange(1, 64), help="Processes for CNN training.")
@click.option(
    "--per-class",
    type=click.IntRange(min=1),
    help="Rows per class after augmentation. Default: the paper's, in proportion to images.",
)
@click.option("--full-count", is_flag=True, help="The paper's number of rows, from fewer images.")
@common.set_option
@common.spark_options
@common.speech_options
def command(
    preset: str | None,
    data: Path | None,
    out: Path | StoreUri,
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
    from pulmospark.experiment.papers.presets import preset_of

    if preset is None:
        _say_presets(as_json)
        return
    chosen = preset_of(preset)
    if data is None:
        raise UsageError("--data is missing: name the folder that holds the data sets")

    from pulmospark.cli import printing_comparisons
    from pulmospark.experiment.papers.reproduce import check_per_class, experiment_of, reproduce
    from pulmospark.experiment.run_folder import run_folder, with_changes
    from pulmospark.spark.session import slots

    quiet = quiet or as_json
    overrides = common.pairs(changes, "--set")
    rows = _rows(chosen, per_class, full_count)
    check_per_class(chosen, rows)
    experiment_of(chosen, data, out, seed=seed, processes=1)
    with common.spark(master, conf, quiet=quiet) as spark:
        preset_experiment = experiment_of(
            chosen,
            data,
            out.expanduser().resolve() if isinstance(out, Path) else out,
            seed=seed,
            processes=processes or min(2, slots(spark)),
        )
        experiment = with_changes(preset_experiment, overrides)
        run = run_folder(experiment)
        common.show_addresses(run)
        result = reproduce(
            chosen,
            experiment,
            run,
            spark,
            per_class=rows,
            quiet=quiet,
        )
    common.say_result(
        result, lambda: printing_comparisons.say_reproduction(result), as_json=as_json
    )


def _rows(preset: Preset, per_class: int | None, full_count: bool) -> int | None:
    """Return the rows per class; ``None``: the paper's, in proportion."""
    from pulmospark.core.errors import UsageError

    if not full_count:
        return per_class
    if per_class is not None or not preset.expanded_to:
        raise UsageError(
            "--full-count: requires a preset with a number of rows (akter-2021), and excludes "
            "--per-class"
        )
    return preset.expanded_to


def _say_presets(as_json: bool) -> None:
    from pulmospark.experiment.papers.presets import PRESETS

    if as_json:
        rows = [
            {
                "name": preset.name,
                "source": preset.source,
                "published": preset.published.accuracy,
            }
            for preset in PRESETS.values()
        ]
        common.say_json({"presets": rows})
        return
    for preset in PRESETS.values():
        common.say(f"{preset.name}: {preset.published.accuracy:.2%} published; {preset.source}")
