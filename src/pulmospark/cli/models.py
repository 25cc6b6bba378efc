"""``pulmospark models``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from pulmospark.cli import common

if TYPE_CHECKING:
    from pulmospark.models.zoo_entry import ZooEntry


@click.command(
    help="""List the networks that are known, or say all of those that are named.

    Beside those listed any classifier of torchvision goes by torchvision:NAME, and of timm,
    where it is installed, by timm:NAME.

    \b
    Examples:
      pulmospark models
      pulmospark models vgg19 torchvision:convnext_tiny
      pulmospark train runs/mine --set train.model=squeezenet1_1
    """
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Run it."""
    from pulmospark.models.catalogue import LIBRARIES, ZOO, entry

    told = [_facts(entry(name)) for name in names or ZOO]
    if as_json:
        common.say_json({"models": told})
    elif names:
        for one in told:
            _say_one(one)
    else:
        _say_table(told)
        others = " or ".join(f"{library}:NAME" for library in LIBRARIES)
        common.say(f"any other classifier: {others}; more of one: pulmospark models NAME")


def _facts(entry: ZooEntry) -> dict[str, Any]:
    flat = entry.flat_map
    return {
        "name": entry.name,
        "title": entry.title,
        "input_size": entry.input_size,
        "min_size": entry.min_size,
        "max_size": entry.max_size,
        "mean": entry.mean,
        "std": entry.std,
        "parameters": entry.parameters,
        "outputs": entry.outputs,
        "backbone_parameters": entry.backbone_parameters,
        "features": entry.width,
        "flattened": {"name": flat.name, "features": flat.width} if flat else None,
        "classes": entry.classes,
        "stages": len(entry.stages) or None,
        "frozen_stages": entry.frozen_stages,
        "guessed": entry.guessed,
        "fine_tuning": asdict(entry.fine_tuning),
        "from_scratch": asdict(entry.from_scratch),
        "source": entry.source,
        "weights": weights_facts(entry),
    }


def weights_facts(entry: ZooEntry) -> dict[str, Any]:
    """Whether ImageNet weights are published and lie on this machine; asks no network."""
    from pulmospark.core.errors import PulmosparkError
    from pulmospark.models.weights_files import find_local, nowhere

    found, remedy = None, None
    if entry.weights:
        try:
            path = find_local(entry)
            found, remedy = (str(path), None) if path else (None, nowhere(entry).message)
        except PulmosparkError as error:
            remedy = error.message
    return {
        "published": bool(entry.weights),
        "found": found,
        "licence": entry.weights_licence,
        "files": [
            {"name": file.name, "url": file.url or file.home, "licence": file.licence}
            for file in entry.weights
        ],
        "remedy": remedy,
    }


def _say_table(told: list[dict[str, Any]]) -> None:
    rows = [("name", "pixels", "parameters", "features", "ImageNet weights")]
    for one in told:
        weights = one["weights"]
        here = "here" if weights["found"] else "to be fetched"
        rows.append(
            (
                one["name"],
                str(one["input_size"]),
                f"{one['parameters']:,}",
                f"{one['features']:,}",
                here if weights["published"] else "none",
            )
        )
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        name, *figures, weights = (
            cell.rjust(width) if 0 < place < len(row) - 1 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        common.say("  ".join([name, *figures, weights]).rstrip())


def _say_one(one: dict[str, Any]) -> None:
    say = common.say
    size, least, most = one["input_size"], one["min_size"], one["max_size"]
    say(f"{one['name']}: {one['title']}")
    say(
        f"  made for {size} x {size} pixels, "
        + (f"{most} x {most} only" if most else f"{least} x {least} at least")
    )
    say(
        f"  {one['parameters']:,} parameters with its output layer of {one['outputs']:,}, "
        f"{one['backbone_parameters']:,} without; {one['features']:,} deep features"
    )
    if flat := one["flattened"]:
        say(f"  {flat['name']}: its last map flattened, {flat['features']:,} deep features")
    for guess in one["guessed"]:
        say(f"  not in the paper: {guess}")
    say(f"  {one['source']}")
    say(f"  trained from scratch with {_recipe(one['from_scratch'])}, unless you say otherwise")
    weights = one["weights"]
    if not weights["published"]:
        say("  no ImageNet weights are published: trained from scratch")
        return
    say(f"  fine-tuned with {_recipe(one['fine_tuning'])}, unless you say otherwise")
    say(f"  ImageNet weights: {weights['found'] or 'not on this machine yet'}")
    for file in weights["files"]:
        where = f", {file['url']}" if file["url"] else ""
        say(f"    {file['name']}{where}; licence: {file['licence'] or 'not told'}")


def _recipe(told: dict[str, Any]) -> str:
    rate, factor = told["learning_rate"], told["stage_factor"]
    each = "" if factor == 1 else f", x {factor:g} for each stage before the last layer"
    return f"a learning rate of {rate:g}{each}, batches of {told['batch_size']}"
