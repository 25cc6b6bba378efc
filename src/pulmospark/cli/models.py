"""``pulmospark models``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pulmospark.cli import common

if TYPE_CHECKING:
    from pulmospark.models.zoo import ZooEntry


@click.command(
    help="""List the networks that are known.

    \b
    Examples:
      pulmospark models
      pulmospark train runs/mine --set train.model=squeezenet1_1
    """
)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def command(as_json: bool) -> None:
    """Run it."""
    from pulmospark.models.zoo import ZOO

    told = [_facts(entry) for entry in ZOO.values()]
    if as_json:
        common.say_json({"models": told})
        return
    for one in told:
        common.say(f"{one['name']}: {one['title']}")
        common.say(
            f"  made for {one['input_size']} x {one['input_size']} pixels, "
            f"{one['min_size']} x {one['min_size']} at least; {one['parameters']:,} parameters "
            f"without the head; {one['features']:,} deep features"
        )
        common.say(f"  {one['source']}")
        weights = one["weights"]
        if not weights["published"]:
            common.say("  no ImageNet weights are published: trained from scratch")
            continue
        common.say(f"  ImageNet weights: {weights['found'] or 'not on this machine yet'}")
        common.say(f"  their licence: {weights['licence']}")


def _facts(entry: ZooEntry) -> dict[str, Any]:
    import torch

    from pulmospark.models.zoo import build

    with torch.device("meta"):  # shapes alone: nothing is drawn or held
        network = build(entry.name, 2)
    return {
        "name": entry.name,
        "title": entry.title,
        "input_size": entry.input_size,
        "min_size": entry.min_size,
        "parameters": sum(one.numel() for one in network.backbone.parameters()),
        "features": entry.width,
        "source": entry.source,
        "weights": weights_facts(entry),
    }


def weights_facts(entry: ZooEntry) -> dict[str, Any]:
    """Whether ImageNet weights are published and lie on this machine; asks no network."""
    from pulmospark.core.errors import PulmosparkError
    from pulmospark.models.weights import find_weights

    published = bool(entry.weights or entry.weights_url)
    found, remedy = None, None
    if published:
        try:
            found = str(find_weights(entry.name, hub=False))
        except PulmosparkError as error:
            remedy = error.message
    return {
        "published": published,
        "found": found,
        "licence": entry.weights_licence,
        "remedy": remedy,
    }
