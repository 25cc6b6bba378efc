"""CSV cells: written as they are, or made safe and quoted, never otherwise."""

from __future__ import annotations

import io
import string
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from pulmospark.core.csv_files import safe_cell, write_row

_BREAKS = set("\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
_TEXTS = st.text() | st.text(string.ascii_letters + string.digits + "/_.:;()#-+=@\"', \t\r\n")
_CELLS = _TEXTS | st.none() | st.integers() | st.floats() | st.booleans()


def _written(cells: list[Any]) -> str:
    file = io.StringIO(newline="")
    write_row(file, cells)
    return file.getvalue()


def _expected(value: Any) -> str:
    """By the rules, without a shorter way."""
    cell = safe_cell(value)
    ends = (cell[:1].isspace(), cell[-1:].isspace())
    if any(ends) or not _BREAKS.isdisjoint(cell) or '"' in cell or "," in cell:
        return '"' + cell.replace('"', '""') + '"'
    return cell


@given(st.lists(_CELLS))
@example(["=1", "-1", "+1", "@x", "a=1", "a-1"])
@example(["", " ", "a ", " a", "a b", "a\n", "\n", "a\n=b", "#", "/data/a b (1).png"])
def test_a_row_is_that_of_the_rules(cells: list[Any]) -> None:
    assert _written(cells) == ",".join(map(_expected, cells)) + "\n"
