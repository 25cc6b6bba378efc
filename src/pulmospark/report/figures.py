"""The report's figures: each a pure function from results to SVG with its words."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from pulmospark.evaluation.results import (
    CrossValidation,
    Evaluation,
    Figure,
    FoldSummary,
    TrivialRules,
)
from pulmospark.report.content import ReportContent
from pulmospark.report.curves import precision_recall, roc, training_curves
from pulmospark.report.svg import (
    COLOURS,
    GRID,
    INK,
    MUTED,
    Drawing,
    drawing,
    label,
    new_figure,
    shares_across,
    to_svg,
)
from pulmospark.report.tables import fold_name
from pulmospark.report.words import confidence, count, number, told

_MODEL = COLOURS[0]
_LOWER_IS_BETTER = {"log_loss", "brier", "calibration_error"}


def draw_all(content: ReportContent) -> dict[str, Drawing]:
    """Every figure that the content has something to show for, by name."""
    evaluation, training = content.evaluation, content.training
    drawings: list[Drawing | None] = [
        trivial_rules(evaluation),
        roc(evaluation),
        precision_recall(evaluation),
        reliability(evaluation),
        confusion(evaluation),
        None if content.cross_validation is None else folds(content.cross_validation),
        *([] if training is None else training_curves(training)),
    ]
    return {one.name: one for one in drawings if one is not None}


def reliability(
    evaluation: Evaluation, name: str = "reliability", title: str = "Reliability"
) -> Drawing | None:
    """Share right against probability given, over a histogram of the probabilities.

    Args:
        evaluation: of the films that are shown.
        name: of the drawing, unique within the page.
        title: above its caption.
    """
    bins = [
        (one.confidence, one.accuracy, one.count)
        for one in evaluation.reliability
        if one.count and one.confidence is not None and one.accuracy is not None
    ]
    if not bins:
        return None
    given, right, films = (np.asarray(column) for column in zip(*bins, strict=True))
    with drawing():
        figure = new_figure(4.6, 4.2)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
        upper.plot((0, 1), (0, 1), color=MUTED, lw=0.8, ls=(0, (2, 3)))
        upper.plot(given, right, color=_MODEL, lw=1.4, marker="o", ms=4.5)
        upper.set(ylabel="Share that was right", ylim=(-0.02, 1.03), xlim=(-0.01, 1.01))
        upper.grid(visible=True)
        for one in evaluation.reliability:
            lower.bar(
                one.low,
                one.count,
                width=one.high - one.low,
                align="edge",
                color=_MODEL,
                alpha=0.55,
            )
        lower.set(xlabel="Probability given to the predicted class", ylabel="Count")
        lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        lower.grid(visible=True, axis="y")
        svg = to_svg(figure, name)
    error = told(evaluation.calibration_error)
    said = "; ".join(
        f"{number(at, 'percent')} given, {number(was, 'percent')} right, {count(int(n), 'film')}"
        for at, was, n in zip(given, right, films, strict=True)
    )
    return Drawing(
        name,
        title,
        svg,
        "On the dotted line a probability of 80% is right 80% of the time; below it the model "
        f"is too sure of itself. Calibration error {error}. Below: how many films were given "
        "each probability.",
        f"Reliability diagram. {said}.",
    )


def confusion(evaluation: Evaluation) -> Drawing | None:
    """Confusion matrix: counts, and the share of each row."""
    counts = np.asarray(evaluation.confusion, dtype=np.int64)
    if counts.size == 0 or counts.sum() == 0:
        return None
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    size = len(counts)
    names = [label(name) for name in evaluation.classes]
    side = min(max(2.6 + 0.75 * size, 4.6), 7.5)
    with drawing():
        figure = new_figure(side, side * 0.82)
        axes = figure.add_subplot()
        for row, column in np.ndindex(size, size):
            share = shares[row, column]
            axes.fill(*_square(row, column), facecolor=_MODEL, alpha=0.08 + 0.82 * share, lw=0)
        _matrix_text(axes, counts, shares)
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xlabel="Prediction")
        axes.set_ylabel("Label", labelpad=8)
        slanted = size > 4 or max(map(len, names)) > 14
        axes.set_xticks(
            range(size), names, rotation=30 * slanted, ha="right" if slanted else "center"
        )
        axes.set_yticks(range(size), names)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        svg = to_svg(figure, "confusion")
    return Drawing(
        "confusion",
        "Confusion matrix",
        svg,
        "Rows: the label. Columns: what the model said. Each cell has the films and their share "
        "of the row; the diagonal is right.",
        f"Confusion matrix. {_matrix_words(evaluation)}",
    )


def _square(row: int, column: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    half = 0.48
    return (
        (column - half, column + half, column + half, column - half),
        (row - half, row - half, row + half, row + half),
    )


def _matrix_text(axes: Any, counts: Any, shares: Any) -> None:
    size = len(counts)
    if size > 16:  # the colours have to do; the page's class table has the figures
        return
    points = 10.0 if size <= 6 else max(5.0, 60.0 / size)
    for row, column in np.ndindex(size, size):
        share = shares[row, column]
        ink = "#ffffff" if share > 0.45 else INK
        axes.text(
            column, row - 0.08, f"{counts[row, column]:,}",
            ha="center", va="center", size=points, weight="bold", color=ink,
        )  # fmt: skip
        axes.text(
            column, row + 0.17, f"{share * 100:.0f}%",
            ha="center", va="center", size=points * 0.75, color=ink,
        )  # fmt: skip


def _matrix_words(evaluation: Evaluation) -> str:
    sentences = []
    for name, row in zip(evaluation.classes, evaluation.confusion, strict=True):
        said = ", ".join(
            f"{films} as {other}"
            for other, films in zip(evaluation.classes, row, strict=True)
            if films
        )
        sentences.append(f"Of {count(sum(row), 'film')} of {name}: {said or 'none'}.")
    return " ".join(sentences)


def trivial_rules(evaluation: Evaluation) -> Drawing | None:
    """The model's accuracy beside two rules that look at no image."""
    trivial = evaluation.trivial
    if trivial is None:
        return None
    rows = (
        ("Most frequent class", trivial.most_frequent_class, MUTED),
        ("Most frequent class\nof each source", trivial.most_frequent_class_of_source, COLOURS[1]),
        ("The model", evaluation.accuracy, _MODEL),
    )
    with drawing():
        figure = new_figure(4.6, 1.7)
        axes = figure.add_subplot()
        for place, (_, one, colour) in enumerate(rows):
            _dot(axes, place, one, colour)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.set(ylim=(-0.5, len(rows) - 0.35), xlim=(0, 1.2))
        shares_across(axes)
        svg = to_svg(figure, "trivial")
    said = "; ".join(
        f"{' '.join(name.split())} {_percent(one)}" for name, one, _ in reversed(rows)
    )
    return Drawing(
        "trivial",
        "Accuracy beside two rules that look at no image",
        svg,
        f"Accuracy with its {confidence(evaluation)} interval. Both rules learned from the labels "
        "of the training and the validation part, as the model did, and look at no image."
        + (" There is one source here, so that both are the same rule." * _one_source(trivial)),
        f"Accuracy: {said}.",
    )


def _one_source(rules: TrivialRules) -> bool:
    return rules.sources is not None and rules.sources < 2


def _dot(axes: Any, place: int, figure: Figure, colour: str) -> None:
    if figure.value is None:
        axes.text(0.01, place, "not defined", va="center", color=MUTED)
        return
    if figure.low is not None and figure.high is not None:
        axes.plot((figure.low, figure.high), (place, place), color=colour, lw=2.2, alpha=0.65)
    axes.plot((figure.value,), (place,), color=colour, marker="o", ms=7)
    end = max(figure.value, figure.high or 0.0)
    axes.text(end + 0.025, place, number(figure.value, "percent"), va="center", weight="bold")


def _percent(figure: Figure) -> str:
    return "not defined" if figure.value is None else number(figure.value, "percent")


def folds(cross: CrossValidation) -> Drawing | None:
    """Each fold's figures, their mean and spread."""
    rows = [
        one
        for one in cross.summary
        if one.name not in _LOWER_IS_BETTER
        and one.mean is not None
        and all(value is None or 0.0 <= value <= 1.0 for value in one.values)
    ]
    if not rows:
        return None
    with drawing():
        figure = new_figure(4.6, 0.75 + 0.42 * len(rows))
        axes = figure.add_subplot()
        for place, one in enumerate(reversed(rows)):
            values = [value for value in one.values if value is not None]
            if one.mean is not None and one.spread is not None:
                reach = (one.mean - one.spread, one.mean + one.spread)
                axes.plot(reach, (place, place), color=GRID, lw=7, solid_capstyle="butt")
            axes.plot(
                values, [place] * len(values), ls="", marker="o", ms=5, color=_MODEL, alpha=0.6
            )
            if one.mean is not None:
                axes.plot((one.mean,), (place,), marker="|", ms=14, mew=2, color=INK)
        axes.set_yticks(range(len(rows)), [_fold_label(one) for one in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlim(right=1.005)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=True, axis="x")
        svg = to_svg(figure, "folds")
    said = "; ".join(
        f"{fold_name(one)}{f', {one.class_name},' if one.class_name else ''} mean "
        f"{number(one.mean)}"
        for one in rows
        if one.mean is not None
    )
    return Drawing(
        "folds",
        "Spread between folds",
        svg,
        "A dot a fold; the line is their mean, the band one standard deviation to each side.",
        f"Figures of {count(len(cross.folds), 'fold')}: {said}.",
    )


def _fold_label(summary: FoldSummary) -> str:
    """The figure, and the class that it is of, each short enough for a drawing."""
    name = label(fold_name(summary))
    return name if summary.class_name is None else f"{name}: {label(summary.class_name)}"
