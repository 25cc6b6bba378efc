"""A suggestion for a name that is nearly one that is known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_CLOSE = 0.6
"""difflib's ratio from which a name is suggested: its own default, two letters of five changed"""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ " (did you mean 'run'?)", to be put behind what is wrong; empty where nothing is near.

    Args:
        name: as it was given.
        known: what it could have been; compared without regard to case.
    """
    by_folded = {text.casefold(): text for text in known}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=_CLOSE)
    return f" (did you mean {by_folded[near[0]]!r}?)" if near else ""
