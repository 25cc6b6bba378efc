"""A few of the problems that the benchmark of operating points draws."""

from __future__ import annotations

import pytest
from benchmarks.operating_point import POSITIVES, PROBLEMS, solved


@pytest.mark.parametrize("number", [0, 8, 30, 49])
def test_the_sensitivity_reached_lies_in_the_stated_interval_or_is_warned_of(number: int) -> None:
    outcome = solved(number, tested=1500)
    assert outcome.is_coarse == (outcome.positives < 20)
    assert outcome.is_coarse or outcome.holds
    assert outcome.low < 0.95
    if number == 0:
        assert outcome.positives == POSITIVES[0]
    if number == PROBLEMS - 1:
        assert outcome.positives == POSITIVES[1]
        assert outcome.high - outcome.low < 0.2
