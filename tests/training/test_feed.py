"""Feed: each film of a part goes to one process, with its own pixels and label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pulmospark.core.tables import Split
from pulmospark.data.cohort import Part, in_part, read_cohort
from pulmospark.training.feed import Films, load_films
from training.toys import CLASSES, SIZE, toy_films, write_toy


def _load(folder: Path, part: Part, shard: int = 0, shards: int = 1) -> Films:
    images, cohort = folder / "images", folder / "cohort"
    return load_films(images, cohort, part, CLASSES, size=SIZE, shard=shard, shards=shards)


@pytest.mark.parametrize("split", [Split.TRAIN, Split.VALIDATION, Split.TEST])
@pytest.mark.parametrize("shards", [1, 2, 3, 50])
def test_shards_part_the_films(split: Split, shards: int, tmp_path: Path) -> None:
    _, cohort = write_toy(tmp_path)
    rows = read_cohort(cohort)
    drawn = toy_films(60)
    numbers = [int(uri[7:12]) for uri in rows["uri"].to_pylist()]
    wanted = [n for n, here in zip(numbers, in_part(rows, Part(split)), strict=True) if here]
    assert wanted
    seen: dict[bytes, int] = {}
    sizes = []
    for shard in range(shards):
        films = _load(tmp_path, Part(split), shard, shards)
        assert films.pixels.dtype == np.uint8
        sizes.append(len(films.labels))
        for pixels, label in zip(films.pixels, films.labels, strict=True):
            assert pixels.tobytes() not in seen
            seen[pixels.tobytes()] = int(label)
    assert seen == {drawn.pixels[n].tobytes(): int(drawn.labels[n]) for n in wanted}
    assert max(sizes) - min(sizes) <= 1


def test_films_left_out_are_in_no_part(tmp_path: Path) -> None:
    write_toy(tmp_path)
    counts = [len(_load(tmp_path, Part(name)).labels) for name in Split]
    assert sum(counts) == len([n for n in range(60) if n % 11 != 10])


def test_a_film_that_the_images_lack_is_told(tmp_path: Path) -> None:
    write_toy(tmp_path)
    (tmp_path / "images" / "1.parquet").unlink()
    with pytest.raises(ValueError, match="of the cohort are in the images table"):
        _load(tmp_path, Part(Split.TRAIN))
