"""Which group goes into which part or fold: shared out evenly over classes and sources.

Pure functions of tables in memory, a row an image; nothing here reads a file or needs Spark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from pulmospark.core.settings import PartFilms, SplitSettings
from pulmospark.core.tables import Split

COUNTED = (Split.TEST, Split.VALIDATION, Split.TRAIN, Split.EXCLUDED)
"""parts in the order in which counted images fill them"""


def assign(rows: pd.DataFrame, settings: SplitSettings, seed: int) -> pd.DataFrame:
    """Part and fold of each group of the images that take part.

    Groups are ordered by class, source, size (largest first) and a hash of seed and id, and
    dealt out one after the other, each to the part that then lacks most images of its share
    (:func:`deal`). Every stretch of that order is shared out evenly, and so are sources and
    patients with many images. With folds the validation part is dealt out in a second pass that
    runs through all folds without starting afresh, so that its total holds, too.

    Args:
        rows: ``group_id``, ``label``, ``source`` and ``part`` (null where shares decide).
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
    """Part of each group in turn: the one that then lacks most images.

    A part lacks its share of all images so far, that of the group included, less what it has.
    No part is ever further from its share than by about the largest group.

    Args:
        sizes: images of each group.
        shares: of the parts, summing to 1.
    """
    given = [0] * len(shares)
    total = 0
    parts = []
    for size in sizes:
        total += size
        # Rounded: of doubles 0.7 x 2 - 1 is less than 0.2 x 2, and equals go by their order.
        lacking = [
            round(share * total - have, 9) for share, have in zip(shares, given, strict=True)
        ]
        part = lacking.index(max(lacking))
        given[part] += size
        parts.append(part)
    return parts


def counted_parts(
    rows: pd.DataFrame, wanted: dict[str, PartFilms], seed: int
) -> pd.Series[Any] | None:
    """Part of each group of the classes whose images are counted, indexed by ``group_id``.

    The groups of a class are ordered by a hash of seed and id, and their images counted up: the
    first go to the test, the next to the validation, the next to the training, and the rest are
    excluded. A patient with images of two classes goes with the later of his two places, so that
    no part has more images than it should.

    Args:
        rows: ``group_id`` and ``label`` of the images that take part.
        wanted: class -> images in each part.
        seed: of the order.

    Returns:
        Names of parts; ``None`` where no class is counted.
    """
    if not wanted:
        return None
    sizes = rows[rows["label"].isin(list(wanted))].groupby(["label", "group_id"]).size()
    places: dict[str, int] = {}
    for label, parts in wanted.items():
        if label not in sizes.index.get_level_values("label"):
            continue
        groups = cast("pd.Series[int]", sizes.loc[label])
        order = sorted(groups.index, key=lambda group: (hashed(f"{seed}:films", group), group))
        ends = part_ends(parts, int(groups.sum()))
        so_far = 0
        for group in order:
            so_far += int(groups[group])
            place = sum(so_far > end for end in ends)
            places[group] = max(place, places.get(group, 0))
    named = {group: COUNTED[place].value for group, place in places.items()}
    return pd.Series(named, dtype=object)


def part_ends(parts: PartFilms, there: int) -> tuple[int, int, int]:
    """Images of a class at which its test, validation and training end, counted up.

    Where the class has fewer than are wanted the parts shrink in proportion, rounded down. In
    whole numbers, for of doubles 50 times 0.58 is less than 29.

    Args:
        parts: images that are wanted.
        there: images that the class has.
    """
    total = parts.total
    most = min(there, total)
    first, second = parts.test, parts.test + parts.validation
    return first * most // total, second * most // total, most


def hashed(*parts: str) -> str:
    """SHA-256 of texts with colons between them: an order that nobody chose."""
    return hashlib.sha256(":".join(parts).encode()).hexdigest()


def _groups(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The groups in the order in which they are dealt out: ``stratum``, ``home``, ``size``.

    A group with images of several classes counts for the rarest of them, whose balance suffers
    most.
    """
    films = rows["label"].value_counts()
    rank = {
        label: place
        for place, label in enumerate(sorted(films.index, key=lambda x: (films[x], x)))
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
    """Part of each group, in their order, which is stratum by stratum."""
    sizes, strata = groups["size"].to_numpy(), groups["stratum"].to_numpy()
    starts = np.flatnonzero(strata[1:] != strata[:-1]) + 1
    return [
        part
        for stratum in np.split(sizes, starts)
        for part in deal((int(size) for size in stratum), shares)
    ]
