"""``pulmospark export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

import pulmospark
from pulmospark.cli import common
from pulmospark.cli.outputs import written_to

if TYPE_CHECKING:
    from pulmospark.core.store_uri import StoreUri
    from pulmospark.inference.export.export import ExportResult

_MB = 1_000_000


@click.command(
    help=f"""Export a bundle to ONNX or OpenVINO, for other programs.

    The exported model maps grey standard images (uint8) to probabilities. It includes
    standardisation, temperature and softmax; its metadata describe it. Before it is written,
    it is run on images and compared with the bundle; if a probability differs, nothing is
    written. --out is a file ending in .onnx, or a folder for OpenVINO. Bundle
    and output may lie in a store.

    {pulmospark.NOT_A_MEDICAL_DEVICE}

    \b
    Examples:
      pulmospark export runs/mine/bundle --to openvino --out exported --images images
      pulmospark export runs/mine/bundle --to onnx --out detector.onnx
    """
)
@click.argument("bundle", type=common.PLACE)
@click.option(
    "--to", "form", type=click.Choice(["onnx", "openvino"]), required=True, help="Format."
)
@click.option("--out", type=common.PLACE, required=True, help="Output file or folder.")
@click.option(
    "--images",
    multiple=True,
    type=common.PATTERN,
    metavar="PATH",
    help="Images for the check: a file, a folder or a quoted pattern; may be repeated. "
    "Default: phantoms.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    bundle: Path | StoreUri,
    form: str,
    out: Path | StoreUri,
    images: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run it."""
    from pulmospark.inference.engine.openvino_compile import IR_FILE
    from pulmospark.inference.export.export import export_bundle

    chosen = cast('Literal["onnx", "openvino"]', form)
    with written_to(out, IR_FILE if form == "openvino" else None) as target:
        result = export_bundle(bundle, chosen, target, images)
    if as_json:
        common.say_json(result.model_dump(mode="json"))
        return
    _say(result)


def _say(result: ExportResult) -> None:
    noun = common.count(result.images, "phantom" if result.phantoms else "image")
    programs = " and ".join(result.checked_with)
    common.say(f"{result.path}: {result.model}, {result.bytes / _MB:.1f} MB")
    common.say(
        f"  checked with {programs} on {noun}: probabilities differ from the bundle's by at most "
        f"{result.largest_difference:.1e}"
    )
    if result.phantoms:
        common.say("  phantoms are synthetic: use --images to check it on your own images")
    if result.unreadable:
        common.warn(f"{common.count(result.unreadable, 'image')} could not be read")
    common.say(pulmospark.NOT_A_MEDICAL_DEVICE)
