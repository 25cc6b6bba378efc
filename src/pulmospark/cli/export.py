"""``pulmospark export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

import pulmospark
from pulmospark.cli import common

if TYPE_CHECKING:
    from pulmospark.scoring.export import ExportResult

_MB = 1_000_000


@click.command(
    help=f"""Write a bundle as ONNX or OpenVINO, for other programs.

    The file takes grey standard images (uint8) and gives probabilities: standardisation,
    temperature and softmax are inside, and what it is stands in its metadata. Before it
    appears it is run on films and compared with the bundle; where a probability differs,
    nothing is written. --out is a file ending in .onnx, or for OpenVINO a folder.

    {pulmospark.NOT_A_MEDICAL_DEVICE}

    \b
    Examples:
      pulmospark export runs/mine/bundle --to openvino --out exported --films films
      pulmospark export runs/mine/bundle --to onnx --out detector.onnx
    """
)
@click.argument("bundle", type=common.PATH)
@click.option(
    "--to", "form", type=click.Choice(["onnx", "openvino"]), required=True, help="The form."
)
@click.option("--out", type=common.PATH, required=True, help="Where to.")
@click.option(
    "--films",
    multiple=True,
    type=common.PATTERN,
    metavar="PATH",
    help="Films to check it on: a file, a folder or a quoted pattern; may be repeated. "
    "Without it phantoms are drawn.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(bundle: Path, form: str, out: Path, films: tuple[str, ...], as_json: bool) -> None:
    """Run it."""
    from pulmospark.scoring.export import export_bundle

    result = export_bundle(bundle, cast('Literal["onnx", "openvino"]', form), out, films)
    if as_json:
        common.say_json(result.model_dump(mode="json"))
        return
    _say(result)


def _say(result: ExportResult) -> None:
    noun = common.count(result.films, "phantom" if result.phantoms else "film")
    programs = " and ".join(result.checked_with)
    common.say(f"{result.path}: {result.model}, {result.bytes / _MB:.1f} MB")
    common.say(
        f"  checked with {programs} on {noun}: no probability is more than "
        f"{result.largest_difference:.1e} from the bundle's"
    )
    if result.phantoms:
        common.say("  phantoms are drawn by a program: --films checks it on films of your own")
    if result.unreadable:
        common.warn(f"{common.count(result.unreadable, 'film')} could not be read")
    common.say(pulmospark.NOT_A_MEDICAL_DEVICE)
