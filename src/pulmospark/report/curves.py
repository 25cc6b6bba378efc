"""Curves: ROC and precision-recall of each class, and the course of the training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from pulmospark.core import limits
from pulmospark.evaluation.results import Evaluation
from pulmospark.report.content import Training, TrainingRun
from pulmospark.report.numbers import count, number, shown_value
from pulmospark.report.svg import COLOURS, DASHES, MUTED, Drawing, drawing, label, tip


def roc(evaluation: Evaluation) -> Drawing | None:
    """ROC curves, each class against the rest; ``None`` where no class has one."""
    return _class_curves(
        evaluation,
        ("roc", "ROC curves"),
        curve="roc",
        area="auroc",
        axes={"xlabel": "1 \N{MINUS SIGN} specificity", "ylabel": "Sensitivity"},
        legend="lower right",
        caption="Each class against the rest; the dotted diagonal is chance. Legend: AUROC.",
    )


def precision_recall(evaluation: Evaluation) -> Drawing | None:
    """Precision-recall curves, each class against the rest."""
    return _class_curves(
        evaluation,
        ("precision-recall", "Precision\N{EN DASH}recall curves"),
        curve="precision_recall",
        area="auprc",
        axes={"xlabel": "Sensitivity (recall)", "ylabel": "PPV (precision)"},
        legend="lower left",
        caption="Each class against the rest. Legend: AUPRC; chance is the prevalence of the "
        "class in the test set, so areas of different test sets are not comparable.",
    )


def _class_curves(
    evaluation: Evaluation,
    named: tuple[str, str],
    *,
    curve: str,
    area: str,
    axes: dict[str, str],
    legend: str,
    caption: str,
) -> Drawing | None:
    drawable = [row for row in evaluation.by_class if len(getattr(row, curve).x) > 1]
    if not drawable:
        return None
    largest = sorted(drawable, key=lambda row: -row.support)[: limits.REPORT_CURVES_MAX]
    shown = [row for row in drawable if row in largest]
    areas = [(row, shown_value(getattr(row, area))) for row in shown]
    with drawing(4.6, 4.2) as figure:
        plot = figure.add_subplot()
        if curve == "roc":
            plot.plot((0, 1), (0, 1), color=MUTED, lw=0.8, ls=(0, (2, 3)))
        for (row, value), colour, dash in zip(areas, COLOURS, DASHES, strict=False):
            points, name = getattr(row, curve), f"{label(row.name)}  {value}"
            (line,) = plot.plot(points.x, points.y, color=colour, ls=dash, lw=1.6, label=name)
            tip(line, f"{label(row.name)}: {area.upper()} {value}")
        plot.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal", **axes)
        plot.grid(visible=True)
        plot.legend(loc=legend, handlelength=2.6)
    if len(shown) < len(evaluation.by_class):
        classes = count(len(evaluation.by_class), "class", "classes")
        caption += f" Drawn: {len(shown)} of {classes}."
    name, title = named
    details = "; ".join(f"{row.name} {value}" for row, value in areas)
    return Drawing(name, title, figure, caption, f"{title}. Area under the curve: {details}.")


def training_curves(training: Training) -> list[Drawing | None]:
    """Loss and validation accuracy over epochs; the objective over iterations."""
    runs, dash = training.runs, (0, (5, 2))
    loss = (("training", "loss", "-"), ("validation", "validation_loss", dash))
    return [
        _history(
            runs,
            ("training-loss", "Loss"),
            _of_epochs(runs, loss),
            axes={"xlabel": "Epoch", "ylabel": "Cross-entropy"},
            caption="Training loss, and validation loss where there is one: where the second "
            "rises while the first falls, the network overfits.",
        ),
        _history(
            runs,
            ("training-accuracy", "Validation accuracy"),
            _of_epochs(runs, (("validation", "accuracy", dash),)),
            axes={"xlabel": "Epoch", "ylabel": "Accuracy"},
            caption="Accuracy on the validation split after each epoch.",
        ),
        _history(
            runs,
            ("training-objective", "Objective of the logistic regression"),
            [
                (run.name or "objective", colour, style, tuple(enumerate(run.objective)))
                for run, colour, style in zip(runs, COLOURS, DASHES, strict=False)
                if run.objective
            ],
            axes={"xlabel": "Iteration", "ylabel": "Objective"},
            caption="Regularised loss over the iterations of the optimiser; flat at the end means "
            "that it converged.",
        ),
    ]


_Line = tuple[str, str, Any, Sequence[tuple[int, float]]]
"""name, colour, dash and points"""


def _of_epochs(runs: Sequence[TrainingRun], fields: Sequence[tuple[str, str, Any]]) -> list[_Line]:
    return [
        (
            f"{label(run.name)}, {line}" if run.name else line,
            colour,
            dash,
            [
                (epoch.epoch, value)
                for epoch in run.epochs
                if (value := getattr(epoch, field)) is not None and math.isfinite(value)
            ],
        )
        for run, colour in zip(runs, COLOURS, strict=False)
        for line, field, dash in fields
    ]


def _history(
    runs: Sequence[TrainingRun],
    named: tuple[str, str],
    lines: Sequence[_Line],
    *,
    axes: dict[str, str],
    caption: str,
) -> Drawing | None:
    lines = [line for line in lines if line[3]]
    if not lines:
        return None
    name, title = named
    details = []
    with drawing(4.6, 2.9) as figure:
        plot = figure.add_subplot()
        for called, colour, dash, points in lines:
            x, y = zip(*points, strict=True)
            (line,) = plot.plot(x, y, color=colour, ls=dash, lw=1.5, label=called)
            details.append(f"{called} from {number(y[0])} to {number(y[-1])}")
            tip(line, details[-1])
        plot.set(**axes)
        plot.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        plot.grid(visible=True)
        if len(details) > 1:
            plot.legend(loc="best", ncols=1 + (len(details) > 6), handlelength=2.6)
    if (more := len(runs) - limits.REPORT_CURVES_MAX) > 0:
        caption += f" {count(more, 'further run')} not drawn."
    return Drawing(name, title, figure, caption, f"{title}: {'; '.join(details)}.")
