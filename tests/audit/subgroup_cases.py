"""Audits of one thing beside the picture, of subgroups, and of views that are guessed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.audit_images import CLASSES, clean_subject, with_hits

from audit.data_cases import CASES, IMAGES, Case, add, case, of_class, subject_of
from audit.test_audit_not_assessable import looks
from pulmospark.audit import guessed_views, single_feature, subgroups
from pulmospark.audit.results import AuditResult
from pulmospark.audit.subject import ModelLeftOut, Subject

# One thing beside the picture.

_SEX = np.random.default_rng(1).random(IMAGES) < 0.15 + 0.7 * (clean_subject(IMAGES).labels == 1)
_KINDS = {kind.name: kind for kind in single_feature.KINDS}


def _thing(name: str, **columns: Any) -> Case:
    return lambda _: single_feature.audit(subject_of(**columns), looks(), _KINDS[name])


CASES |= {
    "class by sex: not": _thing("sex"),
    "class by sex: rather": _thing("sex", sex=np.where(_SEX, "M", "F").tolist()),
    "class by sex: surely": _thing("sex", sex=of_class("M", "F", "M")),
    "class by sex: known of some": _thing(
        "sex", sex=[("M", "F", None, None)[n // 2 % 4] for n in range(IMAGES)]
    ),
    "class by sex: unknown": _thing("sex", sex=pa.nulls(IMAGES, pa.string())),
    "class by sex: the same": _thing("sex", sex=["M"] * IMAGES),
    "class by age: known of some": _thing("age", age=of_class(60.0, 4.0, None)),
    "class by size": _thing("size", height=of_class(512, 1024, None)),
    "class by compression": _thing("compression", size_bytes=of_class(10_000, 500_000, 100)),
    "class by brightness": _thing("brightness"),
    "class by source: two classes of ten patients": _thing(
        "source", label=[CLASSES[2] if n < 18 else CLASSES[n // 2 % 2] for n in range(IMAGES)]
    ),
    "class by source: one class of ten patients": _thing(
        "source", label=[CLASSES[2] if n < 18 else CLASSES[0] for n in range(IMAGES)]
    ),
    "class by source: few patients": _thing(
        "source",
        group_id=[f"g{n % 9}" for n in range(IMAGES)],
        patient_id=[f"g{n % 9}" for n in range(IMAGES)],
    ),
}

# Subgroups.


def _predicted(right: float = 0.85, women: float = 0.85, said: float = 0.85) -> Subject:
    subject = subject_of(split=["test"] * IMAGES)
    sexes = subject.column("sex")
    random = np.random.default_rng(2).random(IMAGES)
    hits = random < np.where(sexes == "F", women, right)
    told = with_hits(subject.rows, hits, said)
    order = np.random.default_rng(3).permutation(IMAGES)
    return replace(subject, predictions=told.take(order))


def _elsewhere() -> Subject:
    """Predictions of other images as well, which are not audited."""
    subject = _predicted(women=0.5)
    told = subject.predictions
    assert told is not None
    strange = told.slice(0, 30).set_column(
        told.column_names.index("uri"), "uri", pa.array([f"/elsewhere/{n}" for n in range(30)])
    )
    return replace(subject, predictions=pa.concat_tables([strange, told]))


def _all_ages() -> Subject:
    ages = [None if n < 24 else (5.0, 18.0, 39.9, 40.0, 60.0, 74.9, 75.0)[n // 2 % 7]
            for n in range(IMAGES)]  # fmt: skip
    subject = subject_of(split=["test"] * IMAGES, age=pa.array(ages, pa.float32()))
    hits = np.random.default_rng(2).random(IMAGES) < 0.85
    return replace(subject, predictions=with_hits(subject.rows, hits, 0.85))


_MODEL_GONE = ModelLeftOut("it was trained on another split", "`pulmospark train`")
_FEW = {"sex": ["F"] * IMAGES, "view": ["PA"] * IMAGES, "source": ["alder"] * IMAGES,
        "age": pa.nulls(IMAGES, pa.float32())}  # fmt: skip


def _one_subgroup() -> Subject:
    subject = subject_of(split=["test"] * IMAGES, **_FEW)
    hits = np.random.default_rng(2).random(IMAGES) < 0.85
    return replace(subject, predictions=with_hits(subject.rows, hits, 0.85))


for _name, _run in (("accuracy", subgroups.accuracy), ("calibration", subgroups.calibration)):
    for _what, _made in {
        "no model": subject_of,
        "model left out": lambda: replace(subject_of(), model_left_out=_MODEL_GONE),
        "even": _predicted,
        "women a little worse": lambda: _predicted(women=0.72),
        "women much worse": lambda: _predicted(women=0.5),
        "too sure": lambda: _predicted(said=0.95),
        "much too sure": lambda: _predicted(right=0.6, women=0.6, said=0.95),
        "not sure enough": lambda: _predicted(said=0.7),
        "images that are not audited": _elsewhere,
        "all ages": _all_ages,
        "one subgroup": _one_subgroup,
    }.items():
        add(
            f"subgroups, {_name}: {_what}",
            lambda run=_run, made=_made: run(made(), subgroups.tested(made())),  # type: ignore[misc]
        )

# Views that are guessed.


def _views(folder: Path, guesses: list[tuple[str, str | None, bool]]) -> Subject:
    rows = clean_subject(12).rows.slice(0, len(guesses))
    columns = {
        "view": [view for view, _, _ in guesses],
        "view_guess": pa.array([guess for _, guess, _ in guesses], pa.string()),
        "view_measured": [measured for _, _, measured in guesses],
    }
    for name, values in columns.items():
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(values))
    pq.write_table(rows.slice(2), folder / "a.parquet")  # not in the order of their names
    pq.write_table(rows.slice(0, 2), folder / "b.parquet")
    return replace(subject_of(), images=folder)


@case("guessed views: some")
def _(folder: Path) -> AuditResult:
    rows: list[tuple[str, str | None, bool]] = [
        ("unknown", "lateral", False),
        ("lateral", None, True),
        ("unknown", None, False),
        ("PA", "lateral", False),
        ("axial", None, True),
        *([("unknown", "axial", False)] * 6),
    ]
    return guessed_views.audit(_views(folder, rows))


@case("guessed views: one")
def _(folder: Path) -> AuditResult:
    return guessed_views.audit(_views(folder, [("unknown", "axial", False), ("PA", None, False)]))


@case("guessed views: none")
def _(folder: Path) -> AuditResult:
    return guessed_views.audit(_views(folder, [("unknown", None, False), ("PA", None, False)]))
