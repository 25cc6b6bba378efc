"""Shares of judged pairs, weighted and not."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.real_duplicates import FRESH, TUNED, Judged, report_of, share

from pulmospark.evaluation.intervals import wilson

FOUND = np.asarray([True, True, True, False, False])
COPY = np.asarray([True, True, False, True, False])
EVEN, UNEVEN = np.ones(5), np.asarray([1.0, 1.0, 1.0, 6.0, 30.0])


def _told(weight: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Judged:
    return Judged(
        found=FOUND,
        copy=COPY,
        weight=weight,
        tuned_sets=np.asarray([True, True, False, False, False]),
        unsure=1,
        not_judged=2,
        images=9,
        compared=8,
        distance=12,
        seconds=1.0,
    )


def test_pairs_that_weigh_the_same_have_wilsons_interval() -> None:
    found = share(FOUND, COPY, EVEN)
    assert found.value == pytest.approx(2 / 3)
    assert (found.low, found.high) == pytest.approx(wilson(2 / 3, 3, 0.95))


def test_a_missed_copy_that_stands_for_many_pulls_the_recall_and_widens_it() -> None:
    found, even = share(FOUND, COPY, UNEVEN), share(FOUND, COPY, EVEN)
    assert found.value == pytest.approx(2 / 8)
    assert found.low is not None
    assert found.high is not None
    assert even.low is not None
    assert even.high is not None
    assert found.high - found.low > even.high - even.low


def test_a_share_of_nothing_is_no_share() -> None:
    assert str(share(FOUND, np.zeros(5, np.bool_), EVEN)) == "-"


def test_the_report_names_the_list_that_was_tuned_on() -> None:
    report = report_of({TUNED: _told(EVEN), FRESH: _told(UNEVEN)})
    assert [row[0] for row in report.rows] == [
        "tuned on",
        "fresh",
        "fresh, of the tuned sets",
        "fresh, with others",
        "fresh, weighted",
    ]
    assert report.figures[FRESH]["precision"]["value"] == pytest.approx(2 / 3)
    assert report.figures[FRESH]["weighted_recall"]["value"] == pytest.approx(2 / 8)
    assert report.figures[FRESH]["views"]["with others"]["recall"]["value"] == 0.0
    assert report.figures[FRESH]["unsure"] == 1
    assert sum("MISSED" in note for note in report.notes) == 4
