"""Plots of the shortcut checks: a forest plot of all, and histograms of those that matter."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, MultipleLocator, PercentFormatter

from pulmospark.audit.results import AuditResult, Distribution, Shortcut, Verdict
from pulmospark.core import limits
from pulmospark.report.audit_content import Audits
from pulmospark.report.numbers import PERCENT, count, interval, number
from pulmospark.report.svg import (
    COLOURS,
    DASHES,
    MUTED,
    Drawing,
    drawing,
    interval_row,
    label,
    tip,
)

_LOOKS: dict[Verdict, tuple[str, str]] = {
    "fail": (COLOURS[1], "D"),
    "warn": (COLOURS[4], "s"),
    "pass": (COLOURS[0], "o"),
    "not assessable": (MUTED, "o"),
}
"""colour and mark of each verdict, so that the plot can be read in grey"""


def audit_drawings(audits: Audits) -> list[Drawing]:
    """The forest plot of the shortcut checks, and a histogram for each that warns or fails."""
    checks = [audit.result for audit in audits.shown if audit.result.shortcut is not None]
    if not checks:
        return []
    return [
        _forest(checks),
        *(
            _histogram(check.name, check.shortcut)
            for check in checks
            if check.shortcut is not None and check.verdict in {"warn", "fail"}
        ),
    ]


def _forest(checks: list[AuditResult]) -> Drawing:
    shortcuts = [check.shortcut for check in checks if check.shortcut is not None]
    rows = sorted(
        zip(shortcuts, checks, strict=True), key=lambda row: row[1].figures[0].figure.value or 0.0
    )
    with drawing(5.4, 0.9 + 0.27 * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.axvline(0.5, color=MUTED, lw=0.8, ls=(0, (2, 3)))
        bounds = ((shortcuts[0].warn, "warn", "right"), (shortcuts[0].fail, "fail", "left"))
        for bound, verdict, side in bounds:
            axes.axvline(bound, color=MUTED, lw=1.0, ls=(0, (5, 2)))
            axes.annotate(
                f"{verdict} {bound:g}", (bound, 1.0), xycoords=("data", "axes fraction"),
                xytext=(0, 3), textcoords="offset points", ha=side, size=8, color=MUTED,
            )  # fmt: skip
        for place, (shortcut, check) in enumerate(rows):
            metric = check.figures[0].figure
            text = f"{number(metric.value or 0.0)} ({interval(metric)})  {check.verdict}"
            interval_row(axes, place, metric, _LOOKS[check.verdict], shortcut.feature, text=text)
        lows = [check.figures[0].figure.low or 0.0 for check in checks]
        axes.set(
            xlim=(min(0.45, *lows) - 0.01, 1.01), ylim=(-0.6, len(rows) - 0.4), xlabel="AUROC"
        )
        axes.set_yticks(range(len(rows)), [shortcut.feature for shortcut, _ in rows])
        axes.xaxis.set_major_locator(MultipleLocator(0.1))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=True, axis="x")
    details = "; ".join(
        f"{shortcut.feature} {number(check.figures[0].figure.value or 0.0)} "
        f"({interval(check.figures[0].figure)}), {check.verdict}"
        for shortcut, check in reversed(rows)
    )
    return Drawing(
        "shortcuts",
        "Label predictable from a single feature",
        figure,
        "AUROC, with CI, of a model that is given only this feature; 0.5 is chance. A check warns "
        "or fails where the lower bound of the CI lies above the dashed line.",
        f"AUROC of each shortcut check: {details}.",
    )


def _histogram(name: str, shortcut: Shortcut) -> Drawing:
    shown = shortcut.distribution
    with drawing(3.4, 2.3) as figure:
        axes = figure.add_subplot()
        for at in range(min(len(shown.classes), limits.REPORT_CURVES_MAX)):
            (_lines if shown.edges else _bars)(axes, shown, at)
        if not shown.edges:
            long = max(map(len, shown.values)) > 6 or len(shown.values) > 4
            names = [label(value) for value in shown.values]
            axes.set_xticks(
                range(len(names)), names, rotation=25 * long, ha="right" if long else "center"
            )
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=PERCENT))
        axes.set(ylabel="Images of the class", ylim=(0, None))
        axes.legend(loc="best", fontsize=7.5, handlelength=1.8)
    return Drawing(
        f"{name}-histogram",
        f"{shortcut.feature[:1].upper()}{shortcut.feature[1:]} by class",
        figure,
        _unknown(shown),
        f"{shortcut.feature} by class. {_words(shown)}",
    )


def _lines(axes: Axes, shown: Distribution, at: int) -> None:
    """The shares of a class in the bins of a number, as steps."""
    name, shares = label(shown.classes[at]), _shares(shown, at)
    (line,) = axes.step(
        shown.edges, [*shares, shares[-1]], where="post", lw=1.5, ls=DASHES[at],
        color=COLOURS[at], label=name,
    )  # fmt: skip
    tip(line, f"{name}: {count(sum(shown.counts[at]), 'image')}")


def _bars(axes: Axes, shown: Distribution, at: int) -> None:
    """The shares of a class in named values, next to the bars of the other classes."""
    drawn = min(len(shown.classes), limits.REPORT_CURVES_MAX)
    name, width = label(shown.classes[at]), 0.8 / drawn
    places = [place + (at - (drawn - 1) / 2) * width for place in range(len(shown.values))]
    shares = _shares(shown, at)
    bars = axes.bar(places, shares, width * 0.92, color=COLOURS[at], label=name)
    for bar, value, share in zip(bars, shown.values, shares, strict=True):
        tip(bar, f"{name}, {label(value)}: {number(share, 'percent')}")


def _shares(shown: Distribution, at: int) -> list[float]:
    total = sum(shown.counts[at])
    return [images / total if total else 0.0 for images in shown.counts[at]]


def _unknown(shown: Distribution) -> str:
    """How many images have no value, where some have none."""
    if not any(shown.unknown):
        return ""
    each = ", ".join(
        f"{n:,} of {name}" for name, n in zip(shown.classes, shown.unknown, strict=True) if n
    )
    return f"Not known of {each}."


def _words(shown: Distribution) -> str:
    """The most frequent value or bin of each class."""
    bins = shown.values or tuple(
        f"{low:.3g} to {high:.3g}" for low, high in zip(shown.edges, shown.edges[1:], strict=False)
    )
    return " ".join(
        f"{name}: most often {bins[max(range(len(bins)), key=row.__getitem__)]}."
        for name, row in zip(shown.classes, shown.counts, strict=True)
        if sum(row)
    )
