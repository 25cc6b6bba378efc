"""Waits for a store that fails or throttles, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from pulmospark.core import stream_limits as limits
from pulmospark.core.errors import SourceUnavailableError

Answer = TypeVar("Answer")


def patiently(request: Callable[[], Answer]) -> Answer:
    """Repeat a request of a long-running program until the store answers.

    The pauses double, up to ``limits.STORE_PAUSE_S_MAX``. What the request does must be the same
    when it is done twice.

    Raises:
        SourceUnavailableError: the store has failed for ``limits.STORE_PATIENCE_S``.
    """
    end, pause_s = time.monotonic() + limits.STORE_PATIENCE_S, limits.STORE_PAUSE_S
    while True:
        try:
            return request()
        except SourceUnavailableError:
            if time.monotonic() + pause_s > end:
                raise
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, limits.STORE_PAUSE_S_MAX)
