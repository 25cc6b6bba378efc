"""``pulmospark layouts``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pulmospark.cli import common
from pulmospark.cli.table_output import say_table

if TYPE_CHECKING:
    from pulmospark.layouts.base import Layout


@click.command(
    help="""List the supported data set layouts, or show details of the given ones.

    A folder's layout is detected; override it with --layout, or with layout = in TOML.

    \b
    Examples:
      pulmospark layouts
      pulmospark layouts kermany
      pulmospark ingest images --layout class_folders --out runs/mine
    """
)
@click.argument("names", metavar="[NAME]...", nargs=-1, type=common.LAYOUT)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Run it."""
    from pulmospark.layouts.registry import LAYOUTS, find

    layouts = [find(name) for name in names] or LAYOUTS
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
                    for layout in layouts
                ]
            }
        )
        return
    if not names:
        say_table(("name", "data set"), [(layout.name, layout.title) for layout in layouts])
        common.say("details: pulmospark layouts NAME")
        return
    for layout in layouts:
        _say_details(layout)


def _say_details(layout: Layout) -> None:
    rows = [
        ("holds", layout.holds),
        ("recognised by", layout.looked_for),
        ("home", layout.home),
        ("licence", layout.licence),
    ]
    if layout.download:
        rows.append(("download", f"pulmospark download {layout.name}"))
    rows += [("known fault", fault) for fault in layout.faults]
    rows += [(f"--option {option}", meaning) for option, meaning in layout.options.items()]
    common.say(f"{layout.name}: {layout.title}", "bold")
    say_table(("", ""), rows)
