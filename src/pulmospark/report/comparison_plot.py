"""The plot of a comparison: accuracy against training time, and who lies on the frontier."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter
from matplotlib.transforms import Bbox

from pulmospark.core.formatting import duration
from pulmospark.report.comparison_content import Comparison, ModelFigures
from pulmospark.report.numbers import PERCENT, number
from pulmospark.report.svg import COLOURS, MUTED, Drawing, drawing, label, tip

_AREA_LEAST, _AREA_MOST = 30.0, 420.0
"""of a network's dot, square points"""
_TIMES = (
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0),
    *(60.0 * minutes for minutes in (1, 2, 5, 10, 20, 30)),
    *(3600.0 * hours for hours in (1, 2, 5, 10, 24, 48, 120, 240)),
)
"""times that a person counts in, seconds"""
_TICKS_MOST = 7
_SPREAD_LEAST = 0.01
"""of the accuracies that are shown: a smaller one would make a picture of chance"""
_PLACES = tuple(
    (side, up)
    for distance in (1, 2, 3)
    for side in ("left", "right")
    for up in (0, 9 * distance, -9 * distance)
)
"""where a label may stand: its side that touches the dot, and points above it"""


def cost(comparison: Comparison) -> Drawing:
    """Accuracy against training time; the area of a dot shows the parameters."""
    models = [arm for arm in comparison.models if arm.accuracy.value is not None]
    most = max((arm.parameters for arm in models), default=1)
    with drawing(7.0, 4.2) as figure:
        axes = figure.add_subplot()
        _scales(axes, models)
        frontier = sorted(_point(arm) for arm in models if arm.frontier)
        if frontier:
            axes.plot(*zip(*frontier, strict=True), color=COLOURS[0], lw=0.9, ls=":")
        radii = []
        for arm in models:
            area = _AREA_LEAST + (_AREA_MOST - _AREA_LEAST) * arm.parameters / most
            _dot(axes, arm, area)
            radii.append(np.sqrt(area / np.pi))
        _label(figure, axes, models, radii, frontier)
    details = "; ".join(
        f"{arm.title} {number(arm.accuracy.value or 0.0, 'percent')} in "
        f"{duration(arm.training_seconds)}"
        for arm in models
    )
    return Drawing(
        "cost",
        "Accuracy and training time",
        figure,
        f"Bars: {comparison.confidence * 100:g}\N{NO-BREAK SPACE}% CIs; area of a dot: its "
        "parameters; dotted line: the frontier, which no other network beats in both. Whether "
        "two differ is shown by the paired tests below, not by whether their bars overlap.",
        f"Accuracy against training time: {details}.",
    )


def time_ticks(low: float, high: float) -> list[float]:
    """Round times between two, seconds: seven at most, evenly thinned."""
    inside = [time for time in _TIMES if low <= time <= high]
    step = -(-len(inside) // _TICKS_MOST) or 1
    return inside[::step]


def short_time(seconds: float) -> str:
    """A round time in the fewest characters: ``30 s``, ``5 min``, ``2 h``."""
    if seconds < 60:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 3600 else f"{seconds / 3600:g} h"


def _scales(axes: Any, models: Sequence[ModelFigures]) -> None:
    times = [arm.training_seconds for arm in models] or [1.0]
    low, high = min(times) / 1.8, max(times) * 1.8
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    if len(ticks := time_ticks(low, high)) > 1:
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_time(value)))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    ends = [
        value
        for arm in models
        for value in (arm.accuracy.value, arm.accuracy.low, arm.accuracy.high)
        if value is not None
    ]
    least, most = (min(ends), max(ends)) if ends else (0.0, 1.0)
    room = 0.06 * max(most - least, _SPREAD_LEAST)
    axes.set_ylim(max(least - room, 0.0), min(most + room, 1.0 + room))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None, symbol=PERCENT))
    axes.set(xlabel="Training time", ylabel="Accuracy")
    axes.grid(visible=True)


def _point(arm: ModelFigures) -> tuple[float, float]:
    return arm.training_seconds, arm.accuracy.value or 0.0


def _dot(axes: Any, arm: ModelFigures, area: float) -> None:
    colour = COLOURS[0] if arm.frontier else MUTED
    time, accuracy = _point(arm)
    if arm.accuracy.low is not None and arm.accuracy.high is not None:
        span = (arm.accuracy.low, arm.accuracy.high)
        axes.plot((time, time), span, color=colour, lw=1.6, alpha=0.6)
    dot = axes.scatter(time, accuracy, s=area, color=colour, alpha=0.85)
    details = f"{number(accuracy, 'percent')}, {duration(time)}, {arm.parameters:,} parameters"
    tip(dot, f"{label(arm.title)}: {details}")


def _label(
    figure: Any,
    axes: Any,
    models: Sequence[ModelFigures],
    radii: Sequence[float],
    frontier: Sequence[tuple[float, float]],
) -> None:
    """Write the names where they cover the least of dots, bars, the line and each other."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    renderer = canvas.get_renderer()
    pixel = figure.dpi / 72
    taken = _taken(axes, models, [radius * pixel for radius in radii], frontier)
    inside = axes.get_window_extent(renderer)
    for arm, radius in zip(models, radii, strict=True):
        best: tuple[float, Any, Bbox] | None = None
        for side, up in _PLACES:
            text = axes.annotate(
                _name(arm),
                _point(arm),
                xytext=((radius + 4) * (1 if side == "left" else -1), up),
                textcoords="offset points",
                ha=side,
                va="center",
                fontsize=8.5,
                linespacing=1.1,
            )
            box = text.get_window_extent(renderer)
            covered = sum(_overlap(box, other) for other in taken) + 10 * _outside(box, inside)
            if best is None or covered < best[0]:
                if best is not None:
                    best[1].remove()
                best = (covered, text, box)
            else:
                text.remove()
        if best is not None:
            taken.append(best[2])


def _taken(
    axes: Any,
    models: Sequence[ModelFigures],
    radii: Sequence[float],
    frontier: Sequence[tuple[float, float]],
) -> list[Bbox]:
    """What is drawn already, in pixels."""
    boxes = []
    for arm, radius in zip(models, radii, strict=True):
        time, value = _point(arm)
        x, y = axes.transData.transform((time, value))
        boxes.append(Bbox.from_extents(x - radius, y - radius, x + radius, y + radius))
        if arm.accuracy.low is not None and arm.accuracy.high is not None:
            ends = axes.transData.transform([(time, arm.accuracy.low), (time, arm.accuracy.high)])
            boxes.append(Bbox.from_extents(x - 2, ends[0][1], x + 2, ends[1][1]))
    along = [axes.transData.transform(point) for point in frontier]
    for start, end in itertools.pairwise(along):
        for share in np.linspace(0, 1, 24):
            x, y = start + share * (end - start)
            boxes.append(Bbox.from_extents(x - 3, y - 2, x + 3, y + 2))
    return boxes


def _name(arm: ModelFigures) -> str:
    """The title, in two lines where it says how the network was trained."""
    network = arm.title.removesuffix(f" ({arm.how})")
    return label(network) if network == arm.title else f"{label(network)}\n{arm.how}"


def _overlap(box: Bbox, other: Bbox) -> float:
    width = min(box.x1, other.x1) - max(box.x0, other.x0)
    height = min(box.y1, other.y1) - max(box.y0, other.y0)
    return float(max(width, 0.0) * max(height, 0.0))


def _outside(box: Bbox, inside: Bbox) -> float:
    return float(box.width * box.height - _overlap(box, inside))
