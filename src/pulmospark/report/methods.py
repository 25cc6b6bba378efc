"""Sentences on method: how the confidence intervals of a page were computed.

Each is made from the figures themselves (``Figure.method``, ``effective``, ``groups``), so that
what a page says of a method is what was done to the numbers on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pulmospark.evaluation import registry
from pulmospark.evaluation.results import ClassFigures, Evaluation, Figure, OperatingFigures
from pulmospark.report.content import ReportContent
from pulmospark.report.numbers import count, number
from pulmospark.report.phrasing import groups, image_noun

METHODS = {
    "wilson": "Wilson",
    "bootstrap": "bootstrap",
    "basic": "basic bootstrap",
    "mover": "MOVER",
    "bound": "bounds (see the note)",
    "none": "no CI",
}
"""``Figure.method`` as a table names it"""
_EFFECTIVE = (
    "score interval on the effective sample size (images / design effect), with Student's "
    "quantile of patients \N{MINUS SIGN} 1 degrees of freedom in place of the normal one, since "
    "images of one patient are not independent"
)
_PLAIN = "score interval of the proportion"


def effective_words(figure: Figure) -> str:
    """The effective sample size, ``effective n 71.2``; empty where all images count."""
    return "" if figure.effective is None else f"effective n {figure.effective:.1f}"


def overall_methods(evaluation: Evaluation, content: ReportContent) -> str:
    """How the CIs of the table over all classes were computed."""
    whose, images = groups(content), count(evaluation.images, image_noun(content))
    accuracy = evaluation.accuracy
    if accuracy.effective is None:
        proportions = (
            f"Wilson: {_PLAIN}; each of the {images} is a patient's only one, or its patient is "
            "not known, so each counts in full."
        )
    else:
        proportions = (
            f"Wilson: {_EFFECTIVE}. For the accuracy the {images} of {whose} count as "
            f"{accuracy.effective:.1f} independent ones."
        )
    return f"{proportions} Bootstrap: {bootstrap_words(evaluation, whose)}."


def class_methods(evaluation: Evaluation, content: ReportContent) -> str:
    """How the CIs of the class table were computed, column by column."""
    by_method: dict[str, list[str]] = {}
    for metric in registry.of_class():
        for method in {metric.of(figures).method for figures in evaluation.by_class}:
            if method != "none":
                by_method.setdefault(method, []).append(metric.label)
    sentences = []
    if columns := by_method.get("wilson"):
        sentences.append(f"{_listed(columns)}: {proportions_words(evaluation.by_class)}")
    if columns := by_method.get("bootstrap"):
        drawn = f"percentiles of {_draws(evaluation, groups(content))}"
        sentences.append(f"{_listed(columns)}: {drawn}")
    if columns := by_method.get("bound"):
        sentences.append(
            f"{_listed(columns)}, where all replicates are equal: Newcombe's bounds for as many "
            "independent patients"
        )
    return "; ".join(sentences) + "." * bool(sentences)


def proportions_words(of: Sequence[ClassFigures] | Sequence[OperatingFigures]) -> str:
    """How the CIs of proportions (sensitivity, specificity, PPV, NPV) were computed."""
    shown = [metric.of(figures) for figures in of for metric in registry.of_decisions()]
    return _proportions([figure for figure in shown if figure.low is not None])


def beside_methods(evaluations: Sequence[Evaluation], outside: Evaluation, whose: str) -> str:
    """How the CIs of several evaluations side by side were computed.

    Args:
        evaluations: those shown.
        outside: the one whose bootstrap is described.
        whose: patients or groups that it is of, in words.
    """
    shown = [
        figure
        for evaluation in evaluations
        for figure in (evaluation.accuracy, *(kind.sensitivity for kind in evaluation.by_class))
        if figure.low is not None
    ]
    return (
        f"Proportions: {_proportions(shown)}. Other metrics from elsewhere: "
        f"{bootstrap_words(outside, whose)}."
    )


def operating_words(operating: OperatingFigures, noun: str, confidence: str) -> str:
    """Which threshold calls an image positive, and on what it was chosen; class names aside.

    Pooled folds have a threshold each, chosen on images that are tested in other folds.

    Args:
        operating: the figures at the operating point.
        noun: of what is shown, image or phantom.
        confidence: of the CI, "95 %".
    """
    point = operating.point
    target = f"a sensitivity of at least {number(point.sensitivity_target, 'percent')}"
    missed = "" if point.reached else "; they did not allow that sensitivity"
    positives = "" if point.positives is None else f", {point.positives:,} of them positive"
    chosen_on = f"{count(point.chosen_on, noun)}{positives}"
    expected = ""
    if point.expected_low is not None and point.expected_high is not None:
        low, high = (number(x, "percent") for x in (point.expected_low, point.expected_high))
        expected = (
            f" The sensitivity to expect on new patients is {low} to {high} ({confidence} CI)."
        )
    if operating.thresholds:
        each = ", ".join(number(threshold) for threshold in operating.thresholds)
        return (
            f"from its fold's own threshold upwards ({each}; mean {number(point.threshold)}). "
            f"Each was chosen on images that are not tested in its fold, together {chosen_on}, "
            f"for {target}{missed}.{expected}"
        )
    return (
        f"from a probability of {number(point.threshold)} upwards. The threshold was chosen on "
        f"{chosen_on}, none of them tested here, for {target}{missed}.{expected}"
    )


def bootstrap_words(evaluation: Evaluation, whose: str) -> str:
    """How the bootstrap was done: replicates, over whom, and which CI was taken of them."""
    basic = ""
    if evaluation.calibration_error.method == "basic":
        basic = "; of the calibration error, which noise can only raise, their basic CI"
    return f"percentiles of {_draws(evaluation, whose)}{basic}"


def _draws(evaluation: Evaluation, whose: str) -> str:
    return f"{evaluation.replicates:,} replicates over {whose}"


def _proportions(shown: Sequence[Figure]) -> str:
    clustered = [figure.effective is not None for figure in shown]
    if not any(clustered):
        return f"Wilson's {_PLAIN}, each result counted in full, since no patient has two"
    where = "" if all(clustered) else f"; Wilson's {_PLAIN} itself where no effective n is given"
    return f"Wilson's {_EFFECTIVE}; effective n is that size{where}"


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
