"""Who goes into which part: shares by hand, and kept where patients are few and uneven."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from hashlib import sha256

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulmospark.config.split import ImagesPerSplit, SplitSettings
from pulmospark.data.cohort.assignment import assign, counted_parts, deal


def _rows(people: dict[str, tuple[str, int]], source: str = "a") -> pd.DataFrame:
    """A row an image of people with a class and a number of images each."""
    return pd.DataFrame(
        [
            {"group_id": name, "label": label, "source": source, "part": None}
            for name, (label, images) in people.items()
            for _ in range(images)
        ]
    )


def _told(rows: pd.DataFrame, settings: SplitSettings, seed: int = 1) -> pd.DataFrame:
    return rows.join(assign(rows, settings, seed), on="group_id")


def test_dealing_by_hand() -> None:
    # Owed: 0.7, 0.2, 0.1 of the first; then 0.4, 0.4, 0.2, and the first of equals has it; then
    # 0.1, 0.6, 0.3; 0.8, -0.2, 0.4; 0.5, 0, 0.5; 0.2, 0.2, 0.6; ...
    assert deal([1] * 10, (0.7, 0.2, 0.1)) == [0, 0, 1, 0, 0, 2, 0, 0, 1, 0]
    assert deal([1] * 6, (1 / 3,) * 3) == [0, 1, 2, 0, 1, 2]
    # The large one takes the first part's share for a while.
    assert deal([6, 2, 2, 2], (0.5, 0.5)) == [0, 1, 1, 1]
    assert deal([3, 1], (1.0, 0.0)) == [0, 0]
    assert deal([], (0.5, 0.5)) == []


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=80),
    st.sampled_from([(0.7, 0.2, 0.1), (0.9, 0.1), (0.2,) * 5]),
)
def test_no_part_is_further_from_its_share_than_the_largest_group(
    sizes: list[int], shares: tuple[float, ...]
) -> None:
    given_to = Counter[int]()
    for size, part in zip(sizes, deal(sizes, shares), strict=True):
        given_to[part] += size
    for part, share in enumerate(shares):
        assert abs(given_to[part] - share * sum(sizes)) <= max(sizes) + 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_five_folds_validate_on_a_tenth_of_a_rare_class(seed: int) -> None:
    """As of a public set: 124 images of a class, some patients with many."""
    draw = random.Random(seed)
    sizes: list[int] = []
    while sum(sizes) < 124:
        sizes.append(min(draw.choice([1, 1, 1, 1, 2, 2, 3, 5, 7]), 124 - sum(sizes)))
    people = {f"c{n}": ("covid", size) for n, size in enumerate(sizes)}
    people |= {f"n{n}": ("normal", 1) for n in range(780)}
    rows = _told(_rows(people), SplitSettings(folds=5), seed)
    validated = rows[rows["split"] == "validation"]
    images = Counter(validated["label"])
    assert abs(images["covid"] - 12.4) <= 3.5
    assert images["normal"] == 78
    # Each fold's model validates on those outside its fold: spread over the folds, too.
    assert Counter(validated[validated["label"] == "normal"]["fold"]) == pytest.approx(
        dict.fromkeys(range(5), 15.6), abs=1
    )
    of_class = rows[rows["label"] == "covid"].groupby("fold").size()
    assert of_class.max() - of_class.min() <= 7
    assert set(rows["split"]) == {"train", "validation"}


def test_the_order_is_that_of_class_source_size_and_hash() -> None:
    """The seed's hash alone decides among equals, as SHA-256 of seed and id says."""
    people = {f"p{n}": ("x", 1) for n in range(50)} | {"big": ("x", 4)}
    rows = _told(_rows(people), SplitSettings(folds=5), seed=7)
    fold = dict(zip(rows["group_id"], rows["fold"], strict=True))
    order = sorted((name for name in people if name != "big"), key=_hash(7))
    # The big one comes first and fills fold 0; the next four go to the others in turn.
    assert fold["big"] == 0
    dealt = ["big", *order]
    assert [fold[name] for name in dealt] == deal([4] + [1] * 50, (0.2,) * 5)
    assert [fold[name] for name in order[:8]] == [1, 2, 3, 4, 1, 2, 3, 4]
    assert fold != dict(
        zip(rows["group_id"], _told(_rows(people), SplitSettings(folds=5), 8)["fold"], strict=True)
    )


def _hash(seed: int) -> Callable[[str], str]:
    return lambda name: sha256(f"{seed}:{name}".encode()).hexdigest()


def test_sources_are_dealt_out_one_after_the_other() -> None:
    """A source that comes later in the alphabet leaves those before it where they were."""
    first = _rows({f"p{n}": ("x", 1 + n % 3) for n in range(40)}, "a")
    second = _rows({f"q{n}": ("x", 1 + n % 2) for n in range(40)}, "b")
    alone = _told(first, SplitSettings())
    both = _told(pd.concat([second, first], ignore_index=True), SplitSettings())
    of_first = both[both["source"] == "a"]
    assert dict(zip(alone["group_id"], alone["split"], strict=True)) == dict(
        zip(of_first["group_id"], of_first["split"], strict=True)
    )
    for source in ("a", "b"):
        counts = Counter(both[both["source"] == source]["split"])
        assert counts["test"] == pytest.approx(0.2 * counts.total(), abs=3)


def test_a_group_of_two_classes_counts_for_the_rarer() -> None:
    """Ten groups that each hold one image of the rare class and two of the frequent one."""
    mixed = pd.concat(
        [_rows({f"m{n}": ("a-frequent", 2), f"n{n}": ("z-rare", 1)}) for n in range(10)]
    )
    mixed["group_id"] = mixed["group_id"].str.replace("n", "m")
    plain = _rows({f"p{n}": ("a-frequent", 1) for n in range(100)})
    rows = _told(pd.concat([plain, mixed], ignore_index=True), SplitSettings(folds=5))
    rare = rows[rows["label"] == "z-rare"]
    assert Counter(rare["fold"]) == dict.fromkeys(range(5), 2)
    assert rows.groupby("group_id")["fold"].nunique().max() == 1


def test_parts_that_were_counted_stay_and_the_others_are_dealt() -> None:
    people = {f"x{n}": ("x", 1) for n in range(10)} | {f"y{n}": ("y", 1) for n in range(10)}
    rows = _rows(people)
    wanted = {"x": ImagesPerSplit(train=3, validation=2, test=1)}
    parts = counted_parts(rows, wanted, seed=3)
    assert parts is not None
    order = sorted((name for name in people if name[0] == "x"), key=_hash_images(3))
    assert [parts[name] for name in order] == (
        ["test"] + ["validation"] * 2 + ["train"] * 3 + ["excluded"] * 4
    )
    rows["part"] = rows["group_id"].map(parts)
    kept = rows[rows["part"] != "excluded"]
    told = _told(kept, SplitSettings(images=wanted), 3)
    assert Counter(told[told["label"] == "x"]["split"]) == {"test": 1, "validation": 2, "train": 3}
    assert Counter(told[told["label"] == "y"]["split"]) == {"test": 2, "validation": 1, "train": 7}
    assert told["fold"].isna().all()
    assert counted_parts(rows, {}, seed=3) is None


def _hash_images(seed: int) -> Callable[[str], str]:
    return lambda name: sha256(f"{seed}:images:{name}".encode()).hexdigest()


def test_a_patient_counted_in_two_classes_goes_with_the_later_place() -> None:
    rows = pd.concat(
        [
            _rows({f"x{n}": ("x", 1) for n in range(5)}),
            _rows({f"y{n}": ("y", 1) for n in range(5)}),
        ]
    )
    both = rows["group_id"].isin(["x0", "y0"])
    rows.loc[both, "group_id"] = "both"
    one = ImagesPerSplit(train=2, test=1)
    orders = [
        sorted({*rows[rows["label"] == label]["group_id"]}, key=_hash_images(3)) for label in "xy"
    ]
    parts = counted_parts(rows, {"x": one, "y": one, "z": one}, seed=3)
    assert parts is not None
    names = ["test", "train", "train", "excluded", "excluded"]
    places = [names[order.index("both")] for order in orders]
    later = max(places, key=["test", "train", "excluded"].index)
    assert parts["both"] == later
    assert len(parts) == 9
