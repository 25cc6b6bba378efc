"""The page of a comparison: which network, at what cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pulmospark
from pulmospark.core import files
from pulmospark.evaluation.results import Figure
from pulmospark.report import words
from pulmospark.report.comparison_content import Comparison, ModelPair
from pulmospark.report.comparison_plot import cost
from pulmospark.report.page import environment
from pulmospark.report.phantom import say_phantoms
from pulmospark.report.text import clean_text

_TEMPLATE = "comparison.html.j2"


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
            pairs=[_row(pair, comparison) for pair in comparison.pairs],
            sentence=pair_words(comparison.pairs[0], comparison)
            if len(comparison.pairs) == 1
            else None,
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
    apart = len({one.model for one in comparison.models}) == len(comparison.models)
    text = (
        f"{best.title} is the most accurate of {len(comparison.models)} "
        f"{'networks' if apart else 'trainings'} on the same "
        f"{words.count(comparison.films, 'film')}: {_told(best.accuracy, 'percent')}, after "
        f"{words.duration(best.training_seconds)} of training."
    )
    if not names:
        return f"{text} None of the others trains in less time."
    return f"{text} On the frontier as well, with less training time: {', '.join(names)}."


@dataclass(frozen=True)
class PairRow:
    """Two arms as the table shows them, the better one first."""

    better: str
    worse: str
    points: str
    interval: str
    only_better: int
    only_worse: int
    p: str
    clear: bool


def _row(pair: ModelPair, comparison: Comparison) -> PairRow:
    titles = {one.name: one.title for one in comparison.models}
    told = pair.compared
    value = told.difference.value or 0.0
    turned = value < 0
    names, only = [pair.first, pair.second], [told.only_first, told.only_second]
    if turned:
        names.reverse()
        only.reverse()
    return PairRow(
        better=titles[names[0]],
        worse=titles[names[1]],
        points=f"{100 * abs(value):.1f}",
        interval=_ends(told.difference, turned=turned),
        only_better=only[0],
        only_worse=only[1],
        p=_p(pair.adjusted_p),
        clear=pair.adjusted_p < 1 - comparison.confidence,
    )


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


def _told(figure: Figure, scale: words.Scale) -> str:
    return "not defined" if figure.value is None else words.number(figure.value, scale)


def _span(figure: Figure, *, turned: bool) -> str:
    """The interval of a difference in points, told from the better one's side."""
    ends = _ends(figure, turned=turned)
    return f" ({ends})" if ends else ""


def _ends(figure: Figure, *, turned: bool) -> str:
    if figure.low is None or figure.high is None:
        return ""
    low, high = (-figure.high, -figure.low) if turned else (figure.low, figure.high)
    return f"{low * 100:+.1f} to {high * 100:+.1f}".replace("-", words.MINUS)


def _p(value: float) -> str:
    return "under 0.001" if value < 0.001 else f"{value:.3f}"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
