"""Chance that follows from a seed and a film alone: no state, no order, the same for ever."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from pulmospark.core.arrays import Singles

_WORD_BYTES = 8
_UNIT = 2.0**-53


def words(seed: int, key: str, draw: int, count: int) -> tuple[int, ...]:
    """Whole numbers below 2**53, spread evenly: the SHAKE-256 stream of seed, draw and key.

    A hash and no generator: what one film gets depends on no other, on no library's version
    and on no processor.

    Args:
        seed: of the augmentation.
        key: of the film.
        draw: which version of the film.
        count: how many numbers.
    """
    text = f"{seed}\0{draw}\0{key}".encode()
    stream = hashlib.shake_256(text).digest(_WORD_BYTES * count)
    numbers = np.frombuffer(stream, dtype="<u8") >> np.uint64(11)
    return tuple(numbers.tolist())


def unit(word: int) -> float:
    """A number of [0, 1) from one of :func:`words`."""
    return word * _UNIT


def sixteen_bits(seed: int, count: int) -> NDArray[np.uint16]:
    """Whole numbers below 2**16, spread evenly; uint16 (count,).

    The raw stream of Philox 4x64 (Salmon et al., SC 2011), which numpy keeps the same from
    version to version, as it does not for what its ``Generator`` makes of it.
    """
    # A key, not a seed: what numpy makes of a seed costs more than the numbers.
    raw = np.random.Philox(key=seed).random_raw(-(-count // 4))
    return raw.astype("<u8", copy=False).view("<u2")[:count]


@functools.lru_cache(maxsize=1)
def normal_quantiles() -> Singles:
    """The standard normal distribution's quantiles at the middles of 2**16 even steps.

    Looked up by :func:`sixteen_bits` they are normal noise, up to 4.2 standard deviations.
    """
    return np.asarray(ndtri((np.arange(2**16) + 0.5) / 2**16), dtype=np.float32)
