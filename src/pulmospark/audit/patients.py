"""Audit of patients: in more than one split, unknown, or under several ids."""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np

from pulmospark.audit.phrasing import named, percent
from pulmospark.audit.results import AuditResult, Example, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import Subject
from pulmospark.core import limits
from pulmospark.core.counts import counted
from pulmospark.evaluation.intervals import proportion

PATIENTS = ("patients", "Patients in both training and test set")
_REMEDIES = {"pass": "", "not assessable": "run `pulmospark split` first"}
_DIGITS = re.compile(r"0*(\d+)")
_UNKNOWN_SHARE = 0.5
_DISTINCTIVE_CHARS = 6
"""length from which an id shared by two sources is probably one patient: "12" is in all"""


def audit(subject: Subject) -> AuditResult:
    """Whether a patient may be in both training and test set.

    Reports patients with images in both (``split`` allows none, imported lists may); ids that
    differ only in case, punctuation or leading zeros, or that two sources share; and images of
    unknown patients.
    """
    ids = subject.column("patient_id")
    if np.unique(subject.patients).size < 2:
        return not_assessable(*PATIENTS, "all images belong to one patient")
    unknown = np.asarray([patient is None for patient in ids], np.bool_)
    both = _on_both_sides(subject, ids)
    alike = alike_ids({patient for patient in ids if patient is not None})
    figures = [
        NamedFigure(
            name="images of unknown patients",
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
    dealt = "they are split" if subject.has_split else "a split assigns them"
    notes = [
        "Overlap of patients is not assessable: there is no split." * (not subject.has_split),
        f"{counted(len(both), 'patient')} in both training and test set ({named(both)})."
        * bool(both),
        f"{counted(len(alike), 'group')} of ids may be the same patient "
        f"({named('/'.join(group) for group in alike)})." * bool(alike),
        f"The patient is unknown for {percent(figures[0].figure)} of the images: {dealt} "
        "individually." * bool(share),
    ]
    return AuditResult(
        name=PATIENTS[0],
        title=PATIENTS[1],
        verdict=verdict,
        sentence=" ".join(text for text in notes if text and not text.startswith("0 "))
        or "Every image's patient is known, and none is in both training and test set.",
        figures=tuple(figures),
        threshold="fails at the first patient in both; warns at ids that may be the same "
        f"patient, or where the patient of more than {_UNKNOWN_SHARE:.0%} of the images "
        f"is unknown",
        why="images of one patient are similar in all but the disease: a model that has seen one "
        "recognises the other",
        remedy=_REMEDIES.get(
            verdict, "add a patient column to the layout, unify ids, and split by patient"
        ),
        examples=_examples(subject, ids, alike),
    )


def alike_ids(ids: set[str]) -> list[tuple[str, ...]]:
    """Ids ("<source>:<id>") that may be the same patient; groups of two or more, sorted."""
    by_normalised: dict[str, set[str]] = defaultdict(set)
    for patient in ids:
        source, _, rest = patient.partition(":")
        plain = _DIGITS.sub(lambda match: match[1], re.sub(r"[\W_]+", "", rest.casefold()))
        by_normalised[f"{source}:{plain}"].add(patient)
        distinctive = re.search(r"\d", plain) and len(rest) >= _DISTINCTIVE_CHARS
        if distinctive and re.search(r"[a-z]", plain):
            by_normalised[plain].add(patient)
    groups = {tuple(sorted(group)) for group in by_normalised.values() if len(group) > 1}
    return sorted(groups)


def _on_both_sides(subject: Subject, ids: np.ndarray) -> list[str]:
    if not subject.has_split:
        return []
    parts: dict[str, set[str]] = defaultdict(set)
    for patient, part in zip(ids, subject.parts, strict=True):
        if patient is not None and part is not None:
            parts[patient].add("learnt" if part in {"train", "validation"} else part)
    return sorted(patient for patient, there in parts.items() if len(there) > 1)


def _examples(
    subject: Subject, ids: np.ndarray, alike: list[tuple[str, ...]]
) -> tuple[Example, ...]:
    return tuple(
        Example(
            caption=" / ".join(group),
            images=tuple(
                subject.image(int(np.flatnonzero(ids == patient)[0]))
                for patient in group[: limits.AUDIT_EXAMPLE_IMAGES_MAX]
            ),
        )
        for group in alike[: limits.AUDIT_EXAMPLES_MAX]
    )
