"""``pulmospark models``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from pulmospark.cli import common
from pulmospark.cli.table_output import say_table

if TYPE_CHECKING:
    from pulmospark.models.zoo.entry import ZooEntry


@click.command(
    help="""List the available networks, or show details of the given ones.

    Any other classifier of torchvision is available as torchvision:NAME, and of timm, if it is
    installed, as timm:NAME.

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
    from pulmospark.models.zoo.catalogue import LIBRARIES, ZOO, entry

    networks = [_facts(entry(name)) for name in names or ZOO]
    if as_json:
        common.say_json({"models": networks})
    elif names:
        for facts in networks:
            _say_details(facts)
    else:
        _say_table(networks)
        others = " or ".join(f"{library}:NAME" for library in LIBRARIES)
        common.say(f"any other classifier: {others}; details: pulmospark models NAME")


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
    """Whether ImageNet weights are published and on this machine; does not use the network."""
    from pulmospark.core.errors import PulmosparkError
    from pulmospark.models.weights.local_files import find_local, nowhere

    local, remedy = None, None
    if entry.weights:
        try:
            path = find_local(entry)
            local, remedy = (str(path), None) if path else (None, nowhere(entry).message)
        except PulmosparkError as error:
            remedy = error.message
    return {
        "published": bool(entry.weights),
        "found": local,
        "licence": entry.weights_licence,
        "files": [
            {"name": file.name, "url": file.url or file.home, "licence": file.licence}
            for file in entry.weights
        ],
        "remedy": remedy,
    }


def _say_table(networks: list[dict[str, Any]]) -> None:
    rows = []
    for facts in networks:
        weights = facts["weights"]
        availability = "available" if weights["found"] else "not downloaded"
        rows.append(
            (
                facts["name"],
                str(facts["input_size"]),
                f"{facts['parameters']:,}",
                f"{facts['features']:,}",
                availability if weights["published"] else "none",
            )
        )
    headers = ("name", "pixels", "parameters", "features", "ImageNet weights")
    say_table(headers, rows, right=(1, 2, 3))


def _say_details(facts: dict[str, Any]) -> None:
    say = common.say
    size, least, most = facts["input_size"], facts["min_size"], facts["max_size"]
    say(f"{facts['name']}: {facts['title']}")
    say(
        f"  designed for {size} x {size} pixels, "
        + (f"{most} x {most} only" if most else f"at least {least} x {least}")
    )
    say(
        f"  {facts['parameters']:,} parameters including its output layer of "
        f"{facts['outputs']:,}, {facts['backbone_parameters']:,} without; "
        f"{facts['features']:,} deep features"
    )
    if flat := facts["flattened"]:
        say(f"  {flat['name']}: its last map flattened, {flat['features']:,} deep features")
    for guess in facts["guessed"]:
        say(f"  not in the paper: {guess}")
    say(f"  {facts['source']}")
    say(f"  default from scratch: {_recipe(facts['from_scratch'])}")
    weights = facts["weights"]
    if not weights["published"]:
        say("  no ImageNet weights are published: trained from scratch")
        return
    say(f"  default for fine-tuning: {_recipe(facts['fine_tuning'])}")
    say(f"  ImageNet weights: {weights['found'] or 'not downloaded yet'}")
    for file in weights["files"]:
        address = f", {file['url']}" if file["url"] else ""
        say(f"    {file['name']}{address}; licence: {file['licence'] or 'unknown'}")


def _recipe(recipe: dict[str, Any]) -> str:
    rate, factor = recipe["learning_rate"], recipe["stage_factor"]
    by_stage = "" if factor == 1 else f", x {factor:g} for each stage before the last layer"
    return f"learning rate {rate:g}{by_stage}, batch size {recipe['batch_size']}"
