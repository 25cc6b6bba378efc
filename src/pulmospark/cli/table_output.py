"""Tables of results: with colours and wrapped cells on a terminal, else aligned plain text."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence

import click

from pulmospark.core.safe_text import shown
from pulmospark.core.terminal import is_plain

_WIDTH_LEAST = 60
_WIDTH_MOST = 120
_WIDTH_OF_A_FILE = 10_000
"""no cell is wrapped that a program may read"""

Cell = str | tuple[str, str]
"""a text, or a text and its style, such as ``("fail", "red")``"""


def terminal_width() -> int:
    """Characters of a line of tables on this terminal."""
    return max(_WIDTH_LEAST, min(shutil.get_terminal_size().columns, _WIDTH_MOST))


def say_table(
    headers: Sequence[str], rows: Sequence[Sequence[Cell]], *, right: Sequence[int] = ()
) -> None:
    """Print a table on standard output.

    Args:
        headers: of the columns; all empty: no line of headers.
        rows: cells of each row, as many as there are headers.
        right: columns that are aligned on the right, those of numbers.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    plain = is_plain(sys.stdout)
    table = Table(box=None, show_header=any(headers), pad_edge=False, padding=(0, 2, 0, 0))
    for place, header in enumerate(headers):
        table.add_column(
            Text(header, "" if plain else "bold"),
            justify="right" if place in right else "left",
            overflow="fold",
        )
    for row in rows:
        cells = [cell if isinstance(cell, tuple) else (cell, "") for cell in row]
        table.add_row(*(Text(shown(text), "" if plain else style) for text, style in cells))
    rendered = io.StringIO()
    Console(
        file=rendered,
        width=_WIDTH_OF_A_FILE if plain else terminal_width(),
        force_terminal=not plain,
        color_system=None if plain else "standard",
        highlight=False,
        markup=False,
        emoji=False,
    ).print(table)
    click.echo("\n".join(line.rstrip() for line in rendered.getvalue().splitlines()))
