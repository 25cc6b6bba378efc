"""Progress of the stages: a live display on a terminal, else plain lines; on standard error.

A stage shows its title and the elapsed time from its first second, with or without a count. What
runs inside it is shown below it, in the same display.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Self, TextIO

from pulmospark.core.formatting import duration
from pulmospark.core.safe_text import one_line
from pulmospark.core.terminal import is_plain

if TYPE_CHECKING:
    from pulmospark.core.live_display import LiveDisplay

_LINE_EVERY_S = 10.0
_RATE_OVER_S = 60.0
_SAMPLE_EVERY_S = 1.0
_OUTER: ContextVar[Progress | None] = ContextVar("_OUTER", default=None)
"""what the code that runs now is a part of"""


class Progress:
    """Counts towards a total and shows rate and time left, as measured.

    The rate is that of the last minute, begun at the first count. Neither the start of the
    workers nor what an earlier run has left is in it, so the first chunks give a time left that
    holds. The last line, which stays, has the rate over the whole time.

    Args:
        title: what is being done.
        total: number of units; 0: unknown.
        unit: what is counted; empty: nothing is.
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
        self._stream = stream
        self.title, self.total = one_line(title), total
        self._unit, self._quiet = unit, quiet
        self.done = 0
        self._started = self._last_line = time.monotonic()
        self._samples: deque[tuple[float, int]] = deque()
        self._note = ""
        self._display: LiveDisplay | None = None
        self._outer: Progress | None = None
        self._token: Token[Progress | None] | None = None
        self._has_line = False

    def __enter__(self) -> Self:
        if self._quiet:
            return self
        self._outer = _OUTER.get()
        self._token = _OUTER.set(self)
        if self._outer is not None and self._stream is None:
            # Not standard error, which the outer one's display has replaced.
            self._stream, self._display = self._outer._stream, self._outer._display
        self._stream = self._stream or sys.stderr
        if self._display is None and not is_plain(self._stream):
            from pulmospark.core.live_display import LiveDisplay  # noqa: PLC0415 - imports rich

            self._display = LiveDisplay(self._stream)
        if self._display is not None:
            self._display.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._token is None:
            return
        _OUTER.reset(self._token)
        # A stage whose parts have each had a line needs none of its own.
        if kind is None and (self._unit or not self._has_line):
            self._write(last=True)
        if self._display is not None:
            self._display.remove(self)

    def expect(self, total: int) -> None:
        """Set the total, if it was unknown before."""
        self.total = total

    def to(self, done: int, note: str = "") -> None:
        """Set the number done so far, with a note on the state (such as the loss)."""
        self.done, self._note = done, note
        self._sample()
        is_due = time.monotonic() - self._last_line >= _LINE_EVERY_S
        if is_due and self._display is None and not self._quiet:
            self._write()

    def state(self) -> str:
        """How far it is, as the live display has it: count, rate, elapsed time, time left."""
        now = time.monotonic()
        facts = [self._count()] if self._unit and (self.done or self.total) else []
        facts += self._speed(now)
        elapsed = f"{duration(max(round(now - self._started), 1))} so far"
        return one_line(", ".join([*facts, elapsed, *([self._note] if self._note else [])]))

    def _count(self) -> str:
        of = f" of {self.total:,}" if self.total else ""
        return f"{self.done:,}{of} {self._unit}"

    def _speed(self, now: float) -> list[str]:
        """The rate and the time left; empty while unknown."""
        if not (rate := self._rate(now)):
            return []
        left = [f"{duration((self.total - self.done) / rate)} left"] if self.total else []
        return [f"{rate:,.1f}/s", *left]

    def _sample(self) -> None:
        now, samples = time.monotonic(), self._samples
        if not self.done or (samples and now - samples[-1][0] < _SAMPLE_EVERY_S):
            return
        if not samples or samples[-1][1] != self.done:
            samples.append((now, self.done))
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
        if not last:
            facts = [self._count(), *self._speed(now)]
        elif self._unit:
            facts = [self._count(), f"{self.done / seconds:,.1f}/s", f"{seconds:.1f} s"]
        else:
            facts = [f"{seconds:.1f} s"]
        if self._note:
            facts.append(self._note)
        line = one_line(f"{self.title}: {', '.join(facts)}")
        if self._display is not None:
            self._display.print(line)
        else:
            stream = self._stream or sys.stderr
            with contextlib.suppress(OSError):  # a full disk of logs does not end the work
                stream.write(line + "\n")
                stream.flush()
        self._last_line = now
        if self._outer is not None:
            self._outer._has_line = True


@contextlib.contextmanager
def stage(title: str, *, quiet: bool = False) -> Iterator[None]:
    """Show that a stage is running and for how long; its parts may count.

    Args:
        title: of the stage.
        quiet: show nothing.
    """
    with Progress(title, 0, "", quiet=quiet):
        yield
