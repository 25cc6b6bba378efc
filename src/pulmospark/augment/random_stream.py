"""Random numbers that depend only on a seed and an image: stateless and reproducible."""

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
    """Uniform integers below 2**53: the SHAKE-256 stream of seed, draw and key.

    A hash instead of a generator: the numbers of an image do not depend on other images, library
    versions or the processor.

    Args:
        seed: of the augmentation.
        key: of the image.
        draw: version of the image.
        count: how many numbers.
    """
    text = f"{seed}\0{draw}\0{key}".encode()
    stream = hashlib.shake_256(text).digest(_WORD_BYTES * count)
    numbers = np.frombuffer(stream, dtype="<u8") >> np.uint64(11)
    return tuple(numbers.tolist())


def unit(word: int) -> float:
    """A number in [0, 1) from one of :func:`words`."""
    return word * _UNIT


def sixteen_bits(seed: int, count: int) -> NDArray[np.uint16]:
    """Uniform integers below 2**16; uint16 (count,).

    The raw stream of Philox 4x64 (Salmon et al., SC 2011), which numpy keeps stable across
    versions, unlike the methods of its ``Generator``.
    """
    # A key, not a seed: numpy's seeding costs more than the numbers.
    raw = np.random.Philox(key=seed).random_raw(-(-count // 4))
    return raw.astype("<u8", copy=False).view("<u2")[:count]


@functools.lru_cache(maxsize=1)
def normal_quantiles() -> Singles:
    """Standard normal quantiles at the midpoints of 2**16 equal steps, (65536,).

    Indexed by :func:`sixteen_bits` they are normal noise, up to 4.2 standard deviations.
    """
    return np.asarray(ndtri((np.arange(2**16) + 0.5) / 2**16), dtype=np.float32)
