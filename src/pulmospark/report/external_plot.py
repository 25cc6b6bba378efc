"""The main figures from inside, from elsewhere and after a recalibration in one picture."""

from __future__ import annotations

from typing import Any

from pulmospark.evaluation.results import Figure
from pulmospark.report.external_content import Column
from pulmospark.report.svg import (
    COLOURS,
    MUTED,
    Drawing,
    drawing,
    label,
    new_figure,
    shares_across,
    to_svg,
)
from pulmospark.report.words import Scale, interval, number

_OVER_ALL: tuple[tuple[str, str, Scale], ...] = (
    ("macro_auroc", "Macro AUROC", "number"),
    ("calibration_error", "Calibration error\n(lower is better)", "number"),
)
_CLASSES_MAX = 12
"""classes whose sensitivity is drawn; the table has all"""
_LOOKS = {
    "inside": (MUTED, "o"),
    "elsewhere": (COLOURS[1], "D"),
    "recalibrated": (COLOURS[0], "s"),
}
"""colour and mark of each column: told apart in grey, too"""
_APART = 0.24


def beside(columns: tuple[Column, ...]) -> Drawing:
    """Sensitivity of each class, AUROC and calibration error of each column, 0 to 1."""
    rows = [*_sensitivities(columns), *_overall(columns)]
    with drawing():
        figure = new_figure(4.6, 0.8 + 0.2 * len(rows) * (len(columns) + 0.6))
        axes = figure.add_subplot()
        for place, (_, figures, scale) in enumerate(reversed(rows)):
            for at, (column, shown) in enumerate(zip(columns, figures, strict=True)):
                up = place + _APART * ((len(columns) - 1) / 2 - at)
                _dot(axes, up, shown, column.key, scale)
        for column in columns:
            colour, mark = _LOOKS[column.key]
            axes.plot((), (), color=colour, marker=mark, ls="", ms=6, label=column.title)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in reversed(rows)])
        axes.set(ylim=(-0.55, len(rows) - 0.45), xlim=(-0.01, 1.17))
        shares_across(axes)
        figure.legend(
            loc="outside upper left", ncols=len(columns), handletextpad=0.1, columnspacing=1.0
        )
        svg = to_svg(figure, "beside")
    said = "; ".join(
        f"{' '.join(name.split())} "
        + ", ".join(
            f"{column.title.lower()} {_told(shown, scale)}"
            for column, shown in zip(columns, figures, strict=True)
        )
        for name, figures, scale in rows
    )
    return Drawing(
        "beside",
        "Inside and elsewhere",
        svg,
        "Bars are confidence intervals over patients. The sensitivity of a class is of its own "
        "images alone; the macro AUROC is of the classes that a set holds, and comparable where "
        "both hold all.",
        f"Figures side by side: {said}.",
    )


_Drawn = tuple[str, list[Figure], Scale]


def _sensitivities(columns: tuple[Column, ...]) -> list[_Drawn]:
    names = dict.fromkeys(kind.name for column in columns for kind in column.evaluation.by_class)
    by_name = [
        {kind.name: kind.sensitivity for kind in column.evaluation.by_class} for column in columns
    ]
    return [
        (f"Sensitivity:\n{label(name)}", [one.get(name, _NONE) for one in by_name], "percent")
        for name in list(names)[:_CLASSES_MAX]
    ]


def _overall(columns: tuple[Column, ...]) -> list[_Drawn]:
    return [
        (name, [getattr(column.evaluation, field) for column in columns], scale)
        for field, name, scale in _OVER_ALL
    ]


_NONE = Figure(value=None)


def _dot(axes: Any, place: float, figure: Figure, key: str, scale: Scale) -> None:
    colour, mark = _LOOKS[key]
    if figure.value is None:
        axes.text(0.01, place, "not defined", va="center", color=MUTED, size=8)
        return
    if figure.low is not None and figure.high is not None:
        axes.plot((figure.low, figure.high), (place, place), color=colour, lw=2.0, alpha=0.65)
    axes.plot((figure.value,), (place,), color=colour, marker=mark, ms=5.5)
    end = max(figure.value, figure.high or 0.0)
    axes.text(end + 0.015, place, number(figure.value, scale), va="center", size=8)


def _told(figure: Figure, scale: Scale) -> str:
    if figure.value is None:
        return "not defined"
    span = interval(figure, scale)
    return f"{number(figure.value, scale)}{f' ({span})' if span else ''}"
