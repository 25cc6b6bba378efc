"""Who is in the classes: enough of each for the claim, and no class of children alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pulmospark.audit.results import AuditResult, NamedFigure, Verdict, left_open
from pulmospark.audit.subject import PATIENTS_MIN, Subject
from pulmospark.audit.words import counted, named, percent
from pulmospark.evaluation.intervals import effective_films, proportion, wilson
from pulmospark.evaluation.results import Figure

CHILD_LAYOUTS = frozenset({"kermany"})
"""layouts of data sets that hold children alone: Kermany's are one to five years old (Cell
2018)"""
_AGES = "give the layout an age column"
_HOPED = 0.9
"""sensitivity at which the width of an interval is foretold: what detectors claim"""


def support(subject: Subject) -> AuditResult:
    """Whether each class has enough tested patients for a figure of the stated precision.

    The interval that a sensitivity of 90 % would have on the class's tested films (all of its
    films, outside an experiment): it follows from who is tested, before any model is.
    """
    labels, groups, patients = subject.labels, subject.groups, subject.patients
    among = subject.tested if subject.has_split else np.ones(labels.size, bool)
    figures, widths = [], {}
    for index, name in enumerate(subject.classes):
        mine = among & (labels == index)
        films = np.bincount(groups[mine]).astype(np.float64)
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
                f"{counted(np.unique(patients[mine]).size, 'patient')}",
                figure=Figure(value=_HOPED, low=low, high=high, method="wilson"),
            )
        )
    if not widths:
        return left_open("support", "Enough films for the claim", "no film has a class")
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

    Where ages are known they decide; sources that hold children alone are known by their layout.
    A class of which no age is known may be of children, or of none: then it cannot be told that
    all is well.
    """
    title, years = "Children in one class only", subject.settings.child_years
    people, labels = _people(subject), subject.labels
    figures, share, ageless = [], {}, []
    for index in subject.common():
        name = subject.classes[index]
        among = people.known & (labels == index)
        figure = proportion(people.young, among, subject.groups, subject.confidence)
        figures.append(NamedFigure(name=f"{name}: children", figure=figure))
        if figure.value is None:
            ageless.append(name)
        else:
            share[name] = figure
    if len(share) < 2:
        why = f"ages are known in fewer than two classes of {PATIENTS_MIN} patients"
        return left_open("children", title, why, _AGES)
    most = max(share, key=lambda name: share[name].value or 0.0)
    least = min(share, key=lambda name: share[name].value or 0.0)
    high, low = share[most], share[least]
    parted = high.low is not None and low.high is not None and high.low > low.high
    gap = (high.value or 0.0) - (low.value or 0.0)
    verdict: Verdict = (
        "fail" if parted and gap > 0.5 else "warn" if parted and gap > 0.2 else "pass"
    )
    if verdict == "pass" and ageless:
        verdict = "open"
    shares = (
        f"Children are {percent(high)} of the films of {most}, the class with most of them, "
        f"and {percent(low)} of {least}."
    )
    remedies = {"pass": "", "open": _AGES}
    return AuditResult(
        name="children",
        title=title,
        verdict=verdict,
        sentence=f"{people.none or shares} {people.told}{_left_out(subject, ageless)}",
        figures=tuple(figures),
        threshold=f"below {years:g} years; warns where the shares of two classes differ by 20 "
        "points and their intervals part, fails at 50",
        why="a child's thorax is told from an adult's at a glance: where they are one class, a "
        "detector of children looks like a detector of disease",
        remedy=remedies.get(
            verdict, "give every class adults, or match ages: `--set split.balance=age`"
        ),
    )


@dataclass(frozen=True)
class _People:
    """Which films are of children, and how that is known.

    Attributes:
        young: bool (n,), of a child.
        known: bool (n,), whether it is known.
        told: a sentence on how many it is known of, and why.
        none: a sentence that there is no child; empty where there are.
    """

    young: npt.NDArray[np.bool_]
    known: npt.NDArray[np.bool_]
    told: str
    none: str


def _people(subject: Subject) -> _People:
    ages, sources = subject.numbers("age"), subject.column("source")
    # Where no ingest tells the layouts a source goes by its name, which by default is theirs.
    layouts = [subject.layouts.get(one, one) for one in sources]
    by_source = np.isnan(ages) & np.isin(layouts, list(CHILD_LAYOUTS))
    young = np.asarray((ages < subject.settings.child_years) | by_source, np.bool_)
    known = np.asarray(~np.isnan(ages) | by_source, np.bool_)
    told = f"Ages are known of {int(known.sum()):,} of {known.size:,} films."
    if by_source.any():
        named_so = all(one in subject.layouts for one in set(sources[by_source]))
        told = f"It is known of {int(known.sum()):,} of {known.size:,} films, of "
        told += f"{int(by_source.sum()):,} because their source holds children alone"
        told += "." if named_so else " (taken from its name, for no layout is told)."
    of_known = " whose age is known" * (not known.all())
    none = f"No child is among the films{of_known}." * (not young.any())
    return _People(young, known, told, none)


def _left_out(subject: Subject, ageless: list[str]) -> str:
    """Sentences on the classes that have no share: without an age, or of few patients."""
    common = subject.common()
    few = [name for kind, name in enumerate(subject.classes) if kind not in common]
    told = f" No age is known in {named(ageless)}." * bool(ageless)
    return told + f" Left out, with fewer than {PATIENTS_MIN} patients: {named(few)}." * bool(few)
