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
    new_figure,
    shares_across,
    to_svg,
)
from pulmospark.report.words import Scale, interval, number

_SHOWN: tuple[tuple[str, str, Scale], ...] = (
    ("accuracy", "Accuracy", "percent"),
    ("balanced_accuracy", "Balanced accuracy", "percent"),
    ("macro_auroc", "Macro AUROC", "number"),
    ("calibration_error", "Calibration error\n(lower is better)", "number"),
)
_LOOKS = {
    "inside": (MUTED, "o"),
    "elsewhere": (COLOURS[1], "D"),
    "recalibrated": (COLOURS[0], "s"),
}
"""colour and mark of each column: told apart in grey, too"""
_APART = 0.24


def beside(columns: tuple[Column, ...]) -> Drawing:
    """Accuracy, balanced accuracy, AUROC and calibration error of each column, 0 to 1."""
    with drawing():
        figure = new_figure(4.6, 0.8 + 0.2 * len(_SHOWN) * (len(columns) + 0.6))
        axes = figure.add_subplot()
        for place, (name, _, scale) in enumerate(reversed(_SHOWN)):
            for at, column in enumerate(columns):
                up = place + _APART * ((len(columns) - 1) / 2 - at)
                _dot(axes, up, getattr(column.evaluation, name), column.key, scale)
        for column in columns:
            colour, mark = _LOOKS[column.key]
            axes.plot((), (), color=colour, marker=mark, ls="", ms=6, label=column.title)
        axes.set_yticks(range(len(_SHOWN)), [label for _, label, _ in reversed(_SHOWN)])
        axes.set(ylim=(-0.55, len(_SHOWN) - 0.45), xlim=(-0.01, 1.17))
        shares_across(axes)
        figure.legend(
            loc="outside upper left", ncols=len(columns), handletextpad=0.1, columnspacing=1.0
        )
        svg = to_svg(figure, "beside")
    said = "; ".join(
        f"{' '.join(label.split())} "
        + ", ".join(
            f"{column.title.lower()} {_told(getattr(column.evaluation, name), scale)}"
            for column in columns
        )
        for name, label, scale in _SHOWN
    )
    return Drawing(
        "beside",
        "Inside and elsewhere",
        svg,
        "Bars are confidence intervals over patients. Accuracy depends on how frequent a class "
        "is, which differs from set to set; balanced accuracy and AUROC do not, but are means "
        "over the classes that the set holds: where a class is missing they are of other classes.",
        f"Figures side by side: {said}.",
    )


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
