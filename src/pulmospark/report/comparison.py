"""The page of a comparison: which network, at what cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pulmospark.core import files, formatting
from pulmospark.evaluation import registry
from pulmospark.evaluation.results import Figure
from pulmospark.report import numbers
from pulmospark.report.comparison_content import Comparison, ModelPair
from pulmospark.report.comparison_plot import cost
from pulmospark.report.page import fill


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write the page atomically.

    Raises:
        PlatformError: no space, or no right to write there.
    """
    files.write_text(path, render_comparison(comparison, datetime.now(UTC)))


def render_comparison(comparison: Comparison, made_at: datetime) -> str:
    """The comparison as one HTML document: no script, and nothing fetched from anywhere."""
    pairs = comparison.pairs
    return fill(
        "comparison.html.j2",
        comparison.phantoms,
        made_at,
        comparison=comparison,
        drawing=cost(comparison),
        metrics=registry.overall("comparison"),
        headline=headline(comparison),
        pairs=[_row(pair, comparison) for pair in pairs],
        sentence=pair_words(pairs[0], comparison) if len(pairs) == 1 else None,
        size=_megabytes,
    )


def headline(comparison: Comparison) -> str:
    """The most accurate network, and the others on the frontier."""
    best = comparison.models[0]
    names = [arm.title for arm in comparison.models if arm.frontier and arm is not best]
    apart = len({arm.model for arm in comparison.models}) == len(comparison.models)
    text = (
        f"{best.title} is the most accurate of {len(comparison.models)} "
        f"{'networks' if apart else 'training runs'} on the same "
        f"{numbers.count(comparison.images, 'phantom' if comparison.phantoms else 'image')}: "
        f"{numbers.shown_value(best.accuracy, 'percent')}, after "
        f"{formatting.duration(best.training_seconds)} of training."
    )
    if not names:
        return f"{text} None of the others trains in less time."
    return f"{text} Also on the frontier, with less training time: {', '.join(names)}."


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
    titles = {arm.name: arm.title for arm in comparison.models}
    compared = pair.compared
    value = compared.difference.value or 0.0
    turned = value < 0
    names, only = [pair.first, pair.second], [compared.only_first, compared.only_second]
    if turned:
        names.reverse()
        only.reverse()
    return PairRow(
        better=titles[names[0]],
        worse=titles[names[1]],
        points=f"{100 * abs(value):.1f}",
        interval=_ends(compared.difference, turned=turned),
        only_better=only[0],
        only_worse=only[1],
        p=_p(pair.adjusted_p).removeprefix("= "),
        clear=pair.adjusted_p < 1 - comparison.confidence,
    )


def pair_words(pair: ModelPair, comparison: Comparison) -> str:
    """The paired test of two networks in a sentence."""
    titles = {arm.name: arm.title for arm in comparison.models}
    compared = pair.compared
    points = (compared.difference.value or 0.0) * 100
    better, worse = (pair.first, pair.second) if points >= 0 else (pair.second, pair.first)
    clear = pair.adjusted_p < 1 - comparison.confidence
    ends = _ends(compared.difference, turned=points < 0)
    span = f" ({comparison.confidence * 100:g}{numbers.PERCENT} CI {ends})" if ends else ""
    return (
        f"The accuracy of {titles[better]} is {abs(points):.1f} percentage points above that of "
        f"{titles[worse]}{span}: {'' if clear else 'not '}statistically significant "
        f"(p {_p(pair.adjusted_p)})."
    )


def _ends(figure: Figure, *, turned: bool) -> str:
    if figure.low is None or figure.high is None:
        return ""
    low, high = (-figure.high, -figure.low) if turned else (figure.low, figure.high)
    return f"{low * 100:+.1f} to {high * 100:+.1f}".replace("-", numbers.MINUS)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
