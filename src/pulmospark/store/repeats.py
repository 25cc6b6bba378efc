"""Requests that broke off, sent again where obstore does not.

obstore repeats what a store answered with 5xx or 429, and reads whose connection broke. It does
not repeat a conditional write, a deletion, or a page of a listing whose connection broke: nobody
knows whether the store did what was asked. Here they are repeated; a write that was done already
is then recognised by its content (:meth:`pulmospark.store.store.Store.put_new`).
"""

from __future__ import annotations

import functools
import random
import re
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from pulmospark.core import limits
from pulmospark.core.errors import SourceUnavailableError

Self = TypeVar("Self")
Params = ParamSpec("Params")
Answer = TypeVar("Answer")

_TRIES = re.compile(r"after (\d+) retries, max_retries: (\d+)")


class BrokenOffError(SourceUnavailableError):
    """A request whose connection broke, and that obstore did not repeat as often as it may."""


def has_given_up(error: Exception) -> bool:
    """Whether obstore raised an error after all its tries."""
    counts = _TRIES.search(str(error))
    return counts is not None and counts[1] == counts[2]


def pause_before(tries: int, error: BrokenOffError) -> None:
    """Wait before another try.

    Args:
        tries: so far, 1 or more.
        error: of the last.

    Raises:
        SourceUnavailableError: those were all.
    """
    if tries > limits.STORE_RETRIES:
        raise SourceUnavailableError(error.message) from None
    # Of different lengths, so that many tasks do not come back at the same moment.
    time.sleep(limits.READ_PAUSE_S * 2 ** (tries - 1) * random.uniform(0.5, 1.0))


def repeated(
    request: Callable[Concatenate[Self, Params], Answer],
) -> Callable[Concatenate[Self, Params], Answer]:
    """A method that is called again where its request broke off."""

    @functools.wraps(request)
    def run(self: Self, /, *args: Params.args, **kwargs: Params.kwargs) -> Answer:
        return repeat(lambda: request(self, *args, **kwargs))

    return run


def repeat(request: Callable[[], Answer]) -> Answer:
    """What a request answers, which is asked again where it broke off.

    Raises:
        SourceUnavailableError: those were all tries.
    """
    tries = 0
    while True:
        try:
            return request()
        except BrokenOffError as error:
            tries += 1
            pause_before(tries, error)
