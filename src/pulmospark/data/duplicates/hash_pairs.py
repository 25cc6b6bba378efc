"""Find pairs of similar perceptual hashes on Spark without comparing all with all.

Multi-index hashing (Norouzi, Punjani and Fleet, "Fast search in Hamming space with multi-index
hashing", 2012): 64 bits are four bands of 16. If two hashes differ in at most 7 bits, one band
differs in at most one (pigeonhole). So each hash is indexed by its four bands, and the hash of
each whole image is looked up under each band, unchanged and with any one bit flipped; the few
matches are then counted bit by bit. None within 7 bits is missed; most of those further apart are
found (88 % at 9 bits, if the differing bits are spread evenly). Up to 3 bits no bit need be
flipped.

**Hot buckets.** Thousands of images may share a band (for example, nearly black ones); their pairs
would grow with the square. In a bucket with more than ``BUCKET_HASHES_MAX`` hashes the next band
must match, too; buckets that are still too full are skipped and reported.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.chunks.carried import Carry
from pulmospark.core import files, hashing, limits
from pulmospark.core.arrays import Hashes, Ints
from pulmospark.core.errors import InputError
from pulmospark.store.folders import file_here

BANDS, BITS = 4, 16
_KEYS = 1 << BITS
_HASHES, _SCANS = "hashes.npy", "scans.npy"
_ENTRIES_A_TASK = 2_000_000
"""hashes that a task sorts: some 60 MB"""
_ROWS_AT_ONCE = 65_536
_COMPARED_AT_ONCE = 1 << 18
"""hashes compared at once: few enough to stay in a core's cache"""
_FOUND_AT_ONCE = 4_000_000

PAIRS = pa.schema([("first", pa.int64()), ("second", pa.int64()), ("distance", pa.int32())])
"""``first`` < ``second``; each pair once per task, but again from another band."""

HOT = pa.schema([("band", pa.int32()), ("key", pa.int32()), ("extra", pa.int32())])
"""Skipped buckets: the band, its bits, and those of the next band."""


@dataclass(frozen=True)
class NearWork:
    """From a band and some of its keys to the pairs that match there.

    Images are numbered from 0. An image's first hash is of the whole picture; each comparison
    includes one of those. Images of one scan are not compared.

    Attributes:
        hashes: file; see :func:`write_hashes`.
        scans: file.
        hashes_id: of their content.
        distance: maximum number of differing bits of 64, up to ``limits.NEAR_DISTANCE_MAX``.
    """

    hashes: str
    scans: str
    hashes_id: str
    distance: int
    columns: Sequence[str] | None = None

    @classmethod
    def of(cls, folder: Path, hashes_id: str, distance: int) -> Self:
        """With the files of a folder."""
        return cls(str(folder / _HASHES), str(folder / _SCANS), hashes_id, distance)

    def carried(self, carry: Carry) -> Self:
        """See :class:`pulmospark.chunks.carried.Carrying`."""
        return replace(self, hashes=carry(self.hashes), scans=carry(self.scans))

    def key(self, chunk: pa.Table) -> str:
        """The hashes, the limits and the keys."""
        parts = [self.hashes_id, self.distance, limits.BUCKET_HASHES_MAX, chunk.to_pydict()]
        return hashing.value_id(["near-2", *parts])

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``near`` (:data:`PAIRS`) and of ``hot`` (:data:`HOT`)."""
        hashes, scans = (
            np.load(file_here(path), mmap_mode="r", allow_pickle=False)
            for path in (self.hashes, self.scans)
        )
        near, hot = [], []
        for row in chunk.to_pylist():
            index = _Index(hashes, row["band"], row["low"], row["high"])
            hot.append(index.hot)
            near.append(_pairs(index, hashes, scans, self.distance))
        return {"near": pa.concat_tables(near), "hot": pa.concat_tables(hot)}


def write_hashes(
    folder: Path, images: int, crops: int
) -> tuple[np.memmap[Any, np.dtype[np.uint64]], np.memmap[Any, np.dtype[np.int32]]]:
    """Create files for the hashes, (images, crops) uint64, and scans, (images,) int32, -1: none.

    The caller fills and flushes both before :func:`plan_of`.

    Raises:
        PlatformError: no space for them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    open_memmap = np.lib.format.open_memmap
    hashes = open_memmap(folder / _HASHES, mode="w+", dtype=np.uint64, shape=(images, crops))
    scans = open_memmap(folder / _SCANS, mode="w+", dtype=np.int32, shape=(images,))
    for name in (_HASHES, _SCANS):
        files.allocate(folder / name)
    return hashes, scans


def plan_of(folder: Path) -> Path:
    """The file whose row groups are the tasks: a band each, and keys from ``low`` to ``high``."""
    hashes = np.load(folder / _HASHES, mmap_mode="r", allow_pickle=False)
    ranges = int(np.clip(-(-hashes.size // _ENTRIES_A_TASK), 1, _KEYS))
    edges = np.linspace(0, _KEYS, ranges + 1).astype(int).tolist()
    tasks = [
        {"band": band, "low": low, "high": high}
        for band in range(BANDS)
        for low, high in itertools.pairwise(edges)
    ]
    path = folder / "plan.parquet"
    pq.write_table(pa.Table.from_pylist(tasks), path, row_group_size=1)
    return path


class _Index:
    """The hashes of some keys of a band, by bucket.

    A bucket's number is its key, and if crowded also the bits of the next band.
    """

    def __init__(self, hashes: Hashes, band: int, low: int, high: int) -> None:
        self.band, self.low, self.high = band, low, high
        images, crops, keys = _within(hashes, band, low, high)
        self.crowded = np.bincount(keys - low, minlength=high - low) > limits.BUCKET_HASHES_MAX
        values = hashes[images, crops]
        buckets = self.buckets(keys, values)
        order = np.argsort(buckets, kind="stable")
        sizes = np.unique(buckets, return_counts=True)
        full = sizes[0][sizes[1] > limits.BUCKET_HASHES_MAX]
        order = order[~np.isin(buckets[order], full)]
        self.images, self.whole = images[order], crops[order] == 0
        self.values, self.ordered = values[order], buckets[order]
        self.hot = pa.table([[band] * full.size, full >> (BITS + 1), full % _KEYS], schema=HOT)

    def buckets(self, keys: Ints, values: Hashes) -> Ints:
        """Numbers of the buckets of hashes under these keys."""
        extra = _band(values, (self.band + 1) % BANDS) + _KEYS
        return (keys << (BITS + 1)) + np.where(self.crowded[keys - self.low], extra, 0)


def _within(hashes: Hashes, band: int, low: int, high: int) -> tuple[Ints, Ints, Ints]:
    """Image, crop and key of the hashes whose key is in a range."""
    blocks = []
    for start in range(0, len(hashes), _ROWS_AT_ONCE):
        keys = _band(hashes[start : start + _ROWS_AT_ONCE], band)
        images, crops = np.nonzero((keys >= low) & (keys < high))
        blocks.append((images + start, crops, keys[images, crops]))
    images, crops, keys = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return images, crops, keys


def _probes(index: _Index, wholes: Hashes, distance: int) -> tuple[Ints, Ints]:
    """Image and bucket of every look-up of a whole image, in the order of the buckets."""
    keys = _band(wholes, index.band)
    flips = [0, *((1 << bit for bit in range(BITS)) if distance >= BANDS else ())]
    images, buckets = [], []
    for bits in flips:
        probed = keys ^ bits
        there = np.flatnonzero((probed >= index.low) & (probed < index.high))
        images.append(there)
        buckets.append(index.buckets(probed[there], wholes[there]))
    image, bucket = np.concatenate(images), np.concatenate(buckets)
    order = np.argsort(bucket, kind="stable")
    return image[order], bucket[order]


def _pairs(index: _Index, hashes: Hashes, scans: npt.NDArray[np.int32], distance: int) -> pa.Table:
    """The pairs that match in the buckets of an index."""
    wholes = np.ascontiguousarray(hashes[:, 0])
    image, bucket = _probes(index, wholes, distance)
    first = np.searchsorted(index.ordered, bucket, "left")
    count = np.searchsorted(index.ordered, bucket, "right") - first
    waiting: list[tuple[Ints, Ints, Ints]] = []
    nearest = _nothing()
    for probes, places in _side_by_side(first, count):
        one, other = image[probes], index.images[places]
        bits = np.bitwise_count(wholes[one] ^ index.values[places])
        kept = np.flatnonzero(bits <= distance)
        one, other, whole = one[kept], other[kept], index.whole[places[kept]]
        # A pair of wholes is looked up from both sides: keep one of the two matches.
        wanted = np.where(whole, one < other, one != other)
        wanted &= (scans[one] < 0) | (scans[one] != scans[other])
        one, other = one[wanted], other[wanted]
        distances = bits[kept][wanted].astype(np.int64)
        waiting.append((np.minimum(one, other), np.maximum(one, other), distances))
        if sum(len(some[0]) for some in waiting) > _FOUND_AT_ONCE:
            nearest, waiting = _nearest([nearest, *waiting], len(hashes)), []
    nearest = _nearest([nearest, *waiting], len(hashes))
    return pa.table([nearest[0], nearest[1], nearest[2].astype(np.int32)], schema=PAIRS)


def _side_by_side(first: Ints, count: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Numbers of look-ups and places in the index that are to be compared, some at a time."""
    ends = np.cumsum(count)
    start = 0
    while start < count.size:
        before = int(ends[start - 1]) if start else 0
        end = int(np.searchsorted(ends, before + _COMPARED_AT_ONCE, "right"))
        end = max(end, start + 1)
        some = count[start:end]
        skipped = ends[start:end] - some - before - first[start:end]
        places = np.arange(some.sum()) - np.repeat(skipped, some)
        if places.size:
            yield np.repeat(np.arange(start, end), some), places
        start = end


def _nearest(found: Sequence[tuple[Ints, Ints, Ints]], images: int) -> tuple[Ints, Ints, Ints]:
    """Each pair once, with its least distance."""
    first, second, bits = (np.concatenate(blocks) for blocks in zip(*found, strict=True))
    pair = first * images + second
    order = np.lexsort((bits, pair))
    order = order[np.diff(pair[order], prepend=-1) > 0]
    if order.size > limits.NEAR_PAIRS_MAX:
        raise InputError(
            f"{order.size:,} pairs of images have similar hashes, over the limit of "
            f"{limits.NEAR_PAIRS_MAX:,}: set audit.hash_distance lower"
        )
    return first[order], second[order], bits[order]


def _nothing() -> tuple[Ints, Ints, Ints]:
    empty = np.empty(0, np.int64)
    return empty, empty, empty


def _band(hashes: npt.NDArray[Any], band: int) -> Ints:
    moved = hashes >> np.uint64(band * BITS)
    return np.asarray(moved & np.uint64(_KEYS - 1), np.int64)
