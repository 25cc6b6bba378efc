"""Text from outside on terminals, in errors and in CSV."""

from __future__ import annotations

import csv
import json
import logging
import subprocess
import sys
import unicodedata
import warnings
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulmospark.cli.library_output import _CleanRecord, _warning_line
from pulmospark.core import limits
from pulmospark.core.csv_files import safe_cell, write_row
from pulmospark.core.errors import InputError
from pulmospark.core.safe_text import is_name, one_line, shown_json
from pulmospark.core.suggestions import did_you_mean

BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Bidi_Control of Unicode's PropList.txt"""

HOSTILE = (
    "a\r=cmd|' /C calc'!A0", "a\n=1+1", "a\r\n@SUM(1)", "=1", "+1", "-1", "@x", "\t=1", "\r=1",
    "\n=1", "\n\r=1", 'a"\n="', "a,b", 'a"b', "\uff1d1", "a\x85=1", "a\u2028=1", " =1 ", "", "é",
    "a\x1b[31m", "a\x0b=1", "a'\n'b", ";=1",
)  # fmt: skip


@given(st.text())
def test_nothing_shown_is_obeyed_by_a_terminal(text: str) -> None:
    line = one_line(text)
    for char in line:
        assert unicodedata.category(char) not in {"Cc", "Cs", "Zl", "Zp"}, ascii(char)
        assert char not in BIDIRECTIONAL
    assert len(line) <= limits.MESSAGE_CHARS_MAX
    assert one_line(line) == line
    assert json.loads(shown_json(json.dumps(text, ensure_ascii=False))) == text


def test_an_error_is_one_line_of_bounded_length() -> None:
    error = InputError(f"{'x' * 5000}\n\x1b]0;title\x07: name another")
    assert error.message == str(error)
    assert len(error.message) == 2000
    assert error.message.endswith(r"\n\x1b]0;title\x07: name another")
    assert InputError("a\r\nb").message == r"a\r\nb"


def test_warnings_and_log_lines_are_clean() -> None:
    record = _CleanRecord("x", logging.WARNING, "f", 1, "tag %s", ("\x1b[2J\u202e",), None)
    assert record.getMessage() == r"tag \x1b[2J\u202e"
    with warnings.catch_warnings():
        line = _warning_line(UserWarning("\x1b[2J"), UserWarning, "f.py", 3)
    assert line == "f.py:3: UserWarning: \\x1b[2J\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_hostile_name_on_the_command_line(as_json: bool, tmp_path: Path) -> None:
    name = str(tmp_path / "\x1b[2J\u202egnp\x9b31m\r\n")
    command = [sys.executable, "-m", "pulmospark", "predict", name, "x.png"]
    done = subprocess.run(
        [*command, *["--json"] * as_json], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 3
    (line,) = done.stderr.decode().splitlines()
    assert line.isprintable()
    assert "no such folder" in line
    if as_json:
        assert json.loads(line) == json.loads(done.stdout)
        assert json.loads(line)["error"]["exit_code"] == 3
        assert json.loads(line)["error"]["kind"] == "BundleError"


def test_csv_with_hostile_names_reads_the_same_everywhere(tmp_path: Path) -> None:
    """The csv module, pandas and DuckDB agree on rows and cells, and no line begins a formula."""
    path = tmp_path / "names.csv"
    rows = [(str(i), a, b) for i, (a, b) in enumerate(zip(HOSTILE, HOSTILE[::-1], strict=True))]
    with path.open("w", encoding="utf-8", newline="") as file:
        write_row(file, ("n", "a", "b"))
        for row in rows:
            write_row(file, row)
    want = [[safe_cell(cell) for cell in row] for row in rows]
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file))[1:] == want
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert frame.to_numpy().tolist() == want
    query = "SELECT * FROM read_csv(?, header = true, all_varchar = true)"
    got = duckdb.execute(query, [str(path)]).fetchall()
    assert [[cell or "" for cell in row] for row in got] == want
    for cells in want:
        for cell in cells:
            for line in cell.replace("\r", "\n").splitlines():
                assert not line.startswith(("=", "+", "-", "@", "\t", "\uff1d")), ascii(cell)


@given(st.text(max_size=8))
def test_a_safe_cell_differs_by_apostrophes_alone(text: str) -> None:
    cell = safe_cell(text)
    plain = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    assert cell.replace("'", "") == plain.replace("'", "")
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert safe_cell(cell) == cell


def test_numbers_stay_numbers() -> None:
    assert [safe_cell(value) for value in (-1, -0.5, None, True)] == ["-1", "-0.5", "", "True"]


@pytest.mark.parametrize("name", ["", "  ", "a\x1bb", "a\x9b", "\u202ea", "x" * 1001, "\ud800"])
def test_what_is_no_name(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("name", ["COVID-19", "=x", "é ü", "肺炎", "a\r\nb", "x" * 1000])
def test_what_is_a_name(name: str) -> None:
    assert is_name(name)


def test_a_near_name_is_suggested() -> None:
    known = ("run", "report", "mobilenet_v2")
    assert did_you_mean("rum", known) == " (did you mean 'run'?)"
    assert did_you_mean("Mobilnet_V2", known) == " (did you mean 'mobilenet_v2'?)"
    assert did_you_mean("xyz", known) == ""
