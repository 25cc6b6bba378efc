"""Whether a stream is a terminal that may be given colours and a display that moves."""

from __future__ import annotations

import os
from typing import TextIO

_UNABLE = frozenset({"", "dumb", "unknown"})
_NOT_SET = frozenset({"", "0", "false", "no"})


def is_plain(stream: TextIO) -> bool:
    """Whether a stream gets plain lines only: no colour, no cursor movement.

    True for a pipe or a file, for a terminal that obeys no control sequences (``TERM=dumb``),
    with ``NO_COLOR`` (https://no-color.org), and in CI, whose logs are read later.
    """
    return (
        not stream.isatty()
        or os.environ.get("TERM", "") in _UNABLE
        or bool(os.environ.get("NO_COLOR"))
        or os.environ.get("CI", "").lower() not in _NOT_SET
    )
