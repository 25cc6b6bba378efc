"""Verdicts on pairs of sets whose sensitivities are known: the expected one is derived by hand.

Each set is a table of predictions with so many images of a class classified correctly; a patient
has one image, so that Wilson's bounds and Newcombe's difference can be had from the counts alone.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.core import limits
from pulmospark.evaluation.by_class import class_differences
from pulmospark.evaluation.evaluate import evaluate_predictions
from pulmospark.evaluation.intervals import difference
from pulmospark.evaluation.results import Evaluation, Figure
from pulmospark.report import external, phrasing
from pulmospark.report.external import render_external_page, verdict
from report.test_report_external import page_content
from report.test_report_methods import text_of

CLASSES = ("COVID-19", "normal", "pneumonia")
COVID, NORMAL, PNEUMONIA = CLASSES
Counts = dict[str, tuple[int, int]]


def set_of(classified: Counts, classes: tuple[str, ...] = CLASSES) -> Evaluation:
    """A set from class -> (classified correctly, images); wrong ones go to the next class."""
    labels, said = [], []
    for kind, name in enumerate(classes):
        right, images = classified.get(name, (0, 0))
        labels += [kind] * images
        said += [kind] * right + [(kind + 1) % len(classes)] * (images - right)
    chance = np.full((len(labels), len(classes)), 0.1 / (len(classes) - 1))
    chance[np.arange(len(labels)), said] = 0.9
    return evaluate_predictions(
        labels, chance, np.arange(len(labels)), classes, EvaluateSettings(replicates=100), 1
    )


def bounds(right: int, images: int) -> tuple[float, float]:
    """Wilson's, from the roots of the quadratic (n + z^2) t^2 - (2 n p + z^2) t + n p^2."""
    z2 = stats.norm.isf(0.025) ** 2
    share = right / images
    roots = np.roots([images + z2, -(2 * images * share + z2), images * share**2])
    return float(roots.min()), float(roots.max())


def test_the_difference_is_newcombes_worked_example() -> None:
    # Newcombe 1998, Statistics in Medicine 17:873, table II, (a) 56/70 - 48/80 and (d), (g),
    # method 10: hybrid score without continuity correction.
    for counts, expected in (
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((10, 10, 0, 10), (0.6075, 1.0000)),
    ):
        first, second = (
            Figure(value=right / of, low=max(0.0, low), high=min(1.0, high))
            for right, of in (counts[:2], counts[2:])
            for low, high in [bounds(right, of)]
        )
        found = difference(first, second)
        assert (found.low, found.high) == pytest.approx(expected, abs=6e-5)
        assert found.value == pytest.approx(counts[0] / counts[1] - counts[2] / counts[3])


def test_a_difference_needs_two_values_and_two_intervals() -> None:
    whole = Figure(value=0.8, low=0.7, high=0.9)
    assert difference(whole, Figure(value=None)).value is None
    assert difference(Figure(value=None), whole).value is None
    for bare in (Figure(value=0.9), Figure(value=0.9, low=0.8), Figure(value=0.9, high=1.0)):
        for pair in ((whole, bare), (bare, whole)):
            found = difference(*pair)
            assert found.value == pytest.approx(pair[0].value - pair[1].value)  # type: ignore[operator]
            assert (found.low, found.method) == (None, "none")


INSIDE: Counts = {COVID: (334, 430), NORMAL: (960, 1000), PNEUMONIA: (900, 1000)}


def test_positives_alone_are_compared_with_positives_alone() -> None:
    """77.7 inside and 77.4 elsewhere; the mean over three classes inside is 87.9."""
    outside = set_of({COVID: (1238, 1600)})
    inside = set_of(INSIDE)
    assert inside.by_class[0].sensitivity.value == pytest.approx(0.777, abs=5e-4)
    assert outside.by_class[0].sensitivity.value == pytest.approx(0.774, abs=5e-4)
    assert inside.balanced_accuracy.value == pytest.approx(0.879, abs=5e-4)
    found = verdict(inside, outside)
    # sqrt((0.7738 - 0.7526)^2 + (0.8137 - 0.7767)^2) = 0.0427: -0.3 points, -4.6 to +4.5.
    assert found.tone == "caution"
    assert found.tag == "No worse than inside in 1 of 3 classes; not assessable in others"
    said = "COVID-19 77.4 % against 77.7 %, \N{MINUS SIGN}0.3 points"
    assert said in found.sentence.replace("\N{NO-BREAK SPACE}", " ")
    assert "clearly lower" not in found.sentence
    assert "no worse" in found.sentence
    for missing in (NORMAL, PNEUMONIA):
        assert f"{missing} (no image elsewhere)" in found.sentence
    alone: dict[str, object] = {"recalibrated": None, "recalibration": None}
    page = text_of(render_external_page(page_content(inside=inside, outside=outside, **alone)))
    assert "Clearly lower than inside" not in page
    assert "intervals meet" not in page
    assert "fewer than 30" not in page  # of the classes without an image
    assert page.count("has no tested image: its sensitivity is not assessable") == 2
    assert "holds no image of normal, pneumonia" in page
    assert "Inside it was" not in page
    assert "No image of normal, pneumonia: not comparable with inside." in page
    assert "not assessable: no image elsewhere" in page


def test_a_fall_that_balanced_accuracy_hides_is_told() -> None:
    """96.0 to 86.4 in one class, made up for by the others: the means are alike."""
    inside = set_of({COVID: (480, 500), NORMAL: (850, 1000), PNEUMONIA: (850, 1000)})
    outside = set_of({COVID: (432, 500), NORMAL: (898, 1000), PNEUMONIA: (898, 1000)})
    means = [one.balanced_accuracy.value for one in (inside, outside)]
    assert means[0] == pytest.approx(means[1], abs=1e-3)
    found = verdict(inside, outside)
    assert (found.tone, found.tag) == ("bad", "Clearly lower than inside")
    said = "COVID-19 86.4 % against 96.0 %, \N{MINUS SIGN}9.6 points"
    sentence = found.sentence.replace("\N{NO-BREAK SPACE}", " ")
    assert sentence.startswith(f"Sensitivity elsewhere against inside: {said}")
    low, high = bounds(432, 500), bounds(480, 500)
    change = class_differences(inside, outside)[0].change
    assert change.low == pytest.approx(
        -0.096 - math.hypot(0.864 - low[0], high[1] - 0.96), abs=1e-9
    )
    assert change.high == pytest.approx(
        -0.096 + math.hypot(low[1] - 0.864, 0.96 - high[0]), abs=1e-9
    )


@pytest.mark.parametrize(
    ("shift", "images", "finding"),
    [
        (0, 4000, "not lower"),  # +- 1.3 points
        (+5, 4000, "not lower"),
        (-3, 4000, "lower"),
        (-10, 4000, "lower"),
        (0, 100, "unclear"),  # +- 8 points
        (-3, 100, "unclear"),
        (-20, 100, "lower"),  # 70 of 100 and 90 of 100 differ by 20 +- 11
        (-20, 10, "unclear"),
        (+10, 3, "unclear"),  # 3 of 3 elsewhere: Wilson's lower bound is 44 %
    ],
)
def test_a_known_shift_is_found_where_the_images_suffice(
    shift: int, images: int, finding: str
) -> None:
    share = 90 + shift
    inside = set_of(dict.fromkeys(CLASSES, (images * 9 // 10, images)))
    if images < 10:
        inside = set_of(dict.fromkeys(CLASSES, (360, 400)))
    counts = dict.fromkeys(CLASSES, (images * 9 // 10, images))
    counts[NORMAL] = (round(images * share / 100), images)
    one = class_differences(inside, set_of(counts))[1]
    assert one.name == NORMAL
    assert one.change.value == pytest.approx(
        counts[NORMAL][0] / images - (inside.by_class[1].sensitivity.value or 0.0)
    )
    assert one.finding == finding


@pytest.mark.parametrize("margin", [0.0, 1e-9])
def test_a_bound_at_the_margin_is_within_it(margin: float,
                                            monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    pair = set_of(INSIDE), set_of(INSIDE)
    low = class_differences(*pair)[0].change.low
    assert low is not None
    monkeypatch.setattr(limits, "EXTERNAL_FALL_MARGIN", -low - margin)
    assert class_differences(*pair)[0].finding == ("unclear" if margin else "not lower")


def test_classes_that_either_side_lacks_are_named_with_the_side() -> None:
    inside = set_of({COVID: (900, 1000), NORMAL: (900, 1000)})
    outside = set_of({NORMAL: (900, 1000), PNEUMONIA: (10, 1000)})
    found = verdict(inside, outside)
    assert found.tone == "caution"
    assert "COVID-19 (no image elsewhere); pneumonia (no image inside)" in found.sentence
    nothing = verdict(set_of({COVID: (9, 10)}), set_of({NORMAL: (9, 10)}))
    assert (nothing.tone, nothing.tag) == ("unknown", "Not compared")
    assert "pneumonia (no image inside or elsewhere)" in nothing.sentence
    assert verdict(None, outside).tag == "Not compared"


def test_classes_are_matched_by_name_and_not_by_place() -> None:
    inside = set_of({COVID: (990, 1000), NORMAL: (700, 1000), PNEUMONIA: (900, 1000)})
    turned = set_of({COVID: (990, 1000), NORMAL: (700, 1000), PNEUMONIA: (900, 1000)},
                    (PNEUMONIA, NORMAL, COVID))  # fmt: skip
    assert [one.finding for one in class_differences(inside, turned)] == ["not lower"] * 3
    other = set_of({COVID: (990, 1000), "flu": (10, 1000)}, (COVID, "flu"))
    by_name = {one.name: one.finding for one in class_differences(inside, other)}
    assert by_name == {COVID: "not lower", NORMAL: "not assessable",
                       PNEUMONIA: "not assessable", "flu": "not assessable"}  # fmt: skip


def test_all_classes_held_is_good_and_one_that_fell_is_bad() -> None:
    inside = set_of(dict.fromkeys(CLASSES, (3600, 4000)))
    same = verdict(inside, inside)
    assert (same.tone, same.tag) == ("good", "No worse than inside")
    assert "clearly lower" not in same.sentence
    fell = verdict(inside, set_of({COVID: (3600, 4000), NORMAL: (3600, 4000),
                                   PNEUMONIA: (3200, 4000)}))  # fmt: skip
    assert fell.tone == "bad"
    # What fell stands first, then what held.
    assert fell.sentence.index("pneumonia") < fell.sentence.index("COVID-19")
    # A fall stays one where another class is missing.
    part = verdict(inside, set_of({PNEUMONIA: (3200, 4000)}))
    assert part.tone == "bad"
    assert "COVID-19 (no image elsewhere)" in part.sentence


def test_without_intervals_nothing_meets() -> None:
    inside = set_of(INSIDE)
    bare = inside.model_copy(
        update={
            "by_class": tuple(
                one.model_copy(
                    update={
                        "sensitivity": one.sensitivity.model_copy(
                            update={"low": None, "high": None}
                        )
                    }
                )
                for one in inside.by_class
            )
        }
    )
    found = verdict(bare, inside)
    assert found.tone == "unknown"
    assert "no confidence interval" in found.sentence


def test_few_images_elsewhere_are_no_comfort() -> None:
    """3 of 3: no fall is seen, and one of 46 points is not excluded."""
    found = verdict(set_of(INSIDE), set_of({COVID: (3, 3), NORMAL: (3, 3), PNEUMONIA: (3, 3)}))
    assert found.tone == "caution"
    assert found.tag == external.TAGS["caution"] == "No clear difference from inside"
    assert "is not excluded" in found.sentence


def test_a_class_of_few_images_is_coarse_and_one_of_none_is_unknown() -> None:
    told = phrasing.small_classes(set_of({COVID: (20, 29), NORMAL: (20, 30)}))
    assert len(told) == 2
    assert "pneumonia" in told[0]
    assert "not assessable" in told[0]
    assert "29 tested images, fewer than 30" in told[1]
