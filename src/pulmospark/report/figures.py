"""The report's figures: each a pure function from results to a drawing with its words."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pulmospark.core import limits
from pulmospark.evaluation import registry
from pulmospark.evaluation.results import CrossValidation, Evaluation, FoldSummary
from pulmospark.report.audit_plot import audit_drawings
from pulmospark.report.content import ReportContent
from pulmospark.report.curves import precision_recall, roc, training_curves
from pulmospark.report.numbers import PERCENT, count, interval, number, shown_value
from pulmospark.report.svg import (
    COLOURS,
    INK,
    MUTED,
    Drawing,
    drawing,
    interval_row,
    label,
    shares_across,
    tip,
)

_MODEL = COLOURS[0]
_CELL_TEXT_MAX = 16
"""classes beyond which a cell of the confusion matrix has no room for its count"""
_SHARE_TEXT_MAX = 8
"""as ``_CELL_TEXT_MAX``, for the share of the row"""


def draw_all(content: ReportContent) -> dict[str, Drawing]:
    """Every figure that the content has something to show for, by name."""
    evaluation, training = content.evaluation, content.training
    drawings: list[Drawing | None] = [
        trivial_rules(evaluation),
        confusion(evaluation),
        roc(evaluation),
        precision_recall(evaluation),
        reliability(evaluation),
        None if content.cross_validation is None else folds(content.cross_validation),
        *([] if training is None else training_curves(training)),
        *([] if content.audits is None else audit_drawings(content.audits)),
    ]
    return {drawing.name: drawing for drawing in drawings if drawing is not None}


def reliability(
    evaluation: Evaluation, name: str = "reliability", title: str = "Reliability diagram"
) -> Drawing | None:
    """Accuracy against predicted probability, over a histogram of the probabilities.

    Args:
        evaluation: of the images that are shown.
        name: of the drawing, unique within the page.
        title: above its caption.
    """
    bins = [
        (bin_, bin_.confidence, bin_.accuracy)
        for bin_ in evaluation.reliability
        if bin_.count and bin_.confidence is not None and bin_.accuracy is not None
    ]
    if not bins:
        return None
    texts = [
        f"predicted {number(given, 'percent')}, correct {number(right, 'percent')}, "
        f"{count(bin_.count, 'image')}"
        for bin_, given, right in bins
    ]
    with drawing(4.6, 4.2) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
        upper.plot((0, 1), (0, 1), color=MUTED, lw=0.8, ls=(0, (2, 3)))
        _, given, right = zip(*bins, strict=True)
        upper.plot(given, right, color=_MODEL, lw=1.4)
        for text, (bin_, x, y) in zip(texts, bins, strict=True):
            tip(upper.plot((x,), (y,), color=_MODEL, marker="o", ms=4.5)[0], text)
            (bar,) = lower.bar(
                bin_.low, bin_.count, width=bin_.high - bin_.low, align="edge", color=_MODEL,
                alpha=0.55,
            )  # fmt: skip
            tip(bar, text)
        upper.set(ylabel="Accuracy", ylim=(-0.02, 1.03), xlim=(-0.01, 1.01))
        upper.grid(visible=True)
        lower.set(xlabel="Probability of the predicted class", ylabel="Images")
        lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        lower.grid(visible=True, axis="y")
    return Drawing(
        name,
        title,
        figure,
        "On the dotted line, predictions with a probability of 0.8 are correct 8 times in 10; "
        "below it the model is overconfident. Calibration error "
        f"{shown_value(evaluation.calibration_error)}. Bottom: images per bin.",
        f"Reliability diagram. {'; '.join(texts)}.",
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
    side = min(max(1.9 + 0.72 * size, 3.6), 7.5)
    points = 10.0 if size <= 6 else max(5.0, 60.0 / size)
    with drawing(side * 1.12, side * 0.86) as figure:
        axes = figure.add_subplot()
        for row, column in np.ndindex(size, size):
            images, share = int(counts[row, column]), float(shares[row, column])
            x, y = (column - 0.48, column + 0.48), (row - 0.48, row + 0.48)
            # No darker than the text can stand on, in the light and in the dark.
            (cell,) = axes.fill(
                (*x, *reversed(x)),
                np.repeat(y, 2),
                facecolor=_MODEL,
                alpha=0.05 + 0.5 * share,
                lw=0,
            )
            text = f"label {names[row]}, predicted {names[column]}: {count(images, 'image')}"
            tip(cell, f"{text}, {number(share, 'percent')} of the row")
            if size <= _CELL_TEXT_MAX:
                _centred(axes, (column, row - 0.08), f"{images:,}", points, "bold")
            if size <= _SHARE_TEXT_MAX:
                _centred(axes, (column, row + 0.19), f"{share * 100:.0f}{PERCENT}", points * 0.78)
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xlabel="Predicted")
        axes.set_ylabel("Label", labelpad=8)
        slanted = size > 4 or max(map(len, names)) > 14
        axes.set_xticks(
            range(size), names, rotation=30 * slanted, ha="right" if slanted else "center"
        )
        axes.set_yticks(range(size), names)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return Drawing(
        "confusion",
        "Confusion matrix",
        figure,
        "Rows: label; columns: prediction. Each cell: images, and their share of the row.",
        f"Confusion matrix. {_matrix_words(evaluation)}",
    )


def _centred(
    axes: Axes, place: tuple[float, float], text: str, size: float, weight: str = "normal"
) -> None:
    axes.text(*place, text, size=size, weight=weight, ha="center", va="center", color=INK)


def _matrix_words(evaluation: Evaluation) -> str:
    sentences = []
    for name, row in zip(evaluation.classes, evaluation.confusion, strict=True):
        details = ", ".join(
            f"{images} as {other}"
            for other, images in zip(evaluation.classes, row, strict=True)
            if images
        )
        sentences.append(f"Of {count(sum(row), 'image')} of {name}: {details or 'none'}.")
    return " ".join(sentences)


def trivial_rules(evaluation: Evaluation) -> Drawing | None:
    """The model's accuracy next to the two image-blind baselines."""
    trivial = evaluation.trivial
    if trivial is None:
        return None
    rows = (
        ("Model", evaluation.accuracy, _MODEL),
        ("Most frequent class\nof each source", trivial.most_frequent_class_of_source, COLOURS[1]),
        ("Most frequent class", trivial.most_frequent_class, MUTED),
    )
    spans = [interval(accuracy, "percent") for _, accuracy, _ in rows]
    texts = [
        shown_value(accuracy, "percent") + (f" ({span})" if span else "")
        for (_, accuracy, _), span in zip(rows, spans, strict=True)
    ]
    names = [" ".join(name.split()) for name, _, _ in rows]
    with drawing(4.9, 1.75) as figure:
        axes = figure.add_subplot()
        for at, (_, accuracy, colour) in enumerate(rows):
            interval_row(
                axes, -at, accuracy, (colour, "o"), names[at], text=texts[at], scale="percent"
            )
        axes.set_yticks([-at for at in range(len(rows))], [name for name, _, _ in rows])
        axes.set(ylim=(0.35 - len(rows), 0.5), xlim=(0, 1.02))
        shares_across(axes)
    details = "; ".join(f"{name} {text}" for name, text in zip(names, texts, strict=True))
    one_source = trivial.sources is not None and trivial.sources < 2
    return Drawing(
        "trivial",
        "Accuracy and image-blind baselines",
        figure,
        f"With {evaluation.confidence * 100:g}\N{NO-BREAK SPACE}% CIs. The baselines know the "
        "labels of the training and the validation split, and see no image."
        + " There is one source here, so both baselines are the same."
        * one_source,
        f"Accuracy: {details}.",
    )


def folds(cross: CrossValidation) -> Drawing | None:
    """Each fold's metrics, one row per metric and one colour per class."""
    higher = [metric.name for metric in registry.METRICS if metric.better == "higher"]
    summaries = [
        metric for metric in cross.summary if metric.name in higher and metric.mean is not None
    ]
    if not summaries:
        return None
    names = [name for name in higher if any(metric.name == name for metric in summaries)]
    classes = list(
        dict.fromkeys(metric.class_name for metric in summaries if metric.class_name is not None)
    )
    drawn = classes[: limits.REPORT_CURVES_MAX]
    with drawing(4.9, 0.9 + 0.27 * len(names)) as figure:
        axes = figure.add_subplot()
        for metric in summaries:
            if metric.class_name is None:
                colour, lift = INK, 0.0
            elif metric.class_name in drawn:
                at = drawn.index(metric.class_name)
                colour, lift = COLOURS[at], 0.56 * ((at + 0.5) / len(drawn) - 0.5)
            else:
                continue
            _fold_dots(axes, metric, len(names) - 1 - names.index(metric.name) - lift, colour)
        for name, colour in zip(drawn, COLOURS, strict=False):
            axes.plot((), (), "o", ms=4, color=colour, label=label(name))
        axes.set_yticks(range(len(names)), list(map(registry.label_of, reversed(names))))
        axes.set(ylim=(-0.6, len(names) - 0.4))
        axes.set_xlim(right=1.005)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=True, axis="x")
        if drawn:
            figure.legend(loc="outside upper left", ncols=4, handletextpad=0.1, columnspacing=1.0)
    details = "; ".join(
        f"{registry.label_of(metric.name)}"
        f"{'' if metric.class_name is None else f', {metric.class_name},'}"
        f" mean {number(metric.mean or 0.0)}"
        for metric in summaries
    )
    left = f" Drawn: {len(drawn)} of {count(len(classes), 'class', 'classes')}."
    return Drawing(
        "folds",
        "Metrics of each fold",
        figure,
        "One dot per fold; the stroke is their mean. Black: over all classes."
        + left * (len(drawn) < len(classes)),
        f"Metrics of {count(len(cross.folds), 'fold')}: {details}.",
    )


def _fold_dots(axes: Axes, metric: FoldSummary, place: float, colour: str) -> None:
    what = registry.label_of(metric.name)
    what += "" if metric.class_name is None else f", {label(metric.class_name)}"
    for fold, value in enumerate(metric.values, 1):
        if value is not None:
            (dot,) = axes.plot((value,), (place,), "o", ms=3.6, color=colour, alpha=0.7)
            tip(dot, f"{what}, fold {fold}: {number(value)}")
    mean = metric.mean or 0.0
    (bar,) = axes.plot((mean,), (place,), marker="|", ms=6, mew=1.6, color=colour)
    tip(bar, f"{what}, mean: {number(mean)}")
