"""Assign groups to splits or folds, balanced over classes and sources.

Pure functions of tables in memory, one row per image; nothing here reads a file or needs Spark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from pulmospark.config.split import ImagesPerSplit, SplitSettings
from pulmospark.core.schemas import Split

COUNTED = (Split.TEST, Split.VALIDATION, Split.TRAIN, Split.EXCLUDED)
"""splits in the order in which counted images fill them"""


def assign(rows: pd.DataFrame, settings: SplitSettings, seed: int) -> pd.DataFrame:
    """Split and fold of each group of the included images.

    Groups are ordered by class, source, size (largest first) and a hash of seed and id, and
    assigned in turn, each to the split that then lacks most images of its share (:func:`deal`).
    So every stretch of that order is balanced, and with it sources and patients with many images.
    With folds, a second pass assigns the validation split and runs through all folds without
    restarting, so that its total holds, too.

    Args:
        rows: ``group_id``, ``label``, ``source`` and ``part`` (null: assign by shares).
        settings: shares or folds.
        seed: of the order.

    Returns:
        ``split`` and ``fold`` (``None`` without folds), indexed by ``group_id``.
    """
    groups = _groups(rows, seed)
    if settings.folds:
        groups["fold"] = _dealt(groups, [1 / settings.folds] * settings.folds)
        inside = groups.sort_values(["stratum", "fold"], kind="stable")
        validated = _dealt(inside, [1 - settings.validation, settings.validation])
        names = [Split.TRAIN.value, Split.VALIDATION.value]
        groups["split"] = pd.Series([names[part] for part in validated], inside.index)
        return groups[["split", "fold"]].astype({"fold": object})
    shares = {
        Split.TRAIN.value: settings.train,
        Split.TEST.value: settings.test,
        Split.VALIDATION.value: settings.validation,
    }
    names = list(shares)
    dealt = [names[part] for part in _dealt(groups, list(shares.values()))]
    counted = rows.groupby("group_id")["part"].first().reindex(groups.index)
    groups["split"] = counted.where(counted.notna(), pd.Series(dealt, groups.index, dtype=object))
    groups["fold"] = pd.Series([None] * len(groups), groups.index, dtype=object)
    return groups[["split", "fold"]]


def deal(sizes: Iterable[int], shares: Sequence[float]) -> list[int]:
    """Split of each group in turn: the one that then lacks most images.

    A split lacks its share of all images so far, including the group, minus what it has. No
    split ever deviates from its share by more than about the largest group.

    Args:
        sizes: images of each group.
        shares: of the splits, summing to 1.
    """
    given = [0] * len(shares)
    total = 0
    parts = []
    for size in sizes:
        total += size
        # Rounded: as doubles 0.7 x 2 - 1 is less than 0.2 x 2, and ties go by order.
        lacking = [
            round(share * total - have, 9) for share, have in zip(shares, given, strict=True)
        ]
        part = lacking.index(max(lacking))
        given[part] += size
        parts.append(part)
    return parts


def counted_parts(
    rows: pd.DataFrame, wanted: dict[str, ImagesPerSplit], seed: int
) -> pd.Series[Any] | None:
    """Split of each group of the classes with fixed numbers, indexed by ``group_id``.

    The groups of a class are ordered by a hash of seed and id, and their images counted: the
    first go to test, the next to validation, the next to training, and the rest are excluded. A
    patient with images of two classes gets the later of his two splits, so that no split
    exceeds its number.

    Args:
        rows: ``group_id`` and ``label`` of the included images.
        wanted: class -> images in each split.
        seed: of the order.

    Returns:
        Names of splits; ``None``: no class has fixed numbers.
    """
    if not wanted:
        return None
    sizes = rows[rows["label"].isin(list(wanted))].groupby(["label", "group_id"]).size()
    places: dict[str, int] = {}
    for label, parts in wanted.items():
        if label not in sizes.index.get_level_values("label"):
            continue
        groups = cast("pd.Series[int]", sizes.loc[label])
        order = sorted(groups.index, key=lambda group: (hashed(f"{seed}:images", group), group))
        ends = part_ends(parts, int(groups.sum()))
        so_far = 0
        for group in order:
            so_far += int(groups[group])
            place = sum(so_far > end for end in ends)
            places[group] = max(place, places.get(group, 0))
    named = {group: COUNTED[place].value for group, place in places.items()}
    return pd.Series(named, dtype=object)


def part_ends(parts: ImagesPerSplit, there: int) -> tuple[int, int, int]:
    """Cumulative numbers of images of a class at which test, validation and training end.

    If the class has fewer than wanted, the splits shrink in proportion, rounded down. In integers,
    because as doubles 50 times 0.58 is less than 29.

    Args:
        parts: wanted images.
        there: images of the class.
    """
    total = parts.total
    most = min(there, total)
    first, second = parts.test, parts.test + parts.validation
    return first * most // total, second * most // total, most


def hashed(*parts: str) -> str:
    """SHA-256 of texts joined by colons, for a reproducible random order."""
    return hashlib.sha256(":".join(parts).encode()).hexdigest()


def _groups(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The groups in the order of their assignment: ``stratum``, ``home``, ``size``.

    A group with images of several classes counts for the rarest of them, whose balance suffers
    most.
    """
    images = rows["label"].value_counts()
    rank = {
        label: place
        for place, label in enumerate(sorted(images.index, key=lambda x: (images[x], x)))
    }
    cells = rows.groupby(["group_id", "label"]).size().rename("size").reset_index()
    cells["rank"] = cells["label"].map(rank)
    rarest = cells.sort_values(["group_id", "rank"]).drop_duplicates("group_id")
    groups = rarest.set_index("group_id").rename(columns={"label": "stratum"})
    groups["home"] = rows.groupby("group_id")["source"].min()
    groups["order"] = [hashed(str(seed), group) for group in groups.index]
    return groups.sort_values(
        ["stratum", "home", "size", "order"], ascending=[True, True, False, True]
    )[["stratum", "home", "size"]]


def _dealt(groups: pd.DataFrame, shares: Sequence[float]) -> list[int]:
    """Split of each group, in their order, stratum by stratum."""
    sizes, strata = groups["size"].to_numpy(), groups["stratum"].to_numpy()
    starts = np.flatnonzero(strata[1:] != strata[:-1]) + 1
    return [
        part
        for stratum in np.split(sizes, starts)
        for part in deal((int(size) for size in stratum), shares)
    ]
