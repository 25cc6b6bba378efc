"""Audits of what is known of films: each finds its fault, and is silent on clean films."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from benchmarks.audit_films import CLASSES, clean_subject, copies_of, no_copies

from pulmospark.audit import balance, exact_duplicates, near_duplicates, one_thing
from pulmospark.audit.results import AuditResult

FILMS = 600
KINDS = {kind.name: kind for kind in one_thing.KINDS}


def _told_by(name: str, **columns: Any) -> AuditResult:
    subject = clean_subject(FILMS, **columns)
    return one_thing.audit(subject, no_copies(FILMS).looks, KINDS[name])


@pytest.mark.parametrize("name", KINDS)
def test_what_does_not_tell_the_class_passes(name: str) -> None:
    found = _told_by(name)
    assert found.verdict == "pass", found.sentence
    assert found.figures[0].figure.low is not None


def _of_class(*values: object) -> list[object]:
    labels = clean_subject(FILMS).labels
    return [values[label] for label in labels]


@pytest.mark.parametrize(
    ("name", "column", "values"),
    [
        ("source", "source", ("a", "b", "c")),
        ("sex", "sex", ("M", "F", "M")),
        ("view", "view", ("AP", "PA", "PA")),
        ("format", "format", ("png", "jpeg", "jpeg")),
        ("age", "age", (60.0, 4.0, None)),
        ("size", "height", (512, 1024, 2048)),
        ("compression", "size_bytes", (10_000, 500_000, 100)),
    ],
)
def test_a_thing_that_tells_the_class_fails(
    name: str, column: str, values: tuple[object, ...]
) -> None:
    found = _told_by(name, **{column: _of_class(*values)})
    assert found.verdict == "fail", found.sentence
    assert found.remedy


def test_a_thing_that_is_unknown_is_left_open() -> None:
    assert _told_by("sex", sex=[None] * FILMS).verdict == "open"


def test_a_copy_across_the_split_fails_and_within_a_patient_does_not() -> None:
    subject = clean_subject(FILMS)
    split, groups = subject.column("split"), subject.groups
    tests, trains = np.flatnonzero(split == "test"), np.flatnonzero(split == "train")
    leaking = [tuple(sorted(pair)) for pair in zip(tests[:20].tolist(), trains.tolist())]  # noqa: B905
    found = near_duplicates.audit(subject, copies_of(FILMS, leaking))
    assert found.verdict == "fail"
    leak = found.figures[0].figure
    assert (leak.numerator, leak.denominator) == (20, tests.size)
    assert found.examples
    same = [(row, row + 1) for row in range(0, 40, 2)]
    assert all(groups[one] == groups[other] for one, other in same)
    assert near_duplicates.audit(subject, copies_of(FILMS, same)).verdict == "pass"


def test_copies_of_two_classes_are_a_conflict() -> None:
    subject = clean_subject(FILMS)
    labels = subject.labels
    odd = [(0, int(np.flatnonzero(labels != labels[0])[0]))]
    assert near_duplicates.conflicts(subject, copies_of(FILMS, odd)).verdict == "warn"
    alike = [(0, int(np.flatnonzero(labels == labels[0])[-1]))]
    assert near_duplicates.conflicts(subject, copies_of(FILMS, alike)).verdict == "pass"


def test_a_file_that_takes_part_twice_fails() -> None:
    subject = clean_subject(FILMS)
    assert exact_duplicates.audit(subject).verdict == "pass"
    ids = subject.column("image_id")
    ids[1] = ids[0]
    found = exact_duplicates.audit(clean_subject(FILMS, image_id=ids.tolist()))
    assert found.verdict == "fail"
    assert len(found.examples[0].films) == 2


def test_few_films_of_a_class_are_too_few_for_the_claim() -> None:
    assert balance.support(clean_subject(3000)).verdict == "pass"
    few = clean_subject(60)
    assert balance.support(few).verdict == "fail"


def test_children_in_one_class_only() -> None:
    assert balance.children(clean_subject(FILMS)).verdict == "pass"
    children = clean_subject(FILMS, age=_of_class(60.0, 4.0, 60.0))
    found = balance.children(children)
    assert found.verdict == "fail"
    assert CLASSES[1] in found.sentence
    without = balance.children(clean_subject(FILMS, age=_of_class(None, 4.0, None)))
    assert without.verdict == "open"


def test_a_source_of_children_alone_needs_no_ages() -> None:
    source = _of_class("nih14", "kermany", "nih14")
    found = balance.children(clean_subject(FILMS, source=source, age=_of_class(60.0, None, 50.0)))
    assert found.verdict == "fail"


def test_the_threshold_is_a_setting() -> None:
    subject = clean_subject(FILMS, sex=_of_class("M", "F", "M"))
    easy = subject.settings.model_copy(update={"thing_warn": 0.95, "thing_fail": 0.99})
    subject = replace(subject, settings=easy)
    found = one_thing.audit(subject, {}, KINDS["sex"])
    assert found.verdict == "pass"
