"""Runs a command on a terminal of a given size, as a user sees it; pyte keeps the screen."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyte

_LINES = 400  # of the screen: what is printed does not scroll away


@dataclass
class Screens:
    """What a terminal showed.

    Attributes:
        code: exit code of the command.
        last: the lines at the end, without empty ones.
        moments: seconds since the start, and the lines at that time.
        raw: bytes that the command wrote.
    """

    code: int = 0
    last: list[str] = field(default_factory=list)
    moments: list[tuple[float, list[str]]] = field(default_factory=list)
    raw: bytes = b""


def run_on_terminal(
    command: Sequence[str],
    env: Mapping[str, str] | None = None,
    *,
    columns: int = 80,
    timeout_s: float = 300,
) -> Screens:
    """Run a command on a pseudo-terminal.

    Args:
        command: program and arguments.
        env: changes of the environment; an empty value removes the variable.
        columns: width of the terminal.
        timeout_s: after which the command is killed.
    """
    changed = {"TERM": "xterm-256color", "CI": "", "NO_COLOR": "", **(env or {})}
    environment = {**os.environ, **changed}
    for name in [name for name, value in changed.items() if not value]:
        environment.pop(name)
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, columns, 0, 0))
    screen = pyte.Screen(columns, _LINES)
    stream, seen = pyte.ByteStream(screen), Screens()
    begun = time.monotonic()
    process = subprocess.Popen(
        command, stdin=side, stdout=side, stderr=side, env=environment, close_fds=True
    )
    os.close(side)
    while True:
        ready, _, _ = select.select([main], [], [], 0.5)
        seconds = time.monotonic() - begun
        if seconds > timeout_s:
            process.kill()
        if ready:
            try:
                news = os.read(main, 65_536)
            except OSError:  # the command has closed its terminal
                break
            if not news:
                break
            seen.raw += news
            stream.feed(news)
            seen.moments.append((seconds, _lines(screen)))
    os.close(main)
    seen.code, seen.last = process.wait(), _lines(screen)
    return seen


def _lines(screen: pyte.Screen) -> list[str]:
    return [line.rstrip() for line in screen.display if line.strip()]
