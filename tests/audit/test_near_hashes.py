"""The join of near hashes, beside all pairs compared."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import SparkSession

from pulmospark.core import limits
from pulmospark.data.near_hashes import near_hashes

pytestmark = pytest.mark.spark


def _hashes(seed: int, films: int) -> list[int]:
    """Random hashes; every other is the one before with 0 to 12 bits turned."""
    random = np.random.default_rng(seed)
    found: list[int] = []
    for film in range(films):
        if film % 2 and random.random() < 0.7:
            turned = random.choice(64, random.integers(0, 13), replace=False)
            found.append(found[-1] ^ sum(1 << int(bit) for bit in turned))
        else:
            found.append(int.from_bytes(random.bytes(8), "little"))
    return found


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


@pytest.mark.parametrize("distance", [3, 7])
def test_every_pair_within_the_distance_is_found_and_no_other(
    spark: SparkSession, distance: int
) -> None:
    hashes = _hashes(distance, 400)
    rows = [(film, [_signed(value)]) for film, value in enumerate(hashes)]
    films = spark.createDataFrame(rows, "film long, hashes array<long>").coalesce(1)
    near = near_hashes(films, distance)
    found = {(row["first"], row["second"]): row["distance"] for row in near.pairs.collect()}
    bits = {
        (one, other): (hashes[one] ^ hashes[other]).bit_count()
        for one in range(len(hashes))
        for other in range(one + 1, len(hashes))
    }
    assert found == {pair: count for pair, count in bits.items() if count <= distance}
    assert near.hot.count() == 0


def test_a_crop_is_compared_with_the_whole_of_another(spark: SparkSession) -> None:
    rows = [(0, [1, 2**40]), (1, [2**50 + 2**30, 1 + 2**9]), (2, [2**60 + 2**20, 2**40])]
    films = spark.createDataFrame(rows, "film long, hashes array<long>")
    found = {tuple(row)[:2] for row in near_hashes(films, 1).pairs.collect()}
    # 1's crop is 0's whole but for a bit; 2's crop is only 0's crop.
    assert found == {(0, 1)}


def test_a_bucket_too_full_is_left_out_and_told(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BUCKET_HASHES_MAX", 10)
    rows = [(film, [film << 16]) for film in range(20)]
    films = spark.createDataFrame(rows, "film long, hashes array<long>")
    near = near_hashes(films, 7)
    # Bands 0, 2 and 3 are nought in all; next to 0 stands what differs, next to 2 and 3 nought.
    assert {row["band"] for row in near.hot.collect()} == {2, 3}
    found = {(row["first"], row["second"]) for row in near.pairs.collect()}
    assert (0, 1) in found  # by band 1, with one bit turned
