"""Who is in the classes: enough of each for the claim, and no class of children alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pulmospark.audit.results import AuditResult, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import PATIENTS_MIN, Subject
from pulmospark.audit.words import counted, named, percent
from pulmospark.core.arrays import Mask
from pulmospark.evaluation.intervals import expected_interval, proportion
from pulmospark.evaluation.results import Figure
from pulmospark.layouts.registry import LAYOUTS

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
        films = int(mine.sum())
        if not films:
            widths[name] = 1.0
            figures.append(NamedFigure(name=name, figure=Figure(value=None, note="no film")))
            continue
        low, high = expected_interval(_HOPED, groups[mine], subject.confidence)
        widths[name] = high - low
        figures.append(
            NamedFigure(
                name=f"{name}: 90 % found on {counted(films, 'film')} of "
                f"{counted(np.unique(patients[mine]).size, 'patient')}",
                figure=Figure(value=_HOPED, low=low, high=high, method="wilson"),
            )
        )
    if not widths:
        return not_assessable("support", "Enough films for the claim", "no film has a class")
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
        else f"more patients of {worst}"
        + ", or folds in place of a test part: `--set split.folds=5`" * (not subject.has_folds),
    )


def children(subject: Subject) -> AuditResult:
    """Whether children are in one class only: then age, bones and thorax tell it.

    Where ages are known they decide; else what the layout knows of its publisher's set. A class
    of which the ages of fewer than ten patients are known may be of children, or of none: then
    nobody can say that all is well.
    """
    title, years = "Children in one class only", subject.settings.child_years
    people, labels = _people(subject), subject.labels
    figures, share, ageless = [], {}, []
    for index in subject.common():
        name = subject.classes[index]
        among = people.known & (labels == index)
        figure = proportion(people.young, among, subject.groups, subject.confidence)
        figures.append(NamedFigure(name=f"{name}: children", figure=figure))
        if np.unique(subject.groups[among]).size < PATIENTS_MIN:
            ageless.append(name)
        else:
            share[name] = figure
    if len(share) < 2:
        why = f"in fewer than two classes the age of {PATIENTS_MIN} patients is known"
        return not_assessable("children", title, why, _AGES)
    most = max(share, key=lambda name: share[name].value or 0.0)
    least = min(share, key=lambda name: share[name].value or 0.0)
    high, low = share[most], share[least]
    parted = high.low is not None and low.high is not None and high.low > low.high
    gap = (high.value or 0.0) - (low.value or 0.0)
    verdict: Verdict = (
        "fail" if parted and gap > 0.5 else "warn" if parted and gap > 0.2 else "pass"
    )
    if verdict == "pass" and ageless:
        verdict = "not assessable"
    shares = (
        f"Children are {percent(high)} of the films of {most}, the class with most of them, "
        f"and {percent(low)} of {least}."
    )
    remedies = {"pass": "", "not assessable": _AGES}
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

    young: Mask
    known: Mask
    told: str
    none: str


def _people(subject: Subject) -> _People:
    ages, sources = subject.numbers("age"), subject.column("source")
    # Where no ingest tells the layouts a source goes by its name, which by default is theirs.
    layouts = [subject.layouts.get(one, one) for one in sources]
    published = _published(layouts, subject.column("finding").tolist())
    ageless = np.isnan(ages)
    by_layout = ageless & np.asarray([one is not None for one in published], np.bool_)
    of_children = by_layout & np.asarray([one is True for one in published], np.bool_)
    young = np.asarray((ages < subject.settings.child_years) | of_children, np.bool_)
    known = np.asarray(~ageless | by_layout, np.bool_)
    told = f"Ages are known of {int(known.sum()):,} of {known.size:,} films."
    if by_layout.any():
        named_so = all(one in subject.layouts for one in set(sources[by_layout]))
        told = f"It is known of {int(known.sum()):,} of {known.size:,} films, of "
        told += f"{int(by_layout.sum()):,} because their data set's publisher says that they are "
        told += f"of children ({int(of_children.sum()):,}) or of adults"
        told += "." if named_so else " (taken from its name, for no layout is told)."
    of_known = " whose age is known" * (not known.all())
    none = f"No child is among the films{of_known}." * (not young.any())
    return _People(young, known, told, none)


def _published(layouts: list[str], findings: list[str | None]) -> list[bool | None]:
    """Of each image whether it is of a child, as its layout says of all of its finding."""
    known = {layout.name: layout.paediatric for layout in LAYOUTS if layout.paediatric}
    told = [known.get(name, {}) for name in layouts]
    return [
        said.get("*") if finding is None else said.get(finding, said.get("*"))
        for said, finding in zip(told, findings, strict=True)
    ]


def _left_out(subject: Subject, ageless: list[str]) -> str:
    """Sentences on the classes that have no share: without an age, or of few patients."""
    common = subject.common()
    few = [name for kind, name in enumerate(subject.classes) if kind not in common]
    told = f" Ages are known of fewer than {PATIENTS_MIN} patients in {named(ageless)}."
    told *= bool(ageless)
    return told + f" Left out, with fewer than {PATIENTS_MIN} patients: {named(few)}." * bool(few)
