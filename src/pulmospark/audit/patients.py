"""Patients on both sides of a split, films without a patient, ids that look like one patient."""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np

from pulmospark.audit.results import AuditResult, Example, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import Subject
from pulmospark.audit.words import counted, named, percent
from pulmospark.core import limits
from pulmospark.evaluation.intervals import proportion

PATIENTS = ("patients", "Patients on both sides")
_REMEDIES = {"pass": "", "not assessable": "make a split: `pulmospark split`"}
_DIGITS = re.compile(r"0*(\d+)")
_UNKNOWN_SHARE = 0.5
_TELLING_CHARS = 6
"""characters from which the same id in two sources is likely to be one patient: "12" is in all"""


def audit(subject: Subject) -> AuditResult:
    """Whether a patient may stand on both sides of the split.

    Told are: patients with films on both sides (the split of this program parts none, lists from
    elsewhere do); ids that differ in case, marks or leading noughts alone, or that two sources
    share; and films whose patient is not known, which may be anyone's.
    """
    ids = subject.column("patient_id")
    if np.unique(subject.patients).size < 2:
        return not_assessable(*PATIENTS, "all images are of one patient")
    unknown = np.asarray([one is None for one in ids], np.bool_)
    both = _on_both_sides(subject, ids)
    alike = alike_ids({one for one in ids if one is not None})
    figures = [
        NamedFigure(
            name="films without a known patient",
            figure=proportion(unknown, None, subject.groups, subject.confidence),
        )
    ]
    share = float(unknown.mean())
    verdict: Verdict = "pass"
    if alike or share > _UNKNOWN_SHARE:
        verdict = "warn"
    if both:
        verdict = "fail"
    if verdict == "pass" and not subject.has_split:
        verdict = "not assessable"
    dealt = "they are split" if subject.has_split else "a split deals them out"
    told = [
        "Not assessable whether a patient is on both sides: there is no split."
        * (not subject.has_split),
        f"{counted(len(both), 'patient')} on both sides of the split ({named(both)})."
        * bool(both),
        f"{counted(len(alike), 'group')} of ids look like one patient "
        f"({named('/'.join(group) for group in alike)})." * bool(alike),
        f"The patient is not known for {percent(figures[0].figure)} of the films: {dealt} "
        "film by film." * bool(share),
    ]
    return AuditResult(
        name=PATIENTS[0],
        title=PATIENTS[1],
        verdict=verdict,
        sentence=" ".join(text for text in told if text and not text.startswith("0 "))
        or "Every film's patient is known, and none is on both sides.",
        figures=tuple(figures),
        threshold="fails at the first patient on both sides; warns at ids that look like one "
        f"patient, or where more than {_UNKNOWN_SHARE:.0%} of the films have no patient",
        why="films of one patient are alike in all but the disease: a model that has seen one "
        "knows the other",
        remedy=_REMEDIES.get(
            verdict, "give the layout a patient column, make ids the same, and split by patient"
        ),
        examples=_examples(subject, ids, alike),
    )


def alike_ids(ids: set[str]) -> list[tuple[str, ...]]:
    """Ids ("<source>:<id>") that look like one patient; groups of two or more, sorted."""
    found: dict[str, set[str]] = defaultdict(set)
    for one in ids:
        source, _, rest = one.partition(":")
        plain = _DIGITS.sub(lambda match: match[1], re.sub(r"[\W_]+", "", rest.casefold()))
        found[f"{source}:{plain}"].add(one)
        telling = re.search(r"\d", plain) and len(rest) >= _TELLING_CHARS
        if telling and re.search(r"[a-z]", plain):
            found[plain].add(one)
    groups = {tuple(sorted(group)) for group in found.values() if len(group) > 1}
    return sorted(groups)


def _on_both_sides(subject: Subject, ids: np.ndarray) -> list[str]:
    if not subject.has_split:
        return []
    parts: dict[str, set[str]] = defaultdict(set)
    for one, part in zip(ids, subject.parts, strict=True):
        if one is not None and part is not None:
            parts[one].add("learnt" if part in {"train", "validation"} else part)
    return sorted(one for one, there in parts.items() if len(there) > 1)


def _examples(
    subject: Subject, ids: np.ndarray, alike: list[tuple[str, ...]]
) -> tuple[Example, ...]:
    return tuple(
        Example(
            caption=" / ".join(group),
            films=tuple(
                subject.film(int(np.flatnonzero(ids == one)[0]))
                for one in group[: limits.AUDIT_EXAMPLE_FILMS_MAX]
            ),
        )
        for group in alike[: limits.AUDIT_EXAMPLES_MAX]
    )
