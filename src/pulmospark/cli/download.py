"""``pulmospark download``."""

from __future__ import annotations

from pathlib import Path

import click

from pulmospark.cli import common
from pulmospark.core import limits

_MB = 10**6
_GB = 1024**3


@click.command(
    help="""Download a public data set over https.

    NAME is the name of its layout, as listed by `pulmospark layouts`. Rerun the command to resume
    an interrupted download. Data sets that require an agreement are not available; observe the
    licence that is shown.

    \b
    Examples:
      pulmospark download figure1 --out data
      pulmospark download covid_chestxray --out data --sha256 HEX
    """
)
@click.argument("name")
@click.option(
    "--out",
    type=common.PATH,
    default=Path("data"),
    show_default=True,
    help="Folder for data sets; the subfolder NAME is created.",
)
@click.option("--sha256", help="Expected SHA-256 of the archive.")
@click.option(
    "--max-gb",
    type=click.FloatRange(min=0, min_open=True),
    default=limits.DATA_SET_ARCHIVE_BYTES_MAX / _GB,
    show_default=True,
    help="Maximum download size in gigabytes (2^30 bytes).",
)
@click.option(
    "--max-minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=limits.DATA_SET_FETCH_MINUTES_MAX,
    show_default=True,
    help="Maximum duration in minutes.",
)
@common.speech_options
def command(
    name: str,
    out: Path,
    sha256: str | None,
    max_gb: float,
    max_minutes: float,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    from pulmospark.core.download import Bounds
    from pulmospark.core.progress import Progress
    from pulmospark.layouts.download import fetch_data_set

    bounds = Bounds(
        int(max_gb * _GB),
        max_minutes * 60,
        bytes_remedy="raise it with --max-gb if the size is right",
        seconds_remedy="rerun to resume, or raise --max-minutes",
    )
    with Progress("download", 0, "MB", quiet=quiet or as_json) as progress:

        def report(done: int, total: int) -> None:
            progress.expect(total // _MB)
            progress.to(done // _MB)

        result = fetch_data_set(
            name, out.expanduser().resolve(), bounds, sha256=sha256, progress=report
        )
    if as_json:
        common.say_json(result.model_dump(mode="json"))
        return
    files = "already downloaded" if result.already else f"{result.files:,} files"
    common.say(f"{result.layout}: {files}, {result.folder}")
    checked = (
        "as expected" if result.checked else "stored; pass it as --sha256 to get the same version"
    )
    common.say(f"SHA-256 of the archive {result.sha256} ({checked})")
    common.say(f"licence: {result.licence}")
