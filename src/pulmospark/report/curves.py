"""Curves: ROC and precision-recall of each class, and the course of the training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from pulmospark.core import limits
from pulmospark.evaluation.results import ClassFigures, Evaluation
from pulmospark.report.content import Training, TrainingRun
from pulmospark.report.svg import (
    COLOURS,
    DASHES,
    MUTED,
    Drawing,
    drawing,
    label,
    new_figure,
    to_svg,
)
from pulmospark.report.words import count, number, told


def roc(evaluation: Evaluation) -> Drawing | None:
    """ROC curves, each class against the rest; ``None`` where no class has one."""

    def finish(axes: Any) -> None:
        axes.plot((0, 1), (0, 1), color=MUTED, lw=0.8, ls=(0, (2, 3)))
        axes.set(xlabel="1 \N{MINUS SIGN} specificity", ylabel="Sensitivity")
        axes.legend(loc="lower right", handlelength=2.6)

    return _class_curves(
        evaluation,
        name="roc",
        title="ROC curves",
        area="auroc",
        points=lambda one: (one.roc.x, one.roc.y),
        finish=finish,
        caption="Each class against the rest; the dotted diagonal is chance. The legend has the "
        "area under each curve.",
    )


def precision_recall(evaluation: Evaluation) -> Drawing | None:
    """Precision-recall curves, each class against the rest."""

    def finish(axes: Any) -> None:
        axes.set(xlabel="Sensitivity (recall)", ylabel="PPV (precision)")
        axes.legend(loc="lower left", handlelength=2.6)

    return _class_curves(
        evaluation,
        name="precision-recall",
        title="Precision\N{EN DASH}recall curves",
        area="auprc",
        points=lambda one: (one.precision_recall.x, one.precision_recall.y),
        finish=finish,
        caption="Each class against the rest. What chance reaches is the share the class has "
        "among the tested films, so areas of different data are not to be compared.",
    )


def _class_curves(
    evaluation: Evaluation,
    *,
    name: str,
    title: str,
    area: str,
    points: Callable[[ClassFigures], tuple[Sequence[float], Sequence[float]]],
    finish: Callable[[Any], None],
    caption: str,
) -> Drawing | None:
    drawable = [one for one in evaluation.by_class if len(points(one)[0]) > 1]
    if not drawable:
        return None
    shown = sorted(drawable, key=lambda one: -one.support)[: limits.REPORT_CURVES_MAX]
    shown = [one for one in drawable if one in shown]
    with drawing():
        figure = new_figure(4.6, 4.2)
        axes = figure.add_subplot()
        for one, colour, dash in zip(shown, COLOURS, DASHES, strict=False):
            axes.plot(*points(one), color=colour, ls=dash, lw=1.6, label=_with_area(one, area))
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
        axes.grid(visible=True)
        finish(axes)
        svg = to_svg(figure, name)
    if len(shown) < len(evaluation.by_class):
        classes = count(len(evaluation.by_class), "class", "classes")
        caption += f" Drawn: {len(shown)} of {classes}."
    areas = "; ".join(f"{one.name} {told(getattr(one, area))}" for one in shown)
    return Drawing(name, title, svg, caption, f"{title}. Area under the curve: {areas}.")


def _with_area(figures: ClassFigures, area: str) -> str:
    return f"{label(figures.name)}  {told(getattr(figures, area))}"


def training_curves(training: Training) -> list[Drawing | None]:
    """Loss and validation accuracy over epochs; the objective over iterations."""
    runs = training.runs
    return [
        _history(
            runs,
            name="training-loss",
            title="Loss",
            ylabel="Cross-entropy",
            lines=(("training", "loss", "-"), ("validation", "validation_loss", (0, (5, 2)))),
            caption="Training loss, and validation loss where there is one: where the second "
            "rises while the first falls, the network learns the films by heart.",
        ),
        _history(
            runs,
            name="training-accuracy",
            title="Validation accuracy",
            ylabel="Share right",
            lines=(("validation", "accuracy", (0, (5, 2))),),
            caption="Share of the validation films named rightly after each epoch.",
        ),
        _objective(runs),
    ]


def _history(
    runs: Sequence[TrainingRun],
    *,
    name: str,
    title: str,
    ylabel: str,
    lines: Sequence[tuple[str, str, Any]],
    caption: str,
) -> Drawing | None:
    with drawing():
        figure = new_figure(4.6, 2.9)
        axes = figure.add_subplot()
        said = []
        for run, colour in zip(runs, COLOURS, strict=False):
            for line, field, dash in lines:
                values = [
                    (epoch.epoch, value)
                    for epoch in run.epochs
                    if (value := getattr(epoch, field)) is not None and math.isfinite(value)
                ]
                if not values:
                    continue
                called = f"{label(run.name)}, {line}" if run.name else line
                x, y = zip(*values, strict=True)
                axes.plot(x, y, color=colour, ls=dash, lw=1.5, marker="o", ms=2.5, label=called)
                said.append(f"{called} from {number(y[0])} to {number(y[-1])}")
        if not said:
            return None
        axes.set(xlabel="Epoch", ylabel=ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(visible=True)
        if len(said) > 1:
            axes.legend(loc="best", ncols=1 + (len(said) > 6), handlelength=2.6)
        svg = to_svg(figure, name)
    return Drawing(name, title, svg, caption + _left(runs), f"{title}: {'; '.join(said)}.")


def _objective(runs: Sequence[TrainingRun]) -> Drawing | None:
    drawn = [run for run in runs if run.objective][: limits.REPORT_CURVES_MAX]
    if not drawn:
        return None
    with drawing():
        figure = new_figure(4.6, 2.9)
        axes = figure.add_subplot()
        for run, colour, dash in zip(drawn, COLOURS, DASHES, strict=False):
            axes.plot(
                range(len(run.objective)), run.objective, color=colour, ls=dash, lw=1.5,
                label=label(run.name) if run.name else "objective",
            )  # fmt: skip
        axes.set(xlabel="Iteration", ylabel="Objective")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(visible=True)
        if len(drawn) > 1:
            axes.legend(loc="best", handlelength=2.6)
        svg = to_svg(figure, "training-objective")
    said = "; ".join(
        f"{run.name or 'objective'} from {number(run.objective[0])} to {number(run.objective[-1])}"
        f" in {count(len(run.objective) - 1, 'iteration')}"
        for run in drawn
    )
    return Drawing(
        "training-objective",
        "Objective of the logistic regression",
        svg,
        "Regularised loss over the optimiser's iterations; flat at the end means that it "
        "converged." + _left(runs),
        f"Objective: {said}.",
    )


def _left(runs: Sequence[TrainingRun]) -> str:
    more = len(runs) - limits.REPORT_CURVES_MAX
    return f" {count(more, 'further run')} not drawn." if more > 0 else ""
