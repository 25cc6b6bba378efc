"""The page of a comparison: which network, at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matplotlib.ticker import FuncFormatter, PercentFormatter

import pulmospark
from pulmospark.core import files
from pulmospark.evaluation.results import Figure
from pulmospark.report import words
from pulmospark.report.comparison_content import Comparison, ModelFigures, ModelPair
from pulmospark.report.page import environment
from pulmospark.report.phantom import say_phantoms
from pulmospark.report.svg import (
    COLOURS,
    MUTED,
    Drawing,
    drawing,
    label,
    new_figure,
    to_svg,
)
from pulmospark.report.text import clean_text

_TEMPLATE = "comparison.html.j2"
_AREA_LEAST, _AREA_MOST = 30.0, 420.0
"""of a network's dot, square points"""


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write the page; the file appears whole or not at all.

    Raises:
        EnvironmentProblem: no space, or no right to write there.
    """
    files.write_text(path, render_comparison(comparison, datetime.now(UTC)))


def render_comparison(comparison: Comparison, made_at: datetime) -> str:
    """The comparison as one HTML document: no script, and nothing fetched from anywhere."""
    page = (
        environment()
        .get_template(_TEMPLATE)
        .render(
            comparison=comparison,
            content={"title": "Networks compared", "is_phantom": comparison.phantoms},
            drawing=cost(comparison),
            headline=headline(comparison),
            sentences=[pair_words(pair, comparison) for pair in comparison.pairs],
            notice=pulmospark.NOT_A_MEDICAL_DEVICE,
            version=pulmospark.__version__,
            made_at=made_at,
            told=_told,
            interval=lambda figure, scale: words.interval(figure, scale) or words.DASH,
            duration=words.duration,
            size=_bytes,
        )
    )
    if comparison.phantoms:
        page = say_phantoms(page)
    cleaned: str = clean_text(page)
    return cleaned


def headline(comparison: Comparison) -> str:
    """Who is the most accurate, and who else no other network beats."""
    best = comparison.models[0]
    names = [one.title for one in comparison.models if one.frontier and one is not best]
    text = (
        f"{best.title} is the most accurate of {len(comparison.models)} networks on the same "
        f"{words.count(comparison.films, 'film')}: {_told(best.accuracy, 'percent')}, after "
        f"{words.duration(best.training_seconds)} of training."
    )
    if not names:
        return f"{text} None of the others trains in less time."
    return f"{text} On the frontier as well, with less training time: {', '.join(names)}."


def pair_words(pair: ModelPair, comparison: Comparison) -> str:
    """What the paired test of two networks says."""
    titles = {one.name: one.title for one in comparison.models}
    compared = pair.compared
    points = (compared.difference.value or 0.0) * 100
    better, worse = (pair.first, pair.second) if points >= 0 else (pair.second, pair.first)
    clear = pair.adjusted_p < 1 - comparison.confidence
    verdict = "more than chance would do" if clear else "no more than chance could do"
    return (
        f"{titles[better]} names {abs(points):.1f} points more films rightly than "
        f"{titles[worse]}{_span(compared.difference, turned=points < 0)}: {verdict} "
        f"(p {_p(pair.adjusted_p)})."
    )


def cost(comparison: Comparison) -> Drawing:
    """Accuracy against training time; a dot's area tells the parameters."""
    models = comparison.models
    most = max(one.parameters for one in models)
    with drawing():
        figure = new_figure(7.0, 4.0)
        axes = figure.add_subplot()
        for one in models:
            _dot(axes, one, _AREA_LEAST + (_AREA_MOST - _AREA_LEAST) * one.parameters / most)
        _join(axes, [one for one in models if one.frontier])
        axes.set_xscale("log")
        times = [one.training_seconds for one in models]
        axes.set_xlim(min(times) / 1.6, max(times) * 2.6)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.duration(value)))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set(xlabel="Training time", ylabel="Accuracy")
        axes.grid(visible=True)
        svg = to_svg(figure, "cost")
    said = "; ".join(
        f"{one.title} {_told(one.accuracy, 'percent')} in {words.duration(one.training_seconds)}"
        for one in models
    )
    return Drawing(
        "cost",
        "Accuracy and training time",
        svg,
        f"Bars are {comparison.confidence * 100:g}% intervals; the area of a dot tells the "
        "parameters; the line joins the networks that no other beats in both. Whether two "
        "networks differ is told by the paired tests below, not by whether their bars meet.",
        f"Accuracy against training time: {said}.",
    )


def _dot(axes: Any, one: ModelFigures, area: float) -> None:
    if one.accuracy.value is None:
        return
    colour = COLOURS[0] if one.frontier else MUTED
    if one.accuracy.low is not None and one.accuracy.high is not None:
        span = (one.accuracy.low, one.accuracy.high)
        axes.plot((one.training_seconds,) * 2, span, color=colour, lw=1.6, alpha=0.6)
    axes.scatter(one.training_seconds, one.accuracy.value, s=area, color=colour, alpha=0.85)
    axes.annotate(
        label(one.title),
        (one.training_seconds, one.accuracy.value),
        xytext=(11, 3),
        textcoords="offset points",
        fontsize=8.5,
    )


def _join(axes: Any, frontier: Sequence[ModelFigures]) -> None:
    points = sorted((one.training_seconds, one.accuracy.value or 0.0) for one in frontier)
    axes.plot([x for x, _ in points], [y for _, y in points], color=COLOURS[0], lw=0.9, ls=":")


def _told(figure: Figure, scale: words.Scale) -> str:
    return "not defined" if figure.value is None else words.number(figure.value, scale)


def _span(figure: Figure, *, turned: bool) -> str:
    """The interval of a difference in points, told from the better one's side."""
    if figure.low is None or figure.high is None:
        return ""
    low, high = (-figure.high, -figure.low) if turned else (figure.low, figure.high)
    return f" ({low * 100:+.1f} to {high * 100:+.1f})".replace("-", words.MINUS)


def _p(value: float) -> str:
    return "under 0.001" if value < 0.001 else f"{value:.3f}"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
