"""Progress: a bar on a terminal, plain lines in a log, always on standard error."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Self, TextIO

from tqdm import tqdm

from pulmospark.core.formatting import duration
from pulmospark.core.safe_text import one_line

_LINE_EVERY_S = 10.0
_RATE_OVER_S = 60.0
_SAMPLE_EVERY_S = 1.0


class Progress:
    """Counts towards a total and shows rate and time left, as measured.

    The rate of a line is that of the last minute, begun at the first count. Neither the start of
    the workers nor what an earlier run has left is in it, so the first chunks give a time left
    that holds. The last line has the rate over the whole time.

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
        self._samples: deque[tuple[float, int]] = deque()
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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
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
        self._sample()
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(one_line(note), refresh=False)
            self._bar.update(step)
        elif not self._quiet and time.monotonic() - self._last_line >= _LINE_EVERY_S:
            self._write()

    def _sample(self) -> None:
        now, samples = time.monotonic(), self._samples
        if not self._done or (samples and now - samples[-1][0] < _SAMPLE_EVERY_S):
            return
        if not samples or samples[-1][1] != self._done:
            samples.append((now, self._done))
        while len(samples) > 2 and now - samples[0][0] > _RATE_OVER_S:
            samples.popleft()

    def _rate(self, now: float) -> float:
        """Per second, over the last minute; 0 before there is a second count."""
        if len(self._samples) < 2:
            return 0.0
        (begun, before), (until, count) = self._samples[0], self._samples[-1]
        # Counts come chunk by chunk, so that the time since the last one says little until it is
        # long enough to be a standstill.
        until = now if now - until > _LINE_EVERY_S else until
        return (count - before) / (until - begun)

    def _write(self, *, last: bool = False) -> None:
        now = time.monotonic()
        seconds = max(now - self._started, 1e-9)
        of = f" of {self._total}" if self._total else ""
        text = f"{self._title}: {self._done}{of} {self._unit}"
        if last:
            text += f", {self._done / seconds:.1f}/s, {seconds:.1f} s"
        elif rate := self._rate(now):
            text += f", {rate:.1f}/s"
            if self._total:
                text += f", {duration((self._total - self._done) / rate)} left"
        if self._note:
            text += f", {self._note}"
        self._stream.write(one_line(text) + "\n")
        self._stream.flush()
        self._last_line = now
