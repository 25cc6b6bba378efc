"""Audits of what is known of images: their faults, none, and too little to go by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.audit_images import CLASSES, clean_subject, copies_of

from pulmospark.audit import (
    augmented_copies,
    class_balance,
    exact_duplicates,
    near_duplicates,
    patients,
)
from pulmospark.audit.results import AuditResult
from pulmospark.audit.subject import Subject

IMAGES = 600
Case = Callable[[Path], AuditResult]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def keep(made: Case) -> Case:
        CASES[name] = made
        return made

    return keep


def subject_of(images: int = IMAGES, *, replicates: int = 60, **columns: Any) -> Subject:
    subject = clean_subject(images, **columns)
    quick = subject.settings.model_copy(update={"replicates": replicates})
    return replace(subject, settings=quick)


def bare(images: int = IMAGES, **columns: Any) -> Subject:
    return subject_of(images, split=pa.nulls(images, pa.string()), **columns)


def of_class(*values: object) -> list[object]:
    return [values[label] for label in clean_subject(IMAGES).labels]


def add(name: str, made: Callable[[], AuditResult]) -> None:
    CASES[name] = lambda _: made()


# Augmented copies.


def _expanded(folder: Path, rows: Sequence[tuple[str | None, str, int | None]]) -> Path:
    table = pa.table(
        {
            "parent_uri": pa.array([row[0] for row in rows], pa.string()),
            "split": pa.array([row[1] for row in rows], pa.string()),
            "fold": pa.array([row[2] for row in rows], pa.int32()),
        }
    )
    pq.write_table(table, folder / "a.parquet")
    return folder


def _uris(subject: Subject, split: str) -> list[str]:
    pairs = zip(subject.column("uri"), subject.column("split"), strict=True)
    return [uri for uri, part in pairs if part == split]


add("augmented: no table", lambda: augmented_copies.audit(subject_of()))
add("augmented: no split", lambda: augmented_copies.audit(bare()))


@case("augmented: no copy in it")
def _(folder: Path) -> AuditResult:
    return augmented_copies.audit(
        replace(subject_of(), expanded=_expanded(folder, [(None, "train", None)]))
    )


@case("augmented: all where their parents are")
def _(folder: Path) -> AuditResult:
    subject = subject_of()
    rows = [(uri, "train", None) for uri in _uris(subject, "train")[:4] * 2]
    return augmented_copies.audit(replace(subject, expanded=_expanded(folder, rows)))


@case("augmented: parents tested, gone, or in another part")
def _(folder: Path) -> AuditResult:
    subject = subject_of()
    trained, tested = _uris(subject, "train"), _uris(subject, "test")
    rows = [
        *((uri, "train", None) for uri in trained[:5]),
        *((uri, "train", None) for uri in (tested[1], tested[0], tested[1])),
        ("/gone.png", "train", None),
        (None, "train", None),
        (trained[6], "test", None),
        *((uri, "train", None) for uri in tested[10:20]),
    ]
    return augmented_copies.audit(replace(subject, expanded=_expanded(folder, rows)))


@case("augmented: one in another fold")
def _(folder: Path) -> AuditResult:
    folds = [n // 2 % 5 for n in range(IMAGES)]
    subject = subject_of(fold=folds, split=["train"] * IMAGES)
    uris = subject.column("uri")
    rows = [(uris[n], "train", folds[n] if n else 3) for n in range(8)]
    return augmented_copies.audit(replace(subject, expanded=_expanded(folder, rows)))


# Who is in the classes.

add("support: enough", lambda: class_balance.support(subject_of(3000)))
add("support: wider than ten points", lambda: class_balance.support(subject_of()))
add("support: wider than twenty", lambda: class_balance.support(subject_of(60)))
add("support: of all where there is no split", lambda: class_balance.support(bare(60)))
add(
    "support: with folds",
    lambda: class_balance.support(subject_of(60, fold=[n // 2 % 5 for n in range(60)])),
)
add(
    "support: a class without images",
    lambda: class_balance.support(subject_of(60, label=["normal"] * 59 + ["COVID-19"])),
)
add(
    "support: no class",
    lambda: class_balance.support(
        replace(subject_of(60, label=pa.nulls(60, pa.string())), classes=())
    ),
)
add("children: none", lambda: class_balance.children(subject_of()))
add(
    "children: one class of them",
    lambda: class_balance.children(subject_of(age=of_class(60.0, 4.0, 60.0))),
)
add(
    "children: some more in one class",
    lambda: class_balance.children(
        subject_of(
            age=[
                4.0 if label == 1 and n % 10 < 4 else 17.9 if n % 50 == 0 else 18.0
                for n, label in enumerate(clean_subject(IMAGES).labels)
            ]
        )
    ),
)
add(
    "children: ages of one class alone",
    lambda: class_balance.children(subject_of(age=of_class(None, 4.0, None))),
)
add(
    "children: a class without ages",
    lambda: class_balance.children(subject_of(age=of_class(60.0, None, 50.0))),
)
add(
    "children: a source that has its layout's name",
    lambda: class_balance.children(
        subject_of(source=of_class("nih14", "kermany", "nih14"), age=of_class(60.0, None, 50.0))
    ),
)


@case("children: a layout that says so")
def _(_folder: Path) -> AuditResult:
    subject = subject_of(source=of_class("n", "ward", "n"), age=of_class(60.0, None, 50.0))
    return class_balance.children(replace(subject, layouts={"n": "nih14", "ward": "kermany"}))


@case("children: a layout that says so of one finding")
def _(_folder: Path) -> AuditResult:
    findings = of_class("COVID", "Normal", "Viral Pneumonia")
    subject = subject_of(source=["rdb"] * IMAGES, age=[None] * IMAGES, finding=findings)
    return class_balance.children(replace(subject, layouts={"rdb": "radiography_database"}))


add(
    "children: a class of few patients",
    lambda: class_balance.children(
        subject_of(label=[CLASSES[2] if n < 6 else CLASSES[n // 2 % 2] for n in range(IMAGES)])
    ),
)

# Identical files.


def _copied() -> Subject:
    ids = clean_subject(IMAGES).column("image_id")
    ids[1] = ids[7] = ids[0]
    ids[10] = ids[9]
    ids[20:26] = ids[20]
    for place in range(100, 140, 2):
        ids[place] = ids[place + 1]
    return subject_of(image_id=ids.tolist())


add("identical files: none", lambda: exact_duplicates.audit(subject_of()))
add("identical files: some", lambda: exact_duplicates.audit(_copied()))
add(
    "identical files: no hash",
    lambda: exact_duplicates.audit(subject_of(image_id=[None] * IMAGES)),
)
for _copies, _conflicts in ((2, 1), (1, 0), (0, 2)):
    _left = {"identical file": _copies, "label conflict between identical files": _conflicts}
    add(
        f"identical files: {_copies} copies and {_conflicts} conflicts left out",
        lambda left=_left: exact_duplicates.audit(replace(subject_of(), left_out=left)),  # type: ignore[misc]
    )

# Near copies.


def _pairs(subject: Subject, *, leaks: int = 0, across: int = 0, within: int = 0) -> Any:
    """Pairs of a tested and a trained image, of two trained ones, and of one patient."""
    split = subject.column("split")
    tested, trained = (np.flatnonzero(split == part).tolist() for part in ("test", "train"))
    pairs = [(min(a, b), max(a, b)) for a, b in zip(tested[:leaks], trained, strict=False)]
    pairs += [(trained[100 + 4 * n], trained[102 + 4 * n]) for n in range(across)]
    pairs += [(2 * n, 2 * n + 1) for n in range(within)]
    copies = copies_of(subject.rows.num_rows, pairs)
    steps = np.linspace(0.9, 0.99, max(len(pairs), 1))[: len(pairs)]
    return replace(copies, correlation=np.roll(steps, 3))


def _near(subject: Subject, changes: dict[str, Any] | None = None, **pairs: int) -> AuditResult:
    return near_duplicates.audit(subject, replace(_pairs(subject, **pairs), **(changes or {})))


_LABELS = [CLASSES[0], CLASSES[0], CLASSES[1], CLASSES[1]] * (IMAGES // 4)
for _name, _subject_made, _changes, _counts in (
    ("none", subject_of, {}, {}),
    ("none, nearer ones alone", subject_of, {"distance": 8}, {}),
    ("none, one bucket left", subject_of, {"hot_buckets": 1}, {}),
    ("none, two buckets left", subject_of, {"hot_buckets": 2}, {}),
    ("leaks", subject_of, {}, {"leaks": 9}),
    ("one leak", subject_of, {}, {"leaks": 1}),
    ("across patients", subject_of, {"distance": 9, "hot_buckets": 3}, {"across": 2, "within": 2}),
    ("of one patient", subject_of, {}, {"within": 3}),
    ("no split", bare, {}, {}),
    ("one patient", lambda: subject_of(patient_id=["a:1"] * IMAGES), {}, {"within": 2}),
    (
        "kept together",
        lambda: subject_of(group_id=[f"g{n // 8}" for n in range(IMAGES)]),
        {},
        {"across": 2},
    ),
    ("folds", lambda: subject_of(fold=[n // 2 % 5 for n in range(IMAGES)]), {}, {"leaks": 4}),
):  # fmt: skip
    add(
        f"near copies: {_name}",
        lambda made=_subject_made, changes=_changes, counts=_counts: _near(  # type: ignore[misc]
            made(), changes, **counts
        ),
    )


@case("near copies: no split, of two sources")
def _(_folder: Path) -> AuditResult:
    return near_duplicates.audit(bare(), copies_of(IMAGES, [(0, 5), (7, 11), (5, 9)]))


@case("copies of two classes: two sources without a split")
def _(_folder: Path) -> AuditResult:
    subject = bare(label=_LABELS, source=["a", "b"] * (IMAGES // 2))
    return near_duplicates.conflicts(subject, copies_of(IMAGES, [(0, 2), (1, 2), (4, 6)]))


_UNLABELLED = [None, *_LABELS[1:]]
for _name, _labels, _changes, _places in (
    ("none", _LABELS, {}, [(0, 1), (4, 5)]),
    ("none, nearer ones alone", _LABELS, {"distance": 8}, []),
    ("one", _LABELS, {}, [(0, 2)]),
    ("some", _LABELS, {}, [(0, 2), (1, 2), (4, 6), (8, 10), (0, 1), (20, 21)]),
    ("an image without a class", _UNLABELLED, {}, [(0, 2), (1, 5)]),
    ("one class", [CLASSES[0]] * IMAGES, {}, [(0, 2)]),
):
    add(
        f"copies of two classes: {_name}",
        lambda labels=_labels, changes=_changes, places=_places: (  # type: ignore[misc]
            near_duplicates.conflicts(
                subject_of(label=labels), replace(copies_of(IMAGES, places), **changes)
            )
        ),
    )

# Patients.


def _alike() -> list[str | None]:
    ids: list[str | None] = [f"alder:P-{n // 2:05d}" for n in range(IMAGES)]
    ids[-30:] = [None] * 30
    ids[-32:-30] = ["alder:p00000", "birch:P-00003"]
    ids[-50:-34] = [f"alder:P-{n}" for n in range(4, 20)]
    return ids


add("patients: known and apart", lambda: patients.audit(subject_of()))
add("patients: one", lambda: patients.audit(subject_of(patient_id=["a:1"] * IMAGES)))
add("patients: ids alike", lambda: patients.audit(subject_of(patient_id=_alike())))
add("patients: ids alike, no split", lambda: patients.audit(bare(patient_id=_alike())))
add("patients: no split", lambda: patients.audit(bare()))
add(
    "patients: on both sides",
    lambda: patients.audit(
        subject_of(split=[("train", "test", "validation", "train")[n % 4] for n in range(IMAGES)])
    ),
)
add(
    "patients: one in two folds",
    lambda: patients.audit(
        subject_of(split=["train"] * IMAGES, fold=[0, 1, *([2] * (IMAGES - 2))])
    ),
)
add(
    "patients: mostly unknown",
    lambda: patients.audit(
        subject_of(patient_id=[f"a:{n}" if n < 290 else None for n in range(IMAGES)])
    ),
)
