"""Batches of images from the images table, without the JVM and without a copy on disk.

The batches of a process depend only on seed, epoch and rank, so a training run that resumes sees
the same batches.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pyarrow as pa

from pulmospark.core import limits
from pulmospark.core.arrays import Ints, Pixels
from pulmospark.training.dataset import Batch, Listing, Piece, read_pieces

Augment = Callable[[Pixels, Sequence[str], int], Pixels]
"""(pixels uint8 (n, h, w), keys, draw number) -> pixels uint8 (n, h, w)"""


@dataclass(frozen=True)
class Draw:
    """How one process iterates over the images in one epoch.

    Attributes:
        seed: of the training.
        epoch: from 1.
        batch: images per batch.
        rank: number of this process.
        world: number of processes.
        times: mean number of draws of an image, per class; empty: one.
    """

    seed: int
    epoch: int
    batch: int
    rank: int = 0
    world: int = 1
    times: tuple[float, ...] = ()

    def own(self) -> np.random.Generator:
        """Random numbers of this process."""
        return np.random.default_rng([self.seed, self.epoch, 1 + self.rank])

    def common(self) -> np.random.Generator:
        """Random numbers that are the same in all processes."""
        return np.random.default_rng([self.seed, self.epoch, 0])

    def repeated(self, images: Ints, labels: Ints, rng: np.random.Generator) -> Ints:
        """``images``, (n,), each repeated k or k + 1 times at random."""
        if not self.times:
            return images
        wanted = np.asarray(self.times)[labels]
        return np.repeat(images, np.floor(wanted + rng.random(len(images))).astype(np.int64))


class Source(Protocol):
    """Images of a split, for one process."""

    def counts(self, classes: int) -> tuple[int, ...]:
        """Images of each class, over all processes."""
        ...

    def draw(self, how: Draw) -> Iterator[Batch]:
        """Endless batches in random order, pass after pass."""
        ...

    def once(self, batch: int) -> Iterator[Batch]:
        """Each image of this process once, in batches of at most ``batch``."""
        ...


@dataclass(frozen=True)
class ImageSet:
    """A process's images, held in memory.

    Attributes:
        pixels: uint8 (n, size, size), grey.
        labels: int64 (n,), index into the experiment's classes.
        keys: n unique names of the images; empty: their numbers.
        of_all: images of each class over all processes; empty: these are all.
    """

    pixels: Pixels
    labels: Ints
    keys: tuple[str, ...] = ()
    of_all: tuple[int, ...] = ()

    def counts(self, classes: int) -> tuple[int, ...]:
        """Images of each class, over all processes."""
        counts = self.of_all or tuple(int(n) for n in np.bincount(self.labels))
        return counts + (0,) * (classes - len(counts))

    def draw(self, how: Draw) -> Iterator[Batch]:
        """Endless batches in random order, pass after pass."""
        rng = how.own()
        images = np.arange(len(self.labels))
        left = images[:0]
        while len(images):
            left = np.concatenate([left, rng.permutation(how.repeated(images, self.labels, rng))])
            while len(left) >= how.batch:
                yield self._batch(left[: how.batch])
                left = left[how.batch :]

    def once(self, batch: int) -> Iterator[Batch]:
        """Each image once, in order."""
        for start in range(0, len(self.labels), batch):
            yield self._batch(np.arange(start, min(start + batch, len(self.labels))))

    def _batch(self, images: Ints) -> Batch:
        keys = [self.keys[n] for n in images] if self.keys else [str(n) for n in images]
        return Batch(self.pixels[images], self.labels[images], keys)


@dataclass(frozen=True)
class Stream:
    """A process's images, read row group by row group in each epoch.

    The row groups are shuffled identically in all processes and distributed evenly by number of
    images; within a process, images are drawn at random from a buffer. A process that runs out of
    images before the others starts again.

    Attributes:
        listing: the images of all processes.
        rank: number of this process.
        world: number of processes.
        buffer: number of images from which a batch is drawn.
    """

    listing: Listing
    rank: int
    world: int
    buffer: int

    def counts(self, classes: int) -> tuple[int, ...]:
        """Images of each class, over all processes."""
        return self.listing.counts(classes)

    def draw(self, how: Draw) -> Iterator[Batch]:
        """Endless batches in random order, pass after pass."""
        order = how.common().permutation(len(self.listing.pieces))
        mine = deal([self.listing.pieces[n] for n in order], self.world)[self.rank]
        if not any(len(piece.images) for piece in mine):
            mine = list(self.listing.pieces)  # fewer images than processes
        pool = _Pool(max(self.buffer, 2 * how.batch), self.listing.size, how.own())
        while len(self.listing.labels):
            for piece, pixels in zip(mine, read_pieces(mine, self.listing.size), strict=True):
                labels = self.listing.labels[piece.images]
                chosen = how.repeated(np.arange(len(piece.images)), labels, pool.rng)
                while len(chosen):
                    chosen = pool.put(chosen, pixels, piece.images)
                    if pool.full:
                        yield self.listing.batch(*pool.take(how.batch))
            while pool.held >= how.batch:
                yield self.listing.batch(*pool.take(how.batch))

    def once(self, batch: int) -> Iterator[Batch]:
        """Each image of this process once, in order."""
        mine = deal(self.listing.pieces, self.world)[self.rank]
        for piece, pixels in zip(mine, read_pieces(mine, self.listing.size), strict=True):
            for start in range(0, len(pixels), batch):
                end = start + batch
                yield self.listing.batch(piece.images[start:end], pixels[start:end])


class _Pool:
    """Shuffle buffer of images; uint8 (room, size, size)."""

    def __init__(self, room: int, size: int, rng: np.random.Generator) -> None:
        self.rng, self.held = rng, 0
        self._pixels = np.empty((room, size, size), np.uint8)
        self._images = np.empty(room, np.int64)

    @property
    def full(self) -> bool:
        return self.held == len(self._images)

    def put(self, chosen: Ints, pixels: Pixels, images: Ints) -> Ints:
        """Add as many of the chosen images as fit; return the others."""
        now = chosen[: len(self._images) - self.held]
        place = slice(self.held, self.held + len(now))
        self._pixels[place], self._images[place] = pixels[now], images[now]
        self.held += len(now)
        return chosen[len(now) :]

    def take(self, count: int) -> tuple[Ints, Pixels]:
        """Draw images; the last ones fill the gaps."""
        places = self.rng.choice(self.held, count, replace=False)
        images, pixels = self._images[places], self._pixels[places]
        self.held -= count
        holes = np.sort(places[places < self.held])
        movers = np.setdiff1d(np.arange(self.held, self.held + count), places)
        self._pixels[holes], self._images[holes] = self._pixels[movers], self._images[movers]
        return images, pixels


def open_feed(
    listing: Listing, *, rank: int = 0, world: int = 1, bytes_max: int = limits.FEED_BYTES_MAX
) -> ImageSet | Stream:
    """Open a process's share of the images: in memory if it fits in ``bytes_max``.

    Args:
        listing: the images of all processes.
        rank: number of this process.
        world: number of processes.
        bytes_max: bytes of pixels that the process may hold.
    """
    share = -(-len(listing.labels) // world)
    if share * listing.image_bytes > bytes_max:
        return Stream(listing, rank, world, bytes_max // listing.image_bytes)
    return _load(listing, rank, world)


def deal(pieces: Sequence[Piece], world: int) -> list[list[Piece]]:
    """Assign each piece to the process with the fewest images; too few pieces are split."""
    if pieces and len(pieces) < world:
        parts = -(-world // len(pieces))
        pieces = [
            replace(piece, rows=piece.rows[start::parts], images=piece.images[start::parts])
            for start in range(parts)
            for piece in pieces
        ]
    hands: list[list[Piece]] = [[] for _ in range(world)]
    heap = [(0, rank) for rank in range(world)]
    for piece in pieces:
        held, rank = heap[0]
        hands[rank].append(piece)
        heapq.heapreplace(heap, (held + len(piece.images), rank))
    return hands


def _load(listing: Listing, rank: int, world: int) -> ImageSet:
    """Every ``world``-th image in the order of the paths, so that all shares are similar."""
    mine = np.arange(rank, len(listing.labels), world)
    pixels = np.empty((len(mine), listing.size, listing.size), np.uint8)
    pieces = []
    for piece in listing.pieces:
        own = piece.images % world == rank
        if own.any():
            pieces.append(replace(piece, rows=piece.rows[own], images=piece.images[own]))
    for piece, some in zip(pieces, read_pieces(pieces, listing.size), strict=True):
        pixels[piece.images // world] = some
    keys = tuple(listing.keys.take(pa.array(mine)).to_pylist())
    return ImageSet(pixels, listing.labels[mine], keys, listing.counts(0))
