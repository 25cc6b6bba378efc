"""Near copies in a split: kept in one part by default, counted, and looked for once."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.cohorts import Row, image, parted
from pulmospark.config.experiment import Experiment
from pulmospark.config.split import SplitSettings
from pulmospark.data.duplicates.near_duplicates import (
    NearCopies,
    clusters,
    keep_search,
    kept_search,
)

_PATIENTS = 60


def _rows() -> list[Row]:
    """One image of each of 60 patients, two classes in turn."""
    return [
        image(n, ("COVID-19", "No Finding")[n % 2], f"p{n}") for n in range(_PATIENTS)
    ]  # fmt: skip


def _copies(pairs: list[tuple[str, str]], facts: pa.Table) -> NearCopies:
    """What a search finds where these images are near copies."""
    number = {uri: place for place, uri in enumerate(facts["uri"].to_pylist())}
    given = sorted((number[a], number[b]) for a, b in pairs if a in number and b in number)
    first, second = (np.asarray(some, np.int64) for some in zip(*given, strict=True))
    return NearCopies(
        first=first,
        second=second,
        correlation=np.full(first.size, 0.95),
        clusters=clusters(first, second, facts.num_rows),
        compared=first.size,
        distance=12,
        hot_buckets=0,
        looks={
            "mean": np.arange(facts.num_rows, dtype=float),
            "border_mean": np.zeros(facts.num_rows),
        },
    )


def _uri(number: int) -> str:
    return f"/images/{number:05d}.png"


_PAIRS = [(_uri(n), _uri(n + 2)) for n in range(0, 40, 4)]
"""ten pairs of two patients each, of one class"""


@pytest.mark.parametrize("folds", [0, 4])
def test_by_default_near_copies_are_in_one_part_and_it_is_counted(
    folds: int, tmp_path: Path
) -> None:
    settings = SplitSettings(folds=folds)
    result, rows = parted(
        tmp_path / "kept", _rows(), settings, search=lambda facts: _copies(_PAIRS, facts)
    )
    place = {row["uri"]: (row["split"], row["fold"]) for row in rows}
    assert all(place[a] == place[b] for a, b in _PAIRS)
    _, plain = parted(tmp_path / "plain", _rows(), SplitSettings(folds=folds, copies="ignore"))
    side = {row["uri"]: row["fold"] if folds else row["split"] == "test" for row in plain}
    tested = [uri for uri, where in side.items() if folds or where]
    leaking = {uri for pair in _PAIRS if side[pair[0]] != side[pair[1]] for uri in pair}
    told = result.copies
    assert told is not None
    assert (told.how, told.pairs, told.across, told.images, told.clusters) == (
        "together", 10, 10, 20, 10,
    )  # fmt: skip
    assert (told.groups_before, told.groups_after) == (60, 50)
    assert (told.tested, told.tested_with_copy) == (len(tested), len(leaking & set(tested)))
    assert told.tested_with_copy > 0


def test_dropped_copies_are_excluded_with_their_reason(tmp_path: Path) -> None:
    result, rows = parted(
        tmp_path,
        _rows(),
        SplitSettings(copies="drop"),
        search=lambda facts: _copies([*_PAIRS, (_uri(50), _uri(51))], facts),
    )
    gone = {row["uri"]: row["reason"] for row in rows if row["reason"]}
    wanted = {b: "near copy of another image" for _, b in _PAIRS}
    conflict = "label conflict between near copies"
    assert gone == wanted | {_uri(50): conflict, _uri(51): conflict}
    assert result.copies is not None
    assert (result.copies.groups_before, result.copies.groups_after) == (60, 48)


def test_no_search_where_copies_are_ignored(tmp_path: Path) -> None:
    def never(facts: pa.Table) -> NearCopies:
        raise AssertionError(facts)

    result, _ = parted(tmp_path, _rows(), SplitSettings(copies="ignore"), search=never)
    assert result.copies is None


def test_only_images_that_take_part_are_searched(tmp_path: Path) -> None:
    seen: list[list[Any]] = []

    def search(facts: pa.Table) -> NearCopies:
        seen.append(facts["uri"].to_pylist())
        return _copies(_PAIRS, facts)

    rows = [*_rows(), image(900, None, "p"), image(901, "COVID-19", "p", view="lateral")]
    parted(tmp_path, rows, search=search)
    assert seen == [[_uri(n) for n in range(_PATIENTS)]]


def test_a_kept_search_answers_for_the_same_images_or_some_of_them(tmp_path: Path) -> None:
    facts = pa.table(
        {
            "uri": [_uri(n) for n in range(_PATIENTS)],
            "scan_id": pa.array([None] * _PATIENTS, pa.string()),
        }
    )
    whole = _copies(_PAIRS, facts)
    keep_search(tmp_path / "kept", "id", facts, whole)
    again = kept_search(tmp_path / "kept", "id", facts)
    assert again is not None
    for name in ("first", "second", "correlation", "clusters"):
        assert np.array_equal(getattr(again, name), getattr(whole, name))
    assert again.looks["mean"].tolist() == list(range(_PATIENTS))
    # Without images 0 and 6: the pairs (0, 2) and none else are gone, numbers move up.
    some = [n for n in range(_PATIENTS) if n not in {0, 6}]
    part = kept_search(tmp_path / "kept", "id", facts.take(pa.array(some)))
    assert part is not None
    numbered = {(some[a], some[b]) for a, b in zip(part.first, part.second, strict=True)}
    assert numbered == {(n, n + 2) for n in range(4, 40, 4) if n + 2 != 6}
    assert part.looks["mean"].tolist() == some
    partner = defaultdict(set)
    for place, cluster in enumerate(part.clusters):
        partner[cluster].add(some[place])
    assert {8, 10} in partner.values()
    assert kept_search(tmp_path / "kept", "other", facts) is None
    more = pa.concat_tables([facts, pa.table({"uri": ["/z"], "scan_id": [None]}, facts.schema)])
    assert kept_search(tmp_path / "kept", "id", more) is None
    scans = facts.set_column(1, "scan_id", pa.array(["s"] * _PATIENTS))
    assert kept_search(tmp_path / "kept", "id", scans) is None


def test_phantoms_are_searched_for_nearer_copies_unless_the_user_says_otherwise() -> None:
    source = {"path": "images"}
    plain = Experiment.model_validate({"sources": [source]})
    drawn = Experiment.model_validate({"sources": [source], "phantoms": True})
    assert (plain.audit.hash_distance, plain.audit.copy_correlation) == (12, 0.88)
    assert (drawn.audit.hash_distance, drawn.audit.copy_correlation) == (4, 0.93)
    asked = {"sources": [source], "phantoms": True, "audit": {"hash_distance": 8}}
    own = Experiment.model_validate(asked)
    assert (own.audit.hash_distance, own.audit.copy_correlation) == (8, 0.93)
    assert plain.split.copies == "together"
