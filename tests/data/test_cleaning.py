"""What a split keeps together or leaves out so that audits pass."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from data.cohorts import image, parted
from pulmospark.core.settings import SplitSettings
from pulmospark.data.cleaning import CONFLICT, COPY, balanced, with_copies

pytestmark = pytest.mark.spark

SCHEMA = (
    "uri string, source string, group_id string, label string, reason string, age float, "
    "sex string, view string"
)


def _rows(spark: SparkSession, *given: tuple[Any, ...]) -> Any:
    full = [(*one[:4], None, *(one[4:] or (50.0,)), "F", "PA") for one in given]
    return spark.createDataFrame(full, SCHEMA)


def _copies(*pairs: tuple[str, str]) -> pa.Table:
    return pa.table({"uri": [uri for uri, _ in pairs], "cluster": [name for _, name in pairs]})


def _told(frame: Any, column: str) -> dict[str, Any]:
    return {one["uri"]: one[column] for one in frame.collect()}


def test_patients_whose_films_are_copies_are_one_group(spark: SparkSession) -> None:
    rows = _rows(
        spark,
        ("a1", "s", "A", "x"),
        ("a2", "s", "A", "x"),
        ("b1", "s", "B", "x"),
        ("b2", "s", "B", "x"),
        ("c1", "t", "C", "x"),
        ("d1", "t", "D", "x"),
    )
    # A hangs together with B by one film, and B with C by another: a chain.
    copies = _copies(("a1", "1"), ("b1", "1"), ("b2", "2"), ("c1", "2"))
    found = _told(with_copies(rows, copies, "together"), "group_id")
    assert found == {"a1": "A", "a2": "A", "b1": "A", "b2": "A", "c1": "A", "d1": "D"}


def test_one_copy_stays_and_none_of_two_classes(spark: SparkSession) -> None:
    rows = _rows(
        spark,
        ("a", "s", "A", "x"),
        ("b", "s", "B", "x"),
        ("c", "s", "C", "x"),
        ("d", "s", "D", "y"),
        ("e", "s", "E", "y"),
    )
    copies = _copies(("a", "1"), ("b", "1"), ("c", "2"), ("d", "2"))
    frame = with_copies(rows, copies, "drop")
    reasons = _told(frame, "reason")
    assert reasons == {"a": None, "b": COPY, "c": CONFLICT, "d": CONFLICT, "e": None}
    assert _told(frame, "label")["b"] is None


def test_a_source_keeps_as_many_of_each_class_as_of_its_rarest(spark: SparkSession) -> None:
    given = [(f"s{n}", "s", f"P{n}", "x") for n in range(8)]
    given += [(f"t{n}", "s", f"Q{n}", "y") for n in range(3)]
    given += [(f"u{n}", "other", f"R{n}", "x") for n in range(4)]
    frame = balanced(_rows(spark, *given), "source", seed=3)
    kept = Counter(
        (one["source"], one["label"]) for one in frame.collect() if one["reason"] is None
    )
    assert kept == {("s", "x"): 3, ("s", "y"): 3}
    gone = {one["reason"] for one in frame.collect()} - {None}
    assert gone == {"balanced by source"}


def test_ages_are_matched_by_bands_and_unknown_ages_left_out(spark: SparkSession) -> None:
    given: list[tuple[Any, ...]] = [(f"s{n}", "s", f"P{n}", "x", 34.0) for n in range(5)]
    given += [(f"t{n}", "s", f"Q{n}", "y", 31.0) for n in range(2)]
    given += [("u", "s", "R", "x", 71.0), ("v", "s", "S", "y", None)]
    frame = balanced(_rows(spark, *given), "age", seed=3)
    kept = Counter(one["label"] for one in frame.collect() if one["reason"] is None)
    assert kept == {"x": 2, "y": 2}
    assert _told(frame, "reason")["v"] == "balanced by age"


def test_a_split_leaves_the_trace_of_what_it_balanced(spark: SparkSession, tmp_path: Path) -> None:
    plan = [("COVID-19", "a", 30), ("No Finding", "a", 20), ("No Finding", "b", 9)]
    rows = [
        image(100 * place + n, finding, f"{place}-{n}", source=source)
        for place, (finding, source, count) in enumerate(plan)
        for n in range(count)
    ]
    result, _ = parted(spark, tmp_path, rows, SplitSettings(balance="source"))
    assert result.films == 40
    assert {(one.source, one.reason): one.films for one in result.exclusions} == {
        ("a", "balanced by source"): 10,
        ("b", "balanced by source"): 9,
    }
