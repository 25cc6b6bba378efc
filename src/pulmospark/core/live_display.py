"""The display of running stages on a terminal: a row each, redrawn several times a second."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from typing import TYPE_CHECKING, NamedTuple, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from pulmospark.core.progress import Progress

_REFRESHES_PER_S = 5
_FRAMES_PER_S = 10
_BAR_WIDTH = 16


class _Signs(NamedTuple):
    """What the display is drawn with; the spinner has one sign a frame."""

    spinner: str
    filled: str
    rest: str


_UTF8 = _Signs("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "━", "─")
_ASCII = _Signs("|/-\\|/-\\|/", "=", "-")


class _Terminal(io.TextIOWrapper):
    """A handle of its own on a stream's terminal.

    Standard error's file descriptor is redirected while Spark starts, but what is shown of the
    start is for the terminal. The terminal may be closed: that does not end the work.
    """

    def __init__(self, stream: TextIO) -> None:
        stream.flush()
        raw = os.fdopen(os.dup(stream.fileno()), "wb")
        super().__init__(raw, encoding=stream.encoding, errors="backslashreplace")

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


class _Console(Console):
    def show_cursor(self, show: bool = True) -> bool:
        """Leave the cursor as it is: a process that is killed could not bring it back."""
        del show
        return False


class LiveDisplay:
    """Rows of progress at the bottom of a terminal; what is printed goes above them.

    Args:
        stream: a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._rows: list[Progress] = []
        self._signs = _UTF8 if stream.encoding.lower().startswith("utf") else _ASCII
        self._terminal = _Terminal(stream)
        self._console = _Console(
            file=self._terminal, force_terminal=True, markup=False, emoji=False
        )
        self._live = Live(
            console=self._console,
            get_renderable=self._lines,
            refresh_per_second=_REFRESHES_PER_S,
            transient=True,
            # Output to a pipe is not for the terminal.
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=stream is sys.stderr,
        )

    def add(self, row: Progress) -> None:
        """Show a row, below the others."""
        self._rows = [*self._rows, row]  # the thread that redraws may be reading the old list
        if len(self._rows) == 1:
            self._live.start(refresh=True)
        else:
            self._live.refresh()

    def remove(self, row: Progress) -> None:
        """Remove a row, and with the last one the display."""
        self._rows = [other for other in self._rows if other is not row]
        if not self._rows:
            self._live.stop()
            self._terminal.close()

    def print(self, line: str) -> None:
        """Print a line above the rows, where it stays."""
        title, colon, rest = line.partition(":")
        text = Text.assemble((title, "green"), colon, rest)
        self._console.print(text, soft_wrap=True, highlight=False)

    def _lines(self) -> Text:
        titles = max((len(row.title) for row in self._rows), default=0)
        spinner = self._signs.spinner[int(time.monotonic() * _FRAMES_PER_S) % len(_UTF8.spinner)]
        lines = []
        for row in self._rows:
            sign = spinner if row is self._rows[-1] else " "
            title = (row.title.ljust(titles), "bold")
            lines.append(Text.assemble(sign, " ", title, "  ", *self._bar(row), row.state()))
            lines[-1].truncate(self._console.width - 1)
        return Text("\n", no_wrap=True).join(lines)

    def _bar(self, row: Progress) -> list[tuple[str, str]]:
        """How much of a known total is done; empty where it is unknown."""
        if not row.total:
            return []
        filled = round(_BAR_WIDTH * min(row.done / row.total, 1))
        rest = self._signs.rest * (_BAR_WIDTH - filled)
        return [(self._signs.filled * filled, "green"), (rest, "bright_black"), ("  ", "")]
