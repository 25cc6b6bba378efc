"""The comparison's page, and who lies on its frontier."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import pulmospark
from pulmospark.evaluation.results import Figure, PairedDifference
from pulmospark.report.comparison import headline, pair_words, render_comparison
from pulmospark.report.comparison_content import (
    Comparison,
    ModelFigures,
    ModelPair,
    with_frontier,
)
from pulmospark.report.comparison_plot import cost, short_time, time_ticks

_NOW = datetime(2026, 3, 1, tzinfo=UTC)


def _model(name: str, accuracy: float, seconds: float, model: str | None = None) -> ModelFigures:
    return ModelFigures(
        name=name,
        model=model or name,
        title=name.upper(),
        method="features",
        how="frozen features",
        start="imagenet",
        accuracy=Figure(
            value=accuracy, low=accuracy - 0.04, high=accuracy + 0.03, method="wilson"
        ),
        macro_auroc=Figure(value=0.95, low=0.9, high=0.98, method="bootstrap"),
        training_seconds=seconds,
        parameters=int(seconds * 1e5),
        bundle_bytes=9_100_000,
        images_per_s=seconds,
        report=Path("report.html"),
    )


def _pair(first: str, second: str, value: float, p: float) -> ModelPair:
    compared = PairedDifference(
        difference=Figure(value=value, low=value - 0.01, high=value + 0.02, method="bootstrap"),
        p_value=p,
        only_first=9,
        only_second=4,
        images=300,
        groups=200,
    )
    return ModelPair(first=first, second=second, compared=compared, adjusted_p=p)


def example_comparison(phantoms: bool = False) -> Comparison:
    models = with_frontier(
        (_model("slow", 0.93, 400), _model("quick", 0.91, 40), _model("poor", 0.90, 90))
    )
    return Comparison(
        folder=Path("compare"),
        cohort_id="c",
        classes=("covid", "normal"),
        images=300,
        groups=200,
        folds=5,
        confidence=0.95,
        phantoms=phantoms,
        models=models,
        pairs=tuple(
            _pair(a.name, b.name, -0.02, 0.004) for a, b in combinations(reversed(models), 2)
        ),
    )


def test_the_most_accurate_first_and_the_beaten_one_off_the_frontier() -> None:
    told = example_comparison().models
    assert [(one.name, one.frontier) for one in told] == [
        ("slow", True), ("quick", True), ("poor", False),
    ]  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=8))
def test_off_the_frontier_is_who_is_beaten_and_nobody_else(
    figures: list[tuple[int, int]],
) -> None:
    told = with_frontier(
        tuple(_model(f"m{i}", a / 10 + 0.2, t) for i, (a, t) in enumerate(figures))
    )
    points = {one.name: (one.accuracy.value or 0, -one.training_seconds) for one in told}
    for one in told:
        mine = points[one.name]
        beaten = any(
            all(a >= b for a, b in zip(other, mine, strict=True)) and other != mine
            for other in points.values()
        )
        assert one.frontier is not beaten
    assert any(one.frontier for one in told)


def test_the_headline_and_the_pairs_in_words() -> None:
    told = example_comparison()
    assert headline(told) == (
        "SLOW is the most accurate of 3 networks on the same 300 images: "
        "93.0\N{NO-BREAK SPACE}%, after 6 min 40 s of training. Also on the frontier, with less "
        "training time: QUICK."
    )
    pair = _pair("quick", "slow", -0.02, 0.004)
    minus = "\N{MINUS SIGN}"
    assert pair_words(pair, told) == (
        "The accuracy of SLOW is 2.0 percentage points above that of QUICK "
        f"(95\N{NO-BREAK SPACE}% CI {minus}0.0 to +3.0): statistically significant (p = 0.004)."
    )
    twice = told.model_copy(
        update={"models": tuple(_model(n, 0.9, 40, model="one") for n in ("a", "b"))}
    )
    assert "of 2 training runs on the same" in headline(twice)
    assert "not statistically significant (p = 0.300)" in pair_words(
        _pair("quick", "slow", 0.02, 0.3), told
    )


def test_the_pairs_name_the_better_one_first() -> None:
    page = render_comparison(example_comparison(), _NOW)
    rows = re.findall(
        r'<tr><th scope="row"><bdi>(\w+)</bdi></th><td[^>]*><bdi>(\w+)</bdi></td>', page
    )
    assert rows == [("QUICK", "POOR"), ("SLOW", "POOR"), ("SLOW", "QUICK")]
    # Each first less second is -0.02 (-0.03 to 0.00), 9 images right alone against 4.
    assert page.count("<small>\N{MINUS SIGN}0.0 to +3.0</small>") == 3
    assert len(re.findall(r'<td class="num"[^>]*>4</td><td class="num"[^>]*>9</td>', page)) == 3


def test_a_network_that_stands_twice_is_told_apart_in_the_plot() -> None:
    told = example_comparison()
    both = [
        _model("a", 0.9, 40, model="one").model_copy(update={"title": "One (frozen features)"}),
        _model("b", 0.95, 4000, model="one").model_copy(
            update={"title": "One (fine-tuned)", "how": "fine-tuned"}
        ),
    ]
    svg = cost(told.model_copy(update={"models": with_frontier(tuple(both))})).svg
    for word in ("fine-tuned", "frozen features"):
        assert f">{word}<" in svg
    assert "\N{HORIZONTAL ELLIPSIS}" not in svg


@given(st.floats(0.2, 1e5), st.floats(1.5, 1e3))
def test_times_are_round_few_and_inside(low: float, ratio: float) -> None:
    ticks = time_ticks(low, low * ratio)
    assert len(ticks) <= 7
    assert all(low <= one <= low * ratio for one in ticks)
    assert ticks == sorted(set(ticks))


def test_a_round_time_is_short() -> None:
    told = [short_time(one) for one in (0.5, 30, 60, 1800, 3600, 86400)]
    assert told == ["0.5 s", "30 s", "1 min", "30 min", "1 h", "24 h"]


def test_the_page_needs_nothing_and_says_what_it_is() -> None:
    page = render_comparison(example_comparison(), _NOW)
    assert page.count(pulmospark.NOT_A_MEDICAL_DEVICE) == 2
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)", page)
    for word in ("SLOW", "QUICK", "POOR", "9.1 MB", "6 min 40 s", "Holm", "in 5 folds"):
        assert word in page
    assert page == render_comparison(example_comparison(), _NOW)


def test_a_page_about_phantoms_says_so() -> None:
    page = render_comparison(example_comparison(phantoms=True), _NOW)
    assert "Phantoms, not patients." in page
    own = re.sub(r"<(bdi|pre|style|svg)\b.*?</\1>", "", page, flags=re.DOTALL)
    assert not re.findall(r"\b[Ff]ilms?\b", re.sub(r"<[^>]*>", " ", own))


def test_what_the_networks_do_not_have_in_common_is_told() -> None:
    note = "quick starts from the bundle runs/<first>/bundle"
    page = render_comparison(example_comparison().model_copy(update={"notes": (note,)}), _NOW)
    assert "quick starts from the bundle runs/&lt;first&gt;/bundle" in page
