"""Audits of the classes: enough patients in each, and children not confined to one class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pulmospark.audit.phrasing import named, percent
from pulmospark.audit.results import AuditResult, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import PATIENTS_MIN, Subject
from pulmospark.core.arrays import Mask
from pulmospark.core.counts import counted
from pulmospark.evaluation.intervals import expected_interval, proportion
from pulmospark.evaluation.results import Figure
from pulmospark.layouts.registry import LAYOUTS

SUPPORT = ("support", "Sample size per class")
CHILDREN = ("children", "Children in one class only")
_AGES = "give the layout an age column"
_HOPED = 0.9
"""sensitivity for which the width of the CI is estimated: what published detectors claim"""


def support(subject: Subject) -> AuditResult:
    """Whether each class has enough test patients for the stated precision.

    Computes the CI that a sensitivity of 90 % would have on the test images of each class (on all
    of its images outside an experiment). It depends on the test set only, not on a model.
    """
    labels, groups, patients = subject.labels, subject.groups, subject.patients
    among = subject.tested if subject.has_split else np.ones(labels.size, bool)
    figures, widths = [], {}
    for index, name in enumerate(subject.classes):
        mine = among & (labels == index)
        images = int(mine.sum())
        if not images:
            widths[name] = 1.0
            figures.append(NamedFigure(name=name, figure=Figure(value=None, note="no image")))
            continue
        low, high = expected_interval(_HOPED, groups[mine], subject.confidence)
        widths[name] = high - low
        figures.append(
            NamedFigure(
                name=f"{name}: 90 % sensitivity on {counted(images, 'image')} of "
                f"{counted(np.unique(patients[mine]).size, 'patient')}",
                figure=Figure(value=_HOPED, low=low, high=high, method="wilson"),
            )
        )
    if not widths:
        return not_assessable(*SUPPORT, "no image has a label")
    limit = subject.settings.interval_width
    worst = max(widths, key=lambda name: widths[name])
    verdict: Verdict = "pass"
    if widths[worst] > limit:
        verdict = "fail" if widths[worst] > 2 * limit else "warn"
    return AuditResult(
        name=SUPPORT[0],
        title=SUPPORT[1],
        verdict=verdict,
        sentence=f"The widest CI is that of {worst}: for a sensitivity of 90 % it would span "
        f"{widths[worst] * 100:.0f} percentage points.",
        figures=tuple(figures),
        threshold=f"warns above {limit * 100:.0f} points, fails above {2 * limit * 100:.0f}",
        why="models differ by a few percentage points; a CI wider than ten cannot separate them, "
        "and one wider than twenty cannot even separate a good model from a poor one",
        remedy=""
        if verdict == "pass"
        else f"add patients of {worst}"
        + ", or cross-validate instead: `--set split.folds=5`" * (not subject.has_folds),
    )


def children(subject: Subject) -> AuditResult:
    """Whether children are confined to one class, so that body size predicts the label.

    Uses ages where they are known, otherwise what the layout states about the published data
    set. A class with fewer than ten patients of known age makes the audit not assessable.
    """
    years = subject.settings.child_years
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
        why = f"fewer than two classes have {PATIENTS_MIN} patients of known age"
        return not_assessable(*CHILDREN, why, _AGES)
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
        f"Children account for {percent(high)} of the images of {most}, the class with most, "
        f"and {percent(low)} of {least}."
    )
    remedies = {"pass": "", "not assessable": _AGES}
    return AuditResult(
        name=CHILDREN[0],
        title=CHILDREN[1],
        verdict=verdict,
        sentence=f"{people.none or shares} {people.coverage}{_excluded(subject, ageless)}",
        figures=tuple(figures),
        threshold=f"under {years:g} years; warns where the shares of two classes differ by more "
        "than 20 percentage points and their CIs do not overlap, fails above 50",
        why="a child's thorax is easy to distinguish from an adult's: where children make up one "
        "class, a detector of children looks like a detector of disease",
        remedy=remedies.get(
            verdict, "add adults to every class, or match ages: `--set split.balance=age`"
        ),
    )


@dataclass(frozen=True)
class _People:
    """Which images show children, and how that is known.

    Attributes:
        young: bool (n,), shows a child.
        known: bool (n,), whether the age group is known.
        coverage: a sentence on how many it is known for, and from what.
        none: a sentence that there are no children; empty where there are.
    """

    young: Mask
    known: Mask
    coverage: str
    none: str


def _people(subject: Subject) -> _People:
    ages, sources = subject.numbers("age"), subject.column("source")
    # Without an ingest record, the name of a source is taken for its layout: that is the default.
    layouts = [subject.layouts.get(source, source) for source in sources]
    published = _published(layouts, subject.column("finding").tolist())
    ageless = np.isnan(ages)
    by_layout = ageless & np.asarray([child is not None for child in published], np.bool_)
    of_children = by_layout & np.asarray([child is True for child in published], np.bool_)
    young = np.asarray((ages < subject.settings.child_years) | of_children, np.bool_)
    known = np.asarray(~ageless | by_layout, np.bool_)
    coverage = f"Ages are known for {int(known.sum()):,} of {known.size:,} images."
    if by_layout.any():
        named_so = all(source in subject.layouts for source in set(sources[by_layout]))
        coverage = (
            f"The age group is known for {int(known.sum()):,} of {known.size:,} images; for "
        )
        coverage += f"{int(by_layout.sum()):,} of them the publisher of the data set states "
        coverage += f"children ({int(of_children.sum()):,}) or adults"
        coverage += "." if named_so else " (inferred from its name: no layout is recorded)."
    of_known = " of known age" * (not known.all())
    none = f"There are no children among the images{of_known}." * (not young.any())
    return _People(young, known, coverage, none)


def _published(layouts: list[str], findings: list[str | None]) -> list[bool | None]:
    """Whether each image shows a child, as its layout states for its finding."""
    known = {layout.name: layout.paediatric for layout in LAYOUTS if layout.paediatric}
    stated = [known.get(name, {}) for name in layouts]
    return [
        by_finding.get("*") if finding is None else by_finding.get(finding, by_finding.get("*"))
        for by_finding, finding in zip(stated, findings, strict=True)
    ]


def _excluded(subject: Subject, ageless: list[str]) -> str:
    """Sentences on the classes without a share: no ages, or too few patients."""
    common = subject.common()
    few = [name for kind, name in enumerate(subject.classes) if kind not in common]
    note = f" Ages are known for fewer than {PATIENTS_MIN} patients in {named(ageless)}."
    note *= bool(ageless)
    return note + f" Excluded, with fewer than {PATIENTS_MIN} patients: {named(few)}." * bool(few)
