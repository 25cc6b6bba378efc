"""Feed: each image of a part goes to one process, with its own pixels, label and id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulmospark.core.errors import InputError
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import Part, in_part, read_cohort
from pulmospark.training.data_loader import Draw, ImageSet, Stream, deal, open_feed
from pulmospark.training.dataset import Batch, Listing, Piece, list_images
from pulmospark.training.mapped_listing import keep_listing, kept_listing
from training.toys import CLASSES, SIZE, toy_images, write_toy

IMAGE = SIZE * SIZE
MEMORY, STREAMED = 10**9, 12 * IMAGE
"""bytes that a process may hold: all images, or twelve"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_toy(folder, count=200)
    return folder


def _listing(folder: Path, name: Split = Split.TRAIN) -> Listing:
    images, cohort = folder / "images", folder / "cohort"
    (found,) = list_images(images, cohort, [Part(name)], CLASSES, size=SIZE)
    keep_listing(found, folder / f"kept-{name}")
    return kept_listing(folder / f"kept-{name}")


def _wanted(folder: Path, name: Split) -> dict[str, tuple[bytes, int]]:
    """Key -> pixels and label, from the images as they were drawn."""
    rows = read_cohort(folder / "cohort")
    drawn = toy_images(200)
    ids = [
        key
        for key, here in zip(rows["image_id"].to_pylist(), in_part(rows, Part(name)), strict=True)
        if here
    ]
    return {key: (drawn.pixels[int(key, 16)].tobytes(), int(key, 16) % 2) for key in ids}


def _images(batches: Iterator[Batch]) -> list[tuple[str, tuple[bytes, int]]]:
    return [
        (key, (pixels.tobytes(), int(label)))
        for batch in batches
        for key, pixels, label in zip(batch.keys, batch.pixels, batch.labels, strict=True)
    ]


@pytest.mark.parametrize("fold", [None, 99])
def test_a_kept_listing_is_the_listing(toy: Path, tmp_path: Path, fold: int | None) -> None:
    part = Part(Split.TEST, fold)  # of fold 99 there is none
    (listing,) = list_images(toy / "images", toy / "cohort", [part], CLASSES, size=SIZE)
    keep_listing(listing, tmp_path)
    kept = kept_listing(tmp_path)
    assert kept.size == SIZE
    assert kept.labels.tolist() == listing.labels.tolist()
    assert kept.keys.to_pylist() == listing.keys.to_pylist()
    assert [(p.path, p.group) for p in kept.pieces] == [(p.path, p.group) for p in listing.pieces]
    for own, piece in zip(kept.pieces, listing.pieces, strict=True):
        assert own.rows.tolist() == piece.rows.tolist()
        assert own.images.tolist() == piece.images.tolist()
        # Of a file: not in this process's own memory.
        assert own.images.base is not None
        assert isinstance(own.images.base.base, np.memmap)


@pytest.mark.parametrize("split", [Split.TRAIN, Split.VALIDATION, Split.TEST])
@pytest.mark.parametrize("world", [1, 2, 3, 30])
@pytest.mark.parametrize("held", [MEMORY, IMAGE])
def test_processes_part_the_images(toy: Path, split: Split, world: int, held: int) -> None:
    listing, wanted = _listing(toy, split), _wanted(toy, split)
    seen: dict[str, tuple[bytes, int]] = {}
    for rank in range(world):
        feed = open_feed(listing, rank=rank, world=world, bytes_max=held)
        assert feed.counts(3) == (*np.bincount(listing.labels), 0)
        found = _images(feed.once(7))
        assert not set(seen) & {key for key, _ in found}
        seen |= dict(found)
    assert seen == wanted


@pytest.mark.parametrize("held", [MEMORY, STREAMED])
@pytest.mark.parametrize("world", [1, 2])
def test_a_round_has_each_image_once_in_another_order_each_epoch(
    toy: Path, held: int, world: int
) -> None:
    listing, wanted = _listing(toy), _wanted(toy, Split.TRAIN)
    feeds = [open_feed(listing, rank=r, world=world, bytes_max=held) for r in range(world)]
    assert all(isinstance(feed, Stream if held == STREAMED else ImageSet) for feed in feeds)

    def drawn(epoch: int, seed: int = 5) -> list[list[str]]:
        keys = []
        for rank, feed in enumerate(feeds):
            # A round and a bit: processes may have a row group's images more or less.
            how = Draw(seed, epoch, batch=5, rank=rank, world=world)
            found = _images(islice(feed.draw(how), 45 // world))
            assert all(wanted[key] == told for key, told in found)
            keys.append([key for key, _ in found])
        return keys

    first = drawn(1)
    assert first == drawn(1)
    assert first != drawn(2)
    assert first != drawn(1, seed=6)
    rounds = Counter(key for keys in first for key in keys)
    assert set(rounds) == set(wanted)
    assert max(rounds.values()) <= 2
    assert max(rounds.values()) == 1 or sum(rounds.values()) > len(wanted)


def test_a_stream_mixes_row_groups(toy: Path) -> None:
    listing = _listing(toy)
    feed = open_feed(listing, bytes_max=40 * IMAGE)
    group = {
        key: number
        for number, piece in enumerate(listing.pieces)
        for key in listing.keys.take(piece.images).to_pylist()
    }
    batches = islice(feed.draw(Draw(1, 1, batch=8)), 8)
    assert np.mean([len({group[key] for key in batch.keys}) for batch in batches]) > 2


@pytest.mark.parametrize("held", [MEMORY, STREAMED])
def test_classes_are_drawn_as_often_as_they_are_to_be(toy: Path, held: int) -> None:
    feed = open_feed(_listing(toy), bytes_max=held)
    batches = islice(feed.draw(Draw(1, 1, batch=20, times=(0.5, 1.5))), 100)
    labels = np.concatenate([batch.labels for batch in batches])
    assert 0.70 < labels.mean() < 0.80


def test_images_left_out_are_in_no_part(toy: Path) -> None:
    assert sum(len(_listing(toy, name).labels) for name in Split) == len(
        [n for n in range(200) if n % 11 != 10]
    )


def test_a_image_that_the_images_lack_is_told(tmp_path: Path) -> None:
    write_toy(tmp_path)
    (tmp_path / "images" / "1.parquet").unlink()
    with pytest.raises(InputError, match=r"of \d+ images of the cohort are in the images table"):
        _listing(tmp_path)


@pytest.mark.parametrize("held", [MEMORY, STREAMED])
def test_images_of_another_size_are_told(tmp_path: Path, held: int) -> None:
    images, cohort = write_toy(tmp_path)
    (listing,) = list_images(images, cohort, [Part(Split.TRAIN)], CLASSES, size=SIZE + 1)
    with pytest.raises(InputError, match="other than 17 x 17 pixels"):
        next(open_feed(listing, bytes_max=held).once(4))


@given(st.lists(st.integers(0, 300), max_size=40), st.integers(1, 20))
def test_pieces_are_dealt_out_evenly(sizes: list[int], world: int) -> None:
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    pieces = [
        Piece(Path("a"), n, np.arange(size), np.arange(start, start + size), size)
        for n, (size, start) in enumerate(zip(sizes, starts, strict=False))
    ]
    hands = deal(pieces, world)
    assert len(hands) == world
    images = [image for hand in hands for piece in hand for image in piece.images.tolist()]
    assert sorted(images) == list(range(sum(sizes)))
    loads = [sum(len(piece.images) for piece in hand) for hand in hands]
    assert max(loads) - min(loads) <= max(sizes, default=0)
