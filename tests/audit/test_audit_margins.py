"""Verdicts on shares, widths and gaps: at a threshold nothing is over it yet."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from benchmarks.audit_images import CLASSES, clean_subject, copies_of, with_hits
from scipy import stats

from audit.test_audit_not_assessable import COVERS
from pulmospark.audit import class_balance, near_duplicates, patients, subgroups
from pulmospark.audit.subject import Subject

IMAGES = 600
STEP = 1e-9


def with_settings(subject: Subject, **changes: Any) -> Subject:
    quick = {"replicates": 100, **changes}
    return replace(subject, settings=subject.settings.model_copy(update=quick))


def test_copies_fail_above_the_share_and_not_at_it() -> None:
    subject = clean_subject(IMAGES)
    split = subject.column("split")
    tested, trained = (np.flatnonzero(split == part) for part in ("test", "train"))
    pairs = [tuple(sorted((int(a), int(b)))) for a, b in zip(tested[:6], trained[:6], strict=True)]
    copies = copies_of(IMAGES, cast("Any", pairs))
    share = 6 / tested.size
    for limit, verdict in ((share, "warn"), (share - STEP, "fail")):
        assert near_duplicates.audit(with_settings(subject, leak_share=limit), copies).verdict == (
            verdict
        )


@pytest.mark.parametrize(("unknown", "verdict"), [(300, "pass"), (302, "warn")])
def test_half_of_the_images_may_be_of_unknown_patients(unknown: int, verdict: str) -> None:
    ids = [None if n < unknown else f"alder:{n // 2}" for n in range(IMAGES)]
    assert patients.audit(clean_subject(IMAGES, patient_id=ids)).verdict == verdict


def test_support_is_the_width_that_wilsons_interval_would_have() -> None:
    """One image a patient: the width follows from the count alone."""
    groups = [f"g{n}" for n in range(IMAGES)]
    subject = clean_subject(IMAGES, group_id=groups, patient_id=groups, split=["test"] * IMAGES)
    z2 = stats.norm.isf(0.025) ** 2
    widths = {}
    for kind, name in enumerate(CLASSES):
        n = int((subject.labels == kind).sum())
        roots = np.roots([n + z2, -(2 * n * 0.9 + z2), n * 0.81])
        widths[name] = float(np.ptp(roots))
    worst = max(widths, key=lambda name: widths[name])
    found = class_balance.support(subject)
    assert found.sentence.startswith(f"The widest CI is that of {worst}")
    assert f"span {widths[worst] * 100:.0f} percentage points" in found.sentence
    width = widths[worst]
    for limit, verdict in ((width + 1e-6, "pass"), (width - 1e-6, "warn"),
                           (width / 2 + 1e-6, "warn"), (width / 2 - 1e-6, "fail")):  # fmt: skip
        assert (
            class_balance.support(with_settings(subject, interval_width=limit)).verdict == verdict
        )


@pytest.mark.parametrize(
    ("young", "verdict"), [(0.10, "pass"), (0.35, "warn"), (0.45, "warn"), (0.75, "fail")]
)
def test_children_need_a_gap_and_intervals_that_part(young: float, verdict: str) -> None:
    labels = clean_subject(IMAGES).labels
    age = np.full(IMAGES, 50.0)
    mine = np.flatnonzero(labels == 1)
    age[mine[: round(young * mine.size)]] = 4.0
    subject = clean_subject(
        IMAGES, age=age.astype(np.float32), group_id=[str(n) for n in range(600)]
    )
    assert class_balance.children(subject).verdict == verdict
    # Of few patients the same shares do not part.
    few = np.concatenate([np.flatnonzero(labels == kind)[:10] for kind in range(3)])
    small = replace(subject, rows=subject.rows.take(few))
    ages = np.full(30, 50.0)
    ages[10:13] = 4.0  # 3 of 10
    rows = small.rows.set_column(
        small.rows.column_names.index("age"), "age", [ages.astype(np.float32)]
    )
    assert class_balance.children(replace(small, rows=rows)).verdict == "pass"


def _subgroup(right: float, rest: float, images: int) -> Subject:
    """One sex is served worse: shares of right predictions among men and women."""
    sexes = ["M" if n % 2 else "F" for n in range(images)]
    subject = clean_subject(
        images, sex=sexes, view=["PA"] * images, source=["a"] * images, age=[50.0] * images,
        split=["test"] * images, group_id=[str(n) for n in range(images)],
    )  # fmt: skip
    place = np.arange(images) // 2
    hits = place < np.where(np.arange(images) % 2, right, rest) * (images // 2)
    return replace(subject, predictions=with_hits(subject.rows, hits, 0.8))


def test_a_subgroup_falls_behind_by_a_gap_and_intervals_that_part() -> None:
    subject = _subgroup(0.75, 0.9, 800)
    images = subgroups.tested(subject)
    gap = 0.15
    for limit, verdict in ((gap + 1e-6, "pass"), (gap - 1e-6, "warn"), (gap / 2 + 1e-6, "warn"),
                           (gap / 2 - 1e-6, "fail")):  # fmt: skip
        found = subgroups.accuracy(with_settings(subject, subgroup_gap=limit), images)
        assert found.verdict == verdict
        assert found.figures[0].name.startswith("sex: M")
    few = _subgroup(0.75, 0.9, 40)  # the same gap of 20 each: the intervals meet
    told = subgroups.accuracy(with_settings(few, subgroup_gap=0.01), subgroups.tested(few))
    assert told.verdict == "pass"


def test_probabilities_are_off_by_a_gap_beyond_the_interval() -> None:
    subject = _subgroup(0.65, 0.8, 800)  # all are said to be 80 % sure
    images = subgroups.tested(subject)
    for limit, verdict in ((0.15 + 1e-6, "pass"), (0.15 - 1e-6, "warn"), (0.075 - 1e-6, "fail")):
        found = subgroups.calibration(with_settings(subject, calibration_gap=limit), images)
        assert found.verdict == verdict
    assert "15.0 percentage points above the accuracy" in found.sentence
    few = _subgroup(0.65, 0.8, 40)
    told = subgroups.calibration(with_settings(few, calibration_gap=0.01), subgroups.tested(few))
    assert told.verdict == "pass"


def test_the_covers_are_those_of_the_helper() -> None:
    from pulmospark.audit.occlusion import COVERS as REAL

    assert set(COVERS) == set(REAL)
    assert all(a != b for a, b in pairwise(COVERS))
