"""Batches of films from the images table, without the JVM and without a copy on disk.

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
from pulmospark.training.dataset import Batch, Listing, Piece, read_piece

Augment = Callable[[Pixels, Sequence[str], int], Pixels]
"""(pixels uint8 (n, h, w), keys, draw number) -> pixels uint8 (n, h, w)"""


@dataclass(frozen=True)
class Draw:
    """How one process iterates over the films in one epoch.

    Attributes:
        seed: of the training.
        epoch: from 1.
        batch: films per batch.
        rank: number of this process.
        world: number of processes.
        times: mean number of draws of a film, per class; empty: one.
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

    def repeated(self, films: Ints, labels: Ints, rng: np.random.Generator) -> Ints:
        """``films``, each repeated k or k + 1 times at random."""
        if not self.times:
            return films
        wanted = np.asarray(self.times)[labels]
        return np.repeat(films, np.floor(wanted + rng.random(len(films))).astype(np.int64))


class Source(Protocol):
    """Films of a split, for one process."""

    def counts(self, classes: int) -> tuple[int, ...]:
        """Films of each class, over all processes."""
        ...

    def draw(self, how: Draw) -> Iterator[Batch]:
        """Endless batches in random order, pass after pass."""
        ...

    def once(self, batch: int) -> Iterator[Batch]:
        """Each film of this process once, in batches of at most ``batch``."""
        ...


@dataclass(frozen=True)
class Films:
    """A process's films, held in memory.

    Attributes:
        pixels: uint8 (n, size, size), grey.
        labels: int64 (n,), index into the experiment's classes.
        keys: n unique names of the films; empty: their numbers.
        of_all: films of each class over all processes; empty: these are all.
    """

    pixels: Pixels
    labels: Ints
    keys: tuple[str, ...] = ()
    of_all: tuple[int, ...] = ()

    def counts(self, classes: int) -> tuple[int, ...]:
        """Films of each class, over all processes."""
        counts = self.of_all or tuple(int(n) for n in np.bincount(self.labels))
        return counts + (0,) * (classes - len(counts))

    def draw(self, how: Draw) -> Iterator[Batch]:
        """Endless batches in random order, pass after pass."""
        rng = how.own()
        films = np.arange(len(self.labels))
        left = films[:0]
        while len(films):
            left = np.concatenate([left, rng.permutation(how.repeated(films, self.labels, rng))])
            while len(left) >= how.batch:
                yield self._batch(left[: how.batch])
                left = left[how.batch :]

    def once(self, batch: int) -> Iterator[Batch]:
        """Each film once, in order."""
        for start in range(0, len(self.labels), batch):
            yield self._batch(np.arange(start, min(start + batch, len(self.labels))))

    def _batch(self, films: Ints) -> Batch:
        keys = [self.keys[n] for n in films] if self.keys else [str(n) for n in films]
        return Batch(self.pixels[films], self.labels[films], keys)


@dataclass(frozen=True)
class Stream:
    """A process's films, read row group by row group in each epoch.

    The row groups are shuffled identically in all processes and distributed evenly by number of
    films; within a process, films are drawn at random from a buffer. A process that runs out of
    films before the others starts again.

    Attributes:
        listing: the films of all processes.
        rank: number of this process.
        world: number of processes.
        buffer: number of films from which a batch is drawn.
    """

    listing: Listing
    rank: int
    world: int
    buffer: int

    def counts(self, classes: int) -> tuple[int, ...]:
        """Films of each class, over all processes."""
        return self.listing.counts(classes)

    def draw(self, how: Draw) -> Iterator[Batch]:
        """Endless batches in random order, pass after pass."""
        order = how.common().permutation(len(self.listing.pieces))
        mine = deal([self.listing.pieces[n] for n in order], self.world)[self.rank]
        if not any(len(piece.films) for piece in mine):
            mine = list(self.listing.pieces)  # fewer films than processes
        pool = _Pool(max(self.buffer, 2 * how.batch), self.listing.size, how.own())
        while len(self.listing.labels):
            for piece in mine:
                pixels = read_piece(piece, self.listing.size)
                labels = self.listing.labels[piece.films]
                chosen = how.repeated(np.arange(len(piece.films)), labels, pool.rng)
                while len(chosen):
                    chosen = pool.put(chosen, pixels, piece.films)
                    if pool.full:
                        yield self.listing.batch(*pool.take(how.batch))
            while pool.held >= how.batch:
                yield self.listing.batch(*pool.take(how.batch))

    def once(self, batch: int) -> Iterator[Batch]:
        """Each film of this process once, in order."""
        for piece in deal(self.listing.pieces, self.world)[self.rank]:
            pixels = read_piece(piece, self.listing.size)
            for start in range(0, len(pixels), batch):
                end = start + batch
                yield self.listing.batch(piece.films[start:end], pixels[start:end])


class _Pool:
    """Shuffle buffer of films; uint8 (room, size, size)."""

    def __init__(self, room: int, size: int, rng: np.random.Generator) -> None:
        self.rng, self.held = rng, 0
        self._pixels = np.empty((room, size, size), np.uint8)
        self._films = np.empty(room, np.int64)

    @property
    def full(self) -> bool:
        return self.held == len(self._films)

    def put(self, chosen: Ints, pixels: Pixels, films: Ints) -> Ints:
        """Add as many of the chosen films as fit; return the others."""
        now = chosen[: len(self._films) - self.held]
        place = slice(self.held, self.held + len(now))
        self._pixels[place], self._films[place] = pixels[now], films[now]
        self.held += len(now)
        return chosen[len(now) :]

    def take(self, count: int) -> tuple[Ints, Pixels]:
        """Draw films; the last ones fill the gaps."""
        places = self.rng.choice(self.held, count, replace=False)
        films, pixels = self._films[places], self._pixels[places]
        self.held -= count
        holes = np.sort(places[places < self.held])
        movers = np.setdiff1d(np.arange(self.held, self.held + count), places)
        self._pixels[holes], self._films[holes] = self._pixels[movers], self._films[movers]
        return films, pixels


def open_feed(
    listing: Listing, *, rank: int = 0, world: int = 1, bytes_max: int = limits.FEED_BYTES_MAX
) -> Films | Stream:
    """Open a process's share of the films: in memory if it fits in ``bytes_max``.

    Args:
        listing: the films of all processes.
        rank: number of this process.
        world: number of processes.
        bytes_max: bytes of pixels that the process may hold.
    """
    share = -(-len(listing.labels) // world)
    if share * listing.film_bytes > bytes_max:
        return Stream(listing, rank, world, bytes_max // listing.film_bytes)
    return _load(listing, rank, world)


def deal(pieces: Sequence[Piece], world: int) -> list[list[Piece]]:
    """Assign each piece to the process with the fewest films; too few pieces are split."""
    if pieces and len(pieces) < world:
        parts = -(-world // len(pieces))
        pieces = [
            replace(piece, rows=piece.rows[start::parts], films=piece.films[start::parts])
            for start in range(parts)
            for piece in pieces
        ]
    hands: list[list[Piece]] = [[] for _ in range(world)]
    heap = [(0, rank) for rank in range(world)]
    for piece in pieces:
        held, rank = heap[0]
        hands[rank].append(piece)
        heapq.heapreplace(heap, (held + len(piece.films), rank))
    return hands


def _load(listing: Listing, rank: int, world: int) -> Films:
    """Every ``world``-th film in the order of the paths, so that all shares are similar."""
    mine = np.arange(rank, len(listing.labels), world)
    pixels = np.empty((len(mine), listing.size, listing.size), np.uint8)
    for piece in listing.pieces:
        own = piece.films % world == rank
        if own.any():
            some = replace(piece, rows=piece.rows[own], films=piece.films[own])
            pixels[some.films // world] = read_piece(some, listing.size)
    keys = tuple(listing.keys.take(pa.array(mine)).to_pylist())
    return Films(pixels, listing.labels[mine], keys, listing.counts(0))
