"""Progress: a bar on a terminal, plain lines in a log, always on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm

from pulmospark.core.plain_text import one_line

_LINE_EVERY_S = 10.0


class Progress:
    """Counts towards a total and shows rate and time left.

    Args:
        title: what is being done.
        total: number of units; 0: unknown.
        unit: what is counted.
        quiet: show nothing.
        stream: where to write; standard error by default.
    """

    def __init__(
        self,
        title: str,
        total: int,
        unit: str = "files",
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        self._stream = stream or sys.stderr
        self._title, self._total, self._unit = title, total, unit
        self._quiet = quiet
        self._done = 0
        self._started = self._last_line = time.monotonic()
        self._note = ""
        terminal = self._stream.isatty() and not quiet
        self._bar = (
            tqdm(
                total=total or None,
                desc=one_line(title),
                unit=f" {unit}",
                file=self._stream,
                leave=False,
            )
            if terminal
            else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        if kind is None and not self._quiet:
            self._write(last=True)

    def expect(self, total: int) -> None:
        """Set the total, if it was unknown before."""
        self._total = total
        if self._bar is not None:
            self._bar.total = total or None

    def to(self, done: int, note: str = "") -> None:
        """Set the number done so far, with a note on the state (such as the loss)."""
        step, self._done, self._note = done - self._done, done, note
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(one_line(note), refresh=False)
            self._bar.update(step)
        elif not self._quiet and time.monotonic() - self._last_line >= _LINE_EVERY_S:
            self._write()

    def _write(self, *, last: bool = False) -> None:
        now = time.monotonic()
        seconds = max(now - self._started, 1e-9)
        rate = self._done / seconds
        of = f" of {self._total}" if self._total else ""
        text = f"{self._title}: {self._done}{of} {self._unit}, {rate:.1f}/s"
        if last:
            text += f", {seconds:.1f} s"
        elif rate > 0 and self._total:
            text += f", {(self._total - self._done) / rate:.0f} s left"
        if self._note:
            text += f", {self._note}"
        self._stream.write(one_line(text) + "\n")
        self._stream.flush()
        self._last_line = now
