"""Sets of 64-bit numbers and of texts in 8 bytes each, for millions of files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np

from pulmospark.core.arrays import Ints, Mask

_LOOSE_MAX = 16_384
_LOOSE_SHARE = 16
"""or this part of the sorted numbers, if it is more: sorting anew costs as much as there are"""


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

    def among(self, keys: Ints | Sequence[int]) -> Mask:
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
            members |= np.fromiter(
                (key in self._loose for key in queried.tolist()), np.bool_, len(queried)
            )
        if self._gone:
            members &= np.fromiter(
                (key not in self._gone for key in queried.tolist()), np.bool_, len(queried)
            )
        return members

    def add(self, key: int) -> None:
        """Add a number."""
        if key in self:
            return
        if key in self._gone:
            self._gone.discard(key)
            return
        self._loose.add(key)
        self._settle_if_many()

    def add_all(self, keys: Ints) -> Mask:
        """Add numbers; whether each was new, (n,), of equal ones the first."""
        first = np.zeros(len(keys), np.bool_)
        first[np.unique(keys, return_index=True)[1]] = True
        new: Mask = first & ~self.among(keys)
        for key in keys[new].tolist():
            (self._gone.discard if key in self._gone else self._loose.add)(key)
        self._settle_if_many()
        return new

    def _settle_if_many(self) -> None:
        if len(self._loose) > max(_LOOSE_MAX, len(self._sorted) // _LOOSE_SHARE):
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
        kept = self._sorted
        if self._gone:
            gone = np.fromiter(self._gone, np.int64, len(self._gone))
            kept = np.setdiff1d(kept, gone, assume_unique=True)
        # Not union1d, which holds several copies: neither has a number of the other.
        self._sorted = np.concatenate([kept, loose])
        self._sorted.sort()
        self._loose, self._gone = set(), set()


class TextSet:
    """Texts, by a 64-bit hash: of ten million, two have the same with a chance of 3 in a million.

    Single additions are gathered, because adding many at once is faster.
    """

    def __init__(self) -> None:
        self._keys = KeySet()
        self._gathered: list[str] = []

    def __contains__(self, text: object) -> bool:
        self._add_gathered()
        return isinstance(text, str) and _hash(text) in self._keys

    def add(self, text: str) -> None:
        """Add a text."""
        self._gathered.append(text)
        if len(self._gathered) >= _LOOSE_MAX:
            self._add_gathered()

    def add_all(self, texts: Iterable[str]) -> Mask:
        """Add texts; whether each was new, (n,), of equal ones the first."""
        self._add_gathered()
        return self._keys.add_all(np.fromiter(map(_hash, texts), np.int64))

    def _add_gathered(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._keys.add_all(np.fromiter(map(_hash, gathered), np.int64))


def _hash(text: str) -> int:
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
