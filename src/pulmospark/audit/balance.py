"""Who is in the classes: enough of each for the claim, and no class of children alone."""

from __future__ import annotations

import numpy as np

from pulmospark.audit.results import AuditResult, NamedFigure, Verdict
from pulmospark.audit.subject import Subject
from pulmospark.audit.words import counted, named, percent
from pulmospark.evaluation.intervals import effective_films, proportion, wilson
from pulmospark.evaluation.results import Figure

_HOPED = 0.9
"""sensitivity at which the width of an interval is foretold: what detectors claim"""


def support(subject: Subject) -> AuditResult:
    """Whether each class has enough tested patients for a figure of the stated precision.

    The interval that a sensitivity of 90 % would have on the class's tested films (all of its
    films, outside an experiment): it follows from who is tested, before any model is.
    """
    labels, groups = subject.labels, subject.groups
    among = subject.tested if subject.has_split else np.ones(labels.size, bool)
    figures, widths = [], {}
    for index, name in enumerate(subject.classes):
        mine = groups[among & (labels == index)]
        films = np.bincount(mine).astype(np.float64)
        films = films[films > 0]
        if not films.size:
            widths[name] = 1.0
            figures.append(NamedFigure(name=name, figure=Figure(value=None, note="no film")))
            continue
        # Which film of a patient is missed is not known yet: a patient's films count as one.
        worth = effective_films(films, films)
        low, high = wilson(_HOPED, worth, subject.confidence)
        widths[name] = high - low
        figures.append(
            NamedFigure(
                name=f"{name}: 90 % found on {counted(int(films.sum()), 'film')} of "
                f"{counted(films.size, 'patient')}",
                figure=Figure(value=_HOPED, low=low, high=high, method="wilson"),
            )
        )
    if not widths:
        return _open("support", "Enough films for the claim", "no film has a class")
    limit = subject.settings.interval_width
    worst = max(widths, key=lambda name: widths[name])
    verdict: Verdict = "pass"
    if widths[worst] > limit:
        verdict = "fail" if widths[worst] > 2 * limit else "warn"
    return AuditResult(
        name="support",
        title="Enough films for the claim",
        verdict=verdict,
        sentence=f"The least certain class is {worst}: a sensitivity of 90 % on it would have an "
        f"interval {widths[worst] * 100:.0f} points wide.",
        figures=tuple(figures),
        threshold=f"warns above {limit * 100:.0f} points, fails above {2 * limit * 100:.0f}",
        why="models are ranked by differences of a few points; an interval wider than ten cannot "
        "tell them apart, one wider than twenty not even a good model from a poor one",
        remedy=""
        if verdict == "pass"
        else f"more patients of {worst}, or folds in place of a test part: `--set split.folds=5`",
    )


def children(subject: Subject) -> AuditResult:
    """Whether children are in one class only: then age, bones and thorax tell it.

    Where ages are known they decide. Where a class's ages are not known at all and another's
    are, it cannot be told; sources that hold children alone are known by their layout.
    """
    title, years = "Children in one class only", subject.settings.child_years
    labels, ages = subject.labels, subject.numbers("age")
    young = ages < years
    by_source = np.isnan(ages) & np.isin(subject.column("source"), list(CHILD_SOURCES))
    young |= by_source
    known = ~np.isnan(ages) | young
    figures, share = [], {}
    for index in subject.common():
        name = subject.classes[index]
        among = known & (labels == index)
        figure = proportion(young, among, subject.groups, subject.confidence)
        figures.append(NamedFigure(name=f"{name}: children", figure=figure))
        if figure.value is not None:
            share[name] = figure
    if len(share) < 2:
        return _open("children", title, "ages are known in fewer than two classes")
    most = max(share, key=lambda name: share[name].value or 0.0)
    least = min(share, key=lambda name: share[name].value or 0.0)
    high, low = share[most], share[least]
    parted = (high.low or 0.0) > (low.high or 1.0)
    gap = (high.value or 0.0) - (low.value or 0.0)
    verdict: Verdict = (
        "fail" if parted and gap > 0.5 else "warn" if parted and gap > 0.2 else "pass"
    )
    missing = [name for name in subject.classes if name not in share]
    shares = f"Children are {percent(high)} of the films of {most}, the class with most of them, "
    shares += f"and {percent(low)} of {least}."
    if not young.any():
        shares = "No child is among the films."
    told = f"It is known of {int(known.sum()):,} of {known.size:,} films"
    told += f", of {int(by_source.sum()):,} because their source holds children alone."
    if not by_source.any():
        told = f"Ages are known of {int(known.sum()):,} of {known.size:,} films."
    return AuditResult(
        name="children",
        title=title,
        verdict=verdict,
        sentence=f"{shares} {told}" + f" No age is known in {named(missing)}." * bool(missing),
        figures=tuple(figures),
        threshold=f"below {years:g} years; warns where the shares of two classes differ by 20 "
        "points and their intervals part, fails at 50",
        why="a child's thorax is told from an adult's at a glance: where they are one class, a "
        "detector of children looks like a detector of disease",
        remedy=""
        if verdict == "pass"
        else "give every class adults, or match ages: `--set split.balance=age`",
    )


CHILD_SOURCES = frozenset({"kermany"})
"""data sets that hold children alone: Kermany's are one to five years old (Cell 2018)"""


def _open(name: str, title: str, why: str) -> AuditResult:
    return AuditResult(name=name, title=title, verdict="open", sentence=f"Not told: {why}.")
