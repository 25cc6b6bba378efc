"""``pulmospark layouts``."""

from __future__ import annotations

import click

from pulmospark.cli import common


@click.command(
    help="""List the supported data set layouts.

    A folder's layout is detected; override it with --layout, or with layout = in TOML.

    \b
    Examples:
      pulmospark layouts
      pulmospark ingest images --layout class_folders --out runs/mine
    """
)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def command(as_json: bool) -> None:
    """Run it."""
    from pulmospark.layouts.registry import LAYOUTS

    if as_json:
        common.say_json(
            {
                "layouts": [
                    {
                        "name": layout.name,
                        "title": layout.title,
                        "holds": layout.holds,
                        "recognised_by": layout.looked_for,
                        "home": layout.home,
                        "licence": layout.licence,
                        "faults": list(layout.faults),
                        "fetch": layout.download,
                        "options": dict(layout.options),
                    }
                    for layout in LAYOUTS
                ]
            }
        )
        return
    for layout in LAYOUTS:
        common.say(f"{layout.name}: {layout.title}")
        common.say(f"  holds          {layout.holds}")
        common.say(f"  recognised by  {layout.looked_for}")
        common.say(f"  home           {layout.home}")
        common.say(f"  licence        {layout.licence}")
        if layout.download:
            common.say(f"  download       pulmospark fetch {layout.name}")
        for fault in layout.faults:
            common.say(f"  known fault    {fault}")
        for option, meaning in layout.options.items():
            common.say(f"  --option {option}: {meaning}")
