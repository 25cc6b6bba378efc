"""CSV files for spreadsheets: everything that pulmospark writes as CSV goes through here.

RFC 4180 with line feeds. A cell that holds a comma, a quote or any line break is quoted: Python's
own writer leaves a bare carriage return unquoted, which other readers take for the end of a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TextIO

_BREAK = "\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_FORMULA = re.compile(f"(^|[{_BREAK}])(?=[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20])")
"""start of a cell or line that a spreadsheet reads as a formula, including full-width signs"""

_QUOTED = re.compile(f'[",{_BREAK}]|^\\s|\\s$')
_NOT_UTF8 = re.compile("[\x00\ud800-\udfff]")
_PLAIN = re.compile(r"(?:[A-Za-z0-9/_.](?:[A-Za-z0-9/_.:;()# -]*[A-Za-z0-9/_.:;()#-])?)?")
"""cells that are written as they are, which are most: one pattern in place of three"""


def safe_cell(value: Any) -> str:
    """A cell that a spreadsheet reads as text, whatever the name of a file or class contains.

    Spreadsheets run a cell that begins with ``=``, ``+``, ``-`` or ``@`` as a formula, even if it
    is quoted, and some take a line break in a cell for a new row. As OWASP advises ("CSV
    Injection"), such a cell, and each such line of one, gets an apostrophe in front. NUL and
    lone surrogates, which no CSV reader accepts, are escaped. The Parquet tables keep the text
    unchanged.

    Args:
        value: ``None`` is an empty cell. A number is written unchanged: it can't be a formula.
    """
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return str(value)
    text = _NOT_UTF8.sub(lambda match: ascii(match.group())[1:-1], str(value))
    return _FORMULA.sub(r"\1'", text)


def write_row(file: TextIO, cells: Iterable[Any]) -> None:
    """Write a row of safe cells.

    Args:
        file: opened with ``newline=""`` and UTF-8.
        cells: text, numbers, truth values or ``None``.
    """
    file.write(",".join(map(_cell, cells)) + "\n")


def _cell(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return _quoted(safe_cell(value))


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _QUOTED.search(cell) else cell
