"""Small HTML tables for notebooks; all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from pulmospark.core.safe_text import shown


def html_table(
    caption: str,
    rows: Iterable[Sequence[object]],
    *,
    head: Sequence[str] = (),
    note: str = "",
) -> str:
    """A table with a caption, in plain HTML that takes a notebook's own style.

    Args:
        caption: stands above it.
        rows: cells, as text; without ``head`` the first cell of each row is its heading.
        head: headings of the columns; empty: the rows have them.
        note: stands below it.
    """
    lines = [f"<p><b>{_text(caption)}</b></p>", "<table>"]
    if head:
        lines.append(f"<thead><tr>{_cells(head, 'th')}</tr></thead>")
    lines.append("<tbody>")
    for row in rows:
        first, rest = (row[:0], row) if head else (row[:1], row[1:])
        lines.append(f"<tr>{_cells(first, 'th')}{_cells(rest, 'td')}</tr>")
    lines += ["</tbody>", "</table>"]
    if note:
        lines.append(f"<p>{_text(note)}</p>")
    return "\n".join(lines)


def _cells(values: Sequence[object], tag: str) -> str:
    return "".join(f'<{tag} style="text-align: left">{_text(value)}</{tag}>' for value in values)


def _text(value: object) -> str:
    return escape(shown(str(value)))
