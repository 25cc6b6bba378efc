"""Suggest a known name that is close to a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_CLOSE = 0.6
"""difflib's ratio for a suggestion: its default, two of five characters changed"""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint such as " (did you mean 'run'?)", to append to a message; empty if nothing is close.

    Args:
        name: as given.
        known: valid names; compared ignoring case.
    """
    by_folded = {text.casefold(): text for text in known}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=_CLOSE)
    return f" (did you mean {by_folded[near[0]]!r}?)" if near else ""
