"""Colours of single lines; apart from `common`, so that ``--help`` stays fast."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TextIO

import click

from pulmospark.core.terminal import is_plain


def styled(text: str, style: str, stream: TextIO) -> str:
    """The text in a colour of :func:`click.style`, or ``bold``, where the stream shows it."""
    if not style or is_plain(stream):
        return text
    return click.style(text, bold=True) if style == "bold" else click.style(text, fg=style)


def wrapped(text: str, stream: TextIO) -> str:
    """The text with lines broken between words, where the stream is a terminal.

    A word longer than a line, such as a path, stays whole: it can be copied.
    """
    if is_plain(stream):
        return text
    width = shutil.get_terminal_size().columns
    lines = []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip())] + "  "
        broken = textwrap.wrap(
            line,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
            drop_whitespace=True,
        )
        lines += broken or [line]
    return "\n".join(lines)


def say_error(line: str) -> None:
    """Print a line on standard error, above a live display if there is one.

    Not by click, which goes past the stream that the display has put in place.
    """
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
