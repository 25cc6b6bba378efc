"""CSV files for spreadsheets: every one that pulmospark writes is written here.

RFC 4180 with line feeds. A cell that holds a comma, a quote or any line break is quoted: Python's
own writer leaves a bare carriage return unquoted, which other readers take for the end of a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TextIO

_BREAK = "\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_FORMULA = re.compile(f"(^|[{_BREAK}])(?=[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20])")
"""where a cell, or a line of it, begins as a formula does, full-width signs among them"""

_QUOTED = re.compile(f'[",{_BREAK}]|^\\s|\\s$')
_NOT_UTF8 = re.compile("[\x00\ud800-\udfff]")


def safe_cell(value: Any) -> str:
    """A cell that a spreadsheet takes for text, whatever a file's or class's name holds.

    Spreadsheets run a cell that begins with ``=``, ``+``, ``-`` or ``@`` as a formula, also
    where it is quoted, and some take a line break in a cell for a new row. As OWASP advises ("CSV
    Injection"), such a cell, and each such line of one, gets an apostrophe in front. What no
    reader of CSV takes, NUL and halves of surrogate pairs, is written as its escape. The Parquet
    tables have the text as it is.

    Args:
        value: ``None`` is an empty cell. A number is written as it is: it can't be a formula.
    """
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return str(value)
    text = _NOT_UTF8.sub(lambda match: ascii(match.group())[1:-1], str(value))
    return _FORMULA.sub(r"\1'", text)


def write_row(file: TextIO, cells: Iterable[Any]) -> None:
    """Write a row, its cells made safe.

    Args:
        file: opened with ``newline=""`` and UTF-8.
        cells: text, numbers, truth values or ``None``.
    """
    file.write(",".join(map(_quoted, map(safe_cell, cells))) + "\n")


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _QUOTED.search(cell) else cell
