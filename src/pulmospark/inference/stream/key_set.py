"""A set of 64-bit numbers in 8 bytes each, for millions of files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pulmospark.core.arrays import Ints, Mask

_LOOSE_MAX = 16_384


class KeySet:
    """Signed 64-bit numbers: a sorted array, and a small set of later additions.

    Args:
        keys: initial members.
    """

    def __init__(self, keys: Ints | Sequence[int] = ()) -> None:
        self._sorted: Ints = np.unique(np.asarray(keys, np.int64))
        self._loose: set[int] = set()
        self._gone: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._loose) - len(self._gone)

    def __contains__(self, key: int) -> bool:
        return bool(self.among([key])[0])

    def among(self, keys: Sequence[int]) -> Mask:
        """Which of the numbers are in the set, (n,)."""
        queried = np.asarray(keys, np.int64)
        if not len(queried):
            return np.zeros(0, np.bool_)
        members: Mask
        if len(self._sorted):
            places = np.searchsorted(self._sorted, queried)
            places[places == len(self._sorted)] = 0
            members = self._sorted[places] == queried
        else:
            members = np.zeros(len(queried), np.bool_)
        if self._loose:
            members |= np.fromiter((key in self._loose for key in keys), np.bool_, len(queried))
        if self._gone:
            members &= np.fromiter((key not in self._gone for key in keys), np.bool_, len(queried))
        return members

    def add(self, key: int) -> None:
        """Add a number."""
        if key in self:
            return
        if key in self._gone:
            self._gone.discard(key)
            return
        self._loose.add(key)
        if len(self._loose) > _LOOSE_MAX:
            self._settle()

    def discard(self, key: int) -> None:
        """Remove a number, if present."""
        if key in self._loose:
            self._loose.discard(key)
        elif key in self:
            self._gone.add(key)
            if len(self._gone) > _LOOSE_MAX:
                self._settle()

    def _settle(self) -> None:
        loose = np.fromiter(self._loose, np.int64, len(self._loose))
        gone = np.fromiter(self._gone, np.int64, len(self._gone))
        self._sorted = np.union1d(np.setdiff1d(self._sorted, gone), loose)
        self._loose, self._gone = set(), set()
