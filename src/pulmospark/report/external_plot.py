"""The main metrics inside, elsewhere and after a recalibration in one plot."""

from __future__ import annotations

from pulmospark.evaluation import registry
from pulmospark.evaluation.registry import Scale
from pulmospark.evaluation.results import Figure
from pulmospark.report.external_content import Column
from pulmospark.report.numbers import interval, shown_value
from pulmospark.report.svg import (
    COLOURS,
    MUTED,
    Drawing,
    drawing,
    interval_row,
    label,
    shares_across,
)

_OVER_ALL = ("macro_auroc", "calibration_error")
"""metrics within 0 to 1 that do not depend on how many images each class has"""
_CLASSES_MAX = 12
"""classes whose sensitivity is drawn; the table has all"""
_LOOKS = {
    "inside": (MUTED, "o"),
    "elsewhere": (COLOURS[1], "D"),
    "recalibrated": (COLOURS[0], "s"),
}
"""colour and mark of each column: distinguishable in greyscale, too"""
_APART = 0.24


def side_by_side(columns: tuple[Column, ...]) -> Drawing:
    """Sensitivity of each class, AUROC and calibration error of each column, 0 to 1."""
    rows = [*_sensitivities(columns), *_overall(columns)]
    with drawing(4.6, 0.8 + 0.2 * len(rows) * (len(columns) + 0.6)) as figure:
        axes = figure.add_subplot()
        for place, (name, figures, scale) in enumerate(reversed(rows)):
            for at, (column, shown) in enumerate(zip(columns, figures, strict=True)):
                up = place + _APART * ((len(columns) - 1) / 2 - at)
                named = f"{' '.join(name.split())}, {column.title.lower()}"
                text = shown_value(shown, scale)
                interval_row(axes, up, shown, _LOOKS[column.key], named, text=text, scale=scale)
        for column in columns:
            colour, mark = _LOOKS[column.key]
            axes.plot((), (), color=colour, marker=mark, ls="", ms=6, label=column.title)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in reversed(rows)])
        axes.set(ylim=(-0.55, len(rows) - 0.45), xlim=(-0.01, 1.02))
        shares_across(axes)
        figure.legend(
            loc="outside upper left", ncols=len(columns), handletextpad=0.1, columnspacing=1.0
        )
    details = "; ".join(
        f"{' '.join(name.split())} "
        + ", ".join(
            f"{column.title.lower()} {_said(shown, scale)}"
            for column, shown in zip(columns, figures, strict=True)
        )
        for name, figures, scale in rows
    )
    return Drawing(
        "side_by_side",
        "Inside and elsewhere",
        figure,
        "Bars are confidence intervals over patients. The sensitivity of a class is of its own "
        "images alone; the macro AUROC is of the classes that a set holds, and comparable where "
        "both hold all.",
        f"Metrics side by side: {details}.",
    )


_Drawn = tuple[str, list[Figure], Scale]


def _sensitivities(columns: tuple[Column, ...]) -> list[_Drawn]:
    names = dict.fromkeys(kind.name for column in columns for kind in column.evaluation.by_class)
    by_name = [
        {kind.name: kind.sensitivity for kind in column.evaluation.by_class} for column in columns
    ]
    return [
        (f"Sensitivity:\n{label(name)}", [held.get(name, _NONE) for held in by_name], "percent")
        for name in list(names)[:_CLASSES_MAX]
    ]


def _overall(columns: tuple[Column, ...]) -> list[_Drawn]:
    return [
        (
            metric.label + "\n(lower is better)" * (metric.better == "lower"),
            [metric.of(column.evaluation) for column in columns],
            metric.scale,
        )
        for metric in registry.overall("external")
        if metric.name in _OVER_ALL
    ]


_NONE = Figure(value=None)


def _said(figure: Figure, scale: Scale) -> str:
    span = interval(figure, scale)
    return shown_value(figure, scale) + (f" ({span})" if span else "")
