"""``pulmospark ingest``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pulmospark.cli import common
from pulmospark.core.errors import UsageError

if TYPE_CHECKING:
    from pulmospark.config.experiment import Experiment
    from pulmospark.core.store_uri import StoreUri
    from pulmospark.experiment.run_folder import RunFolder
    from pulmospark.spark.engine_choice import EngineName


@click.command(
    help="""Build the images and rejects tables from folders of images.

    WHAT is an experiment's TOML file, the folder of a run, or folders (or CSV files) of images.
    The TOML file, the run and CSV files may lie in a store. Files that are already ingested are
    not read again.

    \b
    Examples:
      pulmospark ingest covid-chestxray-dataset chest_xray --out runs/mine
      pulmospark ingest s3://hospital/study.csv --out s3://hospital/runs/study
    """
)
@click.argument("what", nargs=-1, required=True, type=common.PLACE)
@click.option(
    "--out", type=common.PLACE, help="Folder of the run (with folders), or its address in a store."
)
@click.option("--layout", type=common.LAYOUT, help="Layout of the folders; default: detected.")
@click.option(
    "--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the layout."
)
@common.set_option
@common.engine_option
@common.spark_options
@common.speech_options
def command(
    what: tuple[Path | StoreUri, ...],
    out: Path | StoreUri | None,
    layout: str | None,
    options: tuple[str, ...],
    changes: tuple[str, ...],
    engine: EngineName,
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    overrides = common.pairs(changes, "--set")
    layout_options = common.pairs(options, "--option")
    experiment, run = _experiment(what, out, layout, layout_options, overrides)
    common.show_addresses(run)
    common.check_sources(experiment)
    common.make_folder(run.root)

    # Seconds of import, which a wrong path need not wait for.
    from pulmospark.cli import printing
    from pulmospark.experiment import pipeline

    quiet = quiet or as_json
    with common.engine_choice(
        engine, master, conf, preload=("pulmospark.data.ingest.ingest",), quiet=quiet
    ) as workers:
        result = pipeline.run_ingest(experiment, run, workers, quiet=quiet)
    if as_json:
        common.say_json(result.model_dump(mode="json"))
        return
    printing.say_ingest(result)


def _experiment(
    what: tuple[Path | StoreUri, ...],
    out: Path | StoreUri | None,
    layout: str | None,
    options: dict[str, str],
    changes: dict[str, str],
) -> tuple[Experiment, RunFolder]:
    from pulmospark.config.experiment import Experiment
    from pulmospark.config.parse import parse
    from pulmospark.config.source import SourceSettings
    from pulmospark.experiment.run_folder import open_experiment, run_at, with_changes

    if len(what) == 1 and _is_experiment(first := what[0]):
        if out or layout or options:
            raise UsageError("--out, --layout and --option apply to folders, not to an experiment")
        return open_experiment(first, changes)
    if out is None:
        raise UsageError("--out is missing: name the folder of the run")
    sources = [
        SourceSettings(
            path=path.expanduser().resolve() if isinstance(path, Path) else path,
            layout=layout,
            options=options,
        ).model_dump()
        for path in what
    ]
    root = out.expanduser().resolve() if isinstance(out, Path) else out
    values = {"name": root.name, "out": root.parent, "sources": sources}
    experiment = with_changes(parse(Experiment, values, where="command line"), changes)
    return experiment, run_at(root)


def _is_experiment(what: Path | StoreUri) -> bool:
    from pulmospark.layouts.archived import is_archived
    from pulmospark.layouts.datasets.csv_table import SHEET_ENDS
    from pulmospark.store.archives import is_archive

    if isinstance(what, Path):
        return what.suffix == ".toml" or (what / "experiment.json").is_file()
    is_source = is_archive(what.name) or is_archived(str(what))
    return not is_source and not what.name.lower().endswith(SHEET_ENDS)
