"""Audits of what is known of images: each finds its fault, and is silent on clean images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from benchmarks.audit_images import CLASSES, clean_subject, copies_of, no_copies

from pulmospark.audit import (
    augmented_copies,
    class_balance,
    exact_duplicates,
    near_duplicates,
    patients,
    single_feature,
)
from pulmospark.audit.registry import AUDITS
from pulmospark.audit.results import AuditResult
from pulmospark.audit.run import run_audits
from pulmospark.audit.subject import ModelLeftOut

IMAGES = 600
KINDS = {kind.name: kind for kind in single_feature.KINDS}


def _told_by(name: str, **columns: Any) -> AuditResult:
    subject = clean_subject(IMAGES, **columns)
    return single_feature.audit(subject, no_copies(IMAGES).looks, KINDS[name])


@pytest.mark.parametrize("name", KINDS)
def test_what_does_not_tell_the_class_passes(name: str) -> None:
    found = _told_by(name)
    assert found.verdict == "pass", found.sentence
    assert found.figures[0].figure.low is not None


def _of_class(*values: object) -> list[object]:
    labels = clean_subject(IMAGES).labels
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


def test_a_thing_that_is_unknown_is_not_assessable() -> None:
    assert _told_by("sex", sex=[None] * IMAGES).verdict == "not assessable"


def test_a_copy_across_the_split_fails_and_within_a_patient_does_not() -> None:
    subject = clean_subject(IMAGES)
    split, groups = subject.column("split"), subject.groups
    tests, trains = np.flatnonzero(split == "test"), np.flatnonzero(split == "train")
    leaking = [tuple(sorted(pair)) for pair in zip(tests[:20].tolist(), trains.tolist())]  # noqa: B905
    found = near_duplicates.audit(subject, copies_of(IMAGES, leaking))
    assert found.verdict == "fail"
    leak = found.figures[0].figure
    assert (leak.numerator, leak.denominator) == (20, tests.size)
    assert found.examples
    same = [(row, row + 1) for row in range(0, 40, 2)]
    assert all(groups[one] == groups[other] for one, other in same)
    assert near_duplicates.audit(subject, copies_of(IMAGES, same)).verdict == "pass"


def test_copies_of_two_classes_are_a_conflict() -> None:
    subject = clean_subject(IMAGES)
    labels = subject.labels
    odd = [(0, int(np.flatnonzero(labels != labels[0])[0]))]
    assert near_duplicates.conflicts(subject, copies_of(IMAGES, odd)).verdict == "warn"
    alike = [(0, int(np.flatnonzero(labels == labels[0])[-1]))]
    assert near_duplicates.conflicts(subject, copies_of(IMAGES, alike)).verdict == "pass"


def test_the_pairs_that_are_most_alike_are_shown_first() -> None:
    subject = clean_subject(IMAGES)
    labels = subject.labels
    others = np.flatnonzero(labels != labels[0])
    firsts = np.flatnonzero(labels == labels[0])
    odd = [(int(firsts[n]), int(others[n])) for n in range(3)]
    copies = copies_of(IMAGES, [(min(pair), max(pair)) for pair in odd])
    # Two rounds: whatever else puts one pair before another, being more alike does so too.
    for alike in ([0.99, 0.95, 0.91], [0.91, 0.95, 0.99]):
        found = replace(copies, correlation=np.asarray(alike))
        shown = near_duplicates.conflicts(subject, found).examples
        leaks = subject.leaks(copies.first, copies.second)
        across = subject.column("source")[copies.first] != subject.column("source")[copies.second]
        ranked = sorted(zip(~leaks, ~across, -np.asarray(alike), strict=True))
        assert [each.caption for each in shown] == [f"correlation {-c:.3f}" for *_, c in ranked]


def test_a_file_that_takes_part_twice_fails() -> None:
    subject = clean_subject(IMAGES)
    assert exact_duplicates.audit(subject).verdict == "pass"
    ids = subject.column("image_id")
    ids[1] = ids[0]
    found = exact_duplicates.audit(clean_subject(IMAGES, image_id=ids.tolist()))
    assert found.verdict == "fail"
    assert len(found.examples[0].images) == 2


def test_few_images_of_a_class_are_too_few_for_the_claim() -> None:
    assert class_balance.support(clean_subject(3000)).verdict == "pass"
    few = clean_subject(60)
    assert class_balance.support(few).verdict == "fail"


def test_children_in_one_class_only() -> None:
    assert class_balance.children(clean_subject(IMAGES)).verdict == "pass"
    children = clean_subject(IMAGES, age=_of_class(60.0, 4.0, 60.0))
    found = class_balance.children(children)
    assert found.verdict == "fail"
    assert CLASSES[1] in found.sentence
    without = class_balance.children(clean_subject(IMAGES, age=_of_class(None, 4.0, None)))
    assert without.verdict == "not assessable"


def test_a_source_of_children_alone_needs_no_ages() -> None:
    source = _of_class("nih14", "kermany", "nih14")
    subject = clean_subject(IMAGES, source=source, age=_of_class(60.0, None, 50.0))
    found = class_balance.children(subject)
    assert found.verdict == "fail"
    assert "inferred from its name" in found.sentence
    # An ingest tells what the sources are laid out as, whatever they are called.
    told = replace(subject, layouts={"nih14": "kermany", "kermany": "csv"})
    assert class_balance.children(told).verdict == "not assessable"
    source = _of_class("nih14", "ward", "nih14")
    ward = clean_subject(IMAGES, source=source, age=_of_class(60.0, None, 50.0))
    assert class_balance.children(ward).verdict == "not assessable"
    found = class_balance.children(replace(ward, layouts={"nih14": "nih14", "ward": "kermany"}))
    assert found.verdict == "fail"
    assert "its name" not in found.sentence


def test_a_class_without_any_age_leaves_children_open() -> None:
    found = class_balance.children(clean_subject(IMAGES, age=_of_class(60.0, None, 50.0)))
    assert found.verdict == "not assessable"
    assert f"Ages are known for fewer than 10 patients in {CLASSES[1]}." in found.sentence
    assert "There are no children among the images of known age." in found.sentence
    assert found.remedy
    # Of the others it can be told all the same.
    found = class_balance.children(clean_subject(IMAGES, age=_of_class(60.0, None, 4.0)))
    assert found.verdict == "fail"


def test_a_class_of_few_patients_is_not_said_to_have_no_age() -> None:
    labels = [CLASSES[2] if n < 6 else CLASSES[n // 2 % 2] for n in range(IMAGES)]
    found = class_balance.children(clean_subject(IMAGES, label=labels))
    assert found.verdict == "pass"
    assert "fewer than 10 patients in" not in found.sentence
    assert f"fewer than 10 patients: {CLASSES[2]}" in found.sentence
    assert "There are no children among the images." in found.sentence


def test_what_needs_a_split_is_open_without_one() -> None:
    subject = clean_subject(IMAGES)
    assert patients.audit(subject).verdict == augmented_copies.audit(subject).verdict == "pass"
    bare = clean_subject(IMAGES, split=pa.nulls(IMAGES, pa.string()))
    for found in (patients.audit(bare), augmented_copies.audit(bare)):
        assert found.verdict == "not assessable"
        assert "there is no split" in found.sentence
    # What does not need one is found all the same.
    ids = [f"alder:P-{n // 2:05d}" for n in range(IMAGES - 2)] + ["alder:p00000"] * 2
    bare = clean_subject(IMAGES, split=pa.nulls(IMAGES, pa.string()), patient_id=ids)
    assert patients.audit(bare).verdict == "warn"


def test_copies_that_the_split_keeps_together_are_told_across_patients_and_pass() -> None:
    subject = clean_subject(IMAGES)
    groups = subject.column("group_id").tolist()
    trains = np.flatnonzero(subject.column("split") == "train")
    first, second = int(trains[0]), int(trains[-1])
    pair = copies_of(IMAGES, [(first, second)])
    assert near_duplicates.audit(subject, pair).verdict == "warn"
    joined = [groups[first] if one == groups[second] else one for one in groups]
    found = near_duplicates.audit(clean_subject(IMAGES, group_id=joined), pair)
    assert found.verdict == "pass"
    assert "1 across patients, 1 of these kept in the same split." in found.sentence
    copied = next(f.figure for f in found.figures if "another patient" in f.name)
    assert copied.numerator == 2


def test_support_counts_patients_and_draws_groups() -> None:
    groups = [f"alder:{n // 4}" for n in range(IMAGES)]
    split = ["test"] * IMAGES
    apart = class_balance.support(clean_subject(IMAGES, split=split))
    joined = class_balance.support(clean_subject(IMAGES, split=split, group_id=groups))
    assert [one.name for one in joined.figures] == [one.name for one in apart.figures]
    for wide, narrow in zip(joined.figures, apart.figures, strict=True):
        assert wide.figure.low is not None
        assert narrow.figure.low is not None
        assert wide.figure.low < narrow.figure.low


def test_a_model_of_another_split_leaves_its_audits_open(tmp_path: Path) -> None:
    left_out = ModelLeftOut("it was trained on another split", "`pulmospark train`")
    subject = clean_subject(IMAGES)
    without_spark = ["near_duplicates", "label_conflict", *(f"class_by_{name}" for name in KINDS)]
    settings = subject.settings.model_copy(update={"costly": True, "skip": tuple(without_spark)})
    subject = replace(subject, settings=settings, model_left_out=left_out)
    found = run_audits(subject, tmp_path, cast("Any", None), quiet=True)
    titles = {audit.name: audit.title for audit in AUDITS if audit.runs_model}
    assert not found.costly_left_out
    told = {one.name: one for one in found.audits}
    for name in (*titles, "subgroups", "calibration"):
        assert told[name].verdict == "not assessable"
        assert told[name].sentence == "Not assessable: it was trained on another split."
        assert told[name].remedy == "`pulmospark train`"
    assert {name: told[name].title for name in titles} == titles


def test_the_threshold_is_a_setting() -> None:
    subject = clean_subject(IMAGES, sex=_of_class("M", "F", "M"))
    easy = subject.settings.model_copy(update={"thing_warn": 0.95, "thing_fail": 0.99})
    subject = replace(subject, settings=easy)
    found = single_feature.audit(subject, {}, KINDS["sex"])
    assert found.verdict == "pass"
