"""What a split keeps together or excludes so that audits pass."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from data.cohorts import image, parted
from pulmospark.config.split import SplitSettings
from pulmospark.data.cohort.cleaning import (
    CONFLICT,
    COPY,
    balance_reasons,
    copy_reasons,
    joined_groups,
)


def _rows(*given: tuple[Any, ...]) -> pd.DataFrame:
    full = [(*row[:4], *(row[4:] or (50.0,))) for row in given]
    return pd.DataFrame(full, columns=["uri", "source", "group_id", "label", "age"])


def _clusters(**named: str) -> pd.Series:
    return pd.Series(named, dtype=object)


def _told(rows: pd.DataFrame, values: pd.Series) -> dict[str, Any]:
    return dict(zip(rows["uri"], values, strict=True))


def test_patients_whose_images_are_copies_are_one_group() -> None:
    rows = _rows(
        ("a1", "s", "A", "x"),
        ("a2", "s", "A", "x"),
        ("b1", "s", "B", "x"),
        ("b2", "s", "B", "x"),
        ("c1", "t", "C", "x"),
        ("d1", "t", "D", "x"),
    )
    # A hangs together with B by one image, and B with C by another: a chain.
    groups = joined_groups(rows, _clusters(a1="1", b1="1", b2="2", c1="2"))
    assert _told(rows, groups) == {
        "a1": "A", "a2": "A", "b1": "A", "b2": "A", "c1": "A", "d1": "D",
    }  # fmt: skip
    alone = joined_groups(rows, _clusters(elsewhere="1", too="1"))
    assert alone.tolist() == rows["group_id"].tolist()


def test_one_copy_stays_and_none_of_two_classes() -> None:
    rows = _rows(
        ("a", "s", "A", "x"),
        ("b", "s", "B", "x"),
        ("c", "s", "C", "x"),
        ("d", "s", "D", "y"),
        ("e", "s", "E", "y"),
    )
    reasons = copy_reasons(rows, _clusters(a="1", b="1", c="2", d="2"))
    assert _told(rows, reasons) == {"a": None, "b": COPY, "c": CONFLICT, "d": CONFLICT, "e": None}


def test_a_source_keeps_as_many_of_each_class_as_of_its_rarest() -> None:
    given = [(f"s{n}", "s", f"P{n}", "x") for n in range(8)]
    given += [(f"t{n}", "s", f"Q{n}", "y") for n in range(3)]
    given += [(f"u{n}", "other", f"R{n}", "x") for n in range(4)]
    rows = _rows(*given)
    reasons = balance_reasons(rows, "source", seed=3)
    kept = rows[reasons.isna()]
    assert Counter(zip(kept["source"], kept["label"], strict=True)) == {
        ("s", "x"): 3,
        ("s", "y"): 3,
    }
    assert set(reasons.dropna()) == {"balanced by source"}
    shuffled = rows.sample(frac=1, random_state=1)
    again = balance_reasons(shuffled, "source", seed=3)
    assert _told(shuffled, again) == _told(rows, reasons)


def test_ages_are_matched_by_bands_and_unknown_ages_excluded() -> None:
    given: list[tuple[Any, ...]] = [(f"s{n}", "s", f"P{n}", "x", 34.0) for n in range(5)]
    given += [(f"t{n}", "s", f"Q{n}", "y", 31.0) for n in range(2)]
    given += [("u", "s", "R", "x", 71.0), ("v", "s", "S", "y", float("nan"))]
    rows = _rows(*given)
    reasons = balance_reasons(rows, "age", seed=3)
    assert Counter(rows[reasons.isna()]["label"]) == {"x": 2, "y": 2}
    assert _told(rows, reasons)["v"] == _told(rows, reasons)["u"] == "balanced by age"


def test_a_split_leaves_the_trace_of_what_it_balanced(tmp_path: Path) -> None:
    plan = [("COVID-19", "a", 30), ("No Finding", "a", 20), ("No Finding", "b", 9)]
    rows = [
        image(100 * place + n, finding, f"{place}-{n}", source=source)
        for place, (finding, source, count) in enumerate(plan)
        for n in range(count)
    ]
    result, _ = parted(tmp_path, rows, SplitSettings(balance="source"))
    assert result.images == 40
    assert {(one.source, one.reason): one.images for one in result.exclusions} == {
        ("a", "balanced by source"): 10,
        ("b", "balanced by source"): 9,
    }
