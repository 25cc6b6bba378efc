"""The search for near hashes, beside all pairs compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pulmospark.core import limits
from pulmospark.core.errors import InputError
from pulmospark.data.duplicates import hash_pairs
from pulmospark.data.duplicates.hash_pairs import NearWork, plan_of, write_hashes


def _hashes(seed: int, images: int) -> list[int]:
    """Random hashes; every other is the one before with 0 to 12 bits turned."""
    random = np.random.default_rng(seed)
    found: list[int] = []
    for image in range(images):
        if image % 2 and random.random() < 0.7:
            turned = random.choice(64, random.integers(0, 13), replace=False)
            found.append(found[-1] ^ sum(1 << int(bit) for bit in turned))
        else:
            found.append(int.from_bytes(random.bytes(8), "little"))
    return found


def _found(
    folder: Path, hashes: list[list[int]], distance: int, scans: list[int] | None = None
) -> tuple[dict[tuple[int, int], int], set[int]]:
    """Pairs with their distance, and the bands of the buckets that were left out."""
    values, numbers = write_hashes(folder, len(hashes), len(hashes[0]))
    values[:] = np.asarray(hashes, np.uint64)
    numbers[:] = scans or [-1] * len(hashes)
    values.flush()
    numbers.flush()
    work = NearWork.of(folder, "id", distance)
    pairs: dict[tuple[int, int], int] = {}
    hot: set[int] = set()
    plan = pq.ParquetFile(plan_of(folder))
    for group in range(plan.num_row_groups):
        told = work(plan.read_row_group(group))
        hot.update(told["hot"]["band"].to_pylist())
        for row in told["near"].to_pylist():
            pair = (row["first"], row["second"])
            pairs[pair] = min(row["distance"], pairs.get(pair, 64))
    return pairs, hot


@pytest.mark.parametrize("distance", [3, 7])
@pytest.mark.parametrize("entries", [100, 2_000_000])
def test_every_pair_within_the_distance_is_found_and_no_other(
    tmp_path: Path, distance: int, entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_pairs, "_ENTRIES_A_TASK", entries)
    monkeypatch.setattr(hash_pairs, "_COMPARED_AT_ONCE", 7)
    monkeypatch.setattr(hash_pairs, "_FOUND_AT_ONCE", 20)
    monkeypatch.setattr(hash_pairs, "_ROWS_AT_ONCE", 33)
    hashes = _hashes(distance, 400)
    found, hot = _found(tmp_path, [[value] for value in hashes], distance)
    bits = {
        (one, other): (hashes[one] ^ hashes[other]).bit_count()
        for one in range(len(hashes))
        for other in range(one + 1, len(hashes))
    }
    assert found == {pair: count for pair, count in bits.items() if count <= distance}
    assert not hot


def test_a_crop_is_compared_with_the_whole_of_another(tmp_path: Path) -> None:
    hashes = [[1, 2**40], [2**50 + 2**30, 1 + 2**9], [2**60 + 2**20, 2**40]]
    # 1's crop is 0's whole but for a bit; 2's crop is only 0's crop.
    assert _found(tmp_path, hashes, 1)[0].keys() == {(0, 1)}


def test_images_of_one_scan_are_not_compared(tmp_path: Path) -> None:
    found, _ = _found(tmp_path, [[5], [5], [5], [5]], 7, scans=[0, 0, 1, -1])
    assert found.keys() == {(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_a_bucket_too_full_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BUCKET_HASHES_MAX", 10)
    found, hot = _found(tmp_path, [[image << 16] for image in range(20)], 7)
    # Bands 0, 2 and 3 are nought in all; next to 0 stands what differs, next to 2 and 3 nought.
    assert hot == {2, 3}
    assert (0, 1) in found  # by band 1, with one bit turned


def test_more_pairs_than_can_be_looked_at_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "NEAR_PAIRS_MAX", 44)
    with pytest.raises(InputError, match=r"45 pairs.*the limit of 44"):
        _found(tmp_path, [[7]] * 10, 7)
