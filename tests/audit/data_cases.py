"""Audits of what is known of films: their faults, none, and too little to go by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.audit_films import CLASSES, clean_subject, copies_of, with_hits

from audit.test_audit_not_assessable import looks
from pulmospark.audit import (
    augmented,
    balance,
    exact_duplicates,
    guessed_views,
    near_duplicates,
    one_thing,
    patients,
    subgroups,
)
from pulmospark.audit.results import AuditResult
from pulmospark.audit.subject import ModelLeftOut, Subject

FILMS = 600
Case = Callable[[Path], AuditResult]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def keep(made: Case) -> Case:
        CASES[name] = made
        return made

    return keep


def subject_of(films: int = FILMS, *, replicates: int = 60, **columns: Any) -> Subject:
    subject = clean_subject(films, **columns)
    quick = subject.settings.model_copy(update={"replicates": replicates})
    return replace(subject, settings=quick)


def bare(films: int = FILMS, **columns: Any) -> Subject:
    return subject_of(films, split=pa.nulls(films, pa.string()), **columns)


def of_class(*values: object) -> list[object]:
    return [values[label] for label in clean_subject(FILMS).labels]


def add(name: str, made: Callable[[], AuditResult]) -> None:
    CASES[name] = lambda _: made()


# Augmented copies.


def _expanded(folder: Path, rows: list[tuple[str | None, str, int | None]]) -> Path:
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


add("augmented: no table", lambda: augmented.audit(subject_of()))
add("augmented: no split", lambda: augmented.audit(bare()))


@case("augmented: no copy in it")
def _(folder: Path) -> AuditResult:
    return augmented.audit(
        replace(subject_of(), expanded=_expanded(folder, [(None, "train", None)]))
    )


@case("augmented: all where their parents are")
def _(folder: Path) -> AuditResult:
    subject = subject_of()
    rows = [(uri, "train", None) for uri in _uris(subject, "train")[:4] * 2]
    return augmented.audit(replace(subject, expanded=_expanded(folder, rows)))


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
    return augmented.audit(replace(subject, expanded=_expanded(folder, rows)))


@case("augmented: one in another fold")
def _(folder: Path) -> AuditResult:
    folds = [n // 2 % 5 for n in range(FILMS)]
    subject = subject_of(fold=folds, split=["train"] * FILMS)
    uris = subject.column("uri")
    rows = [(uris[n], "train", folds[n] if n else 3) for n in range(8)]
    return augmented.audit(replace(subject, expanded=_expanded(folder, rows)))


# Who is in the classes.

add("support: enough", lambda: balance.support(subject_of(3000)))
add("support: wider than ten points", lambda: balance.support(subject_of()))
add("support: wider than twenty", lambda: balance.support(subject_of(60)))
add("support: of all where there is no split", lambda: balance.support(bare(60)))
add(
    "support: with folds",
    lambda: balance.support(subject_of(60, fold=[n // 2 % 5 for n in range(60)])),
)
add(
    "support: a class without films",
    lambda: balance.support(subject_of(60, label=["normal"] * 59 + ["COVID-19"])),
)
add(
    "support: no class",
    lambda: balance.support(replace(subject_of(60, label=pa.nulls(60, pa.string())), classes=())),
)
add("children: none", lambda: balance.children(subject_of()))
add(
    "children: one class of them",
    lambda: balance.children(subject_of(age=of_class(60.0, 4.0, 60.0))),
)
add(
    "children: some more in one class",
    lambda: balance.children(
        subject_of(
            age=[
                4.0 if label == 1 and n % 10 < 4 else 17.9 if n % 50 == 0 else 18.0
                for n, label in enumerate(clean_subject(FILMS).labels)
            ]
        )
    ),
)
add(
    "children: ages of one class alone",
    lambda: balance.children(subject_of(age=of_class(None, 4.0, None))),
)
add(
    "children: a class without ages",
    lambda: balance.children(subject_of(age=of_class(60.0, None, 50.0))),
)
add(
    "children: a source that has its layout's name",
    lambda: balance.children(
        subject_of(source=of_class("nih14", "kermany", "nih14"), age=of_class(60.0, None, 50.0))
    ),
)


@case("children: a layout that says so")
def _(_folder: Path) -> AuditResult:
    subject = subject_of(source=of_class("n", "ward", "n"), age=of_class(60.0, None, 50.0))
    return balance.children(replace(subject, layouts={"n": "nih14", "ward": "kermany"}))


@case("children: a layout that says so of one finding")
def _(_folder: Path) -> AuditResult:
    findings = of_class("COVID", "Normal", "Viral Pneumonia")
    subject = subject_of(source=["rdb"] * FILMS, age=[None] * FILMS, finding=findings)
    return balance.children(replace(subject, layouts={"rdb": "radiography_database"}))


add(
    "children: a class of few patients",
    lambda: balance.children(
        subject_of(label=[CLASSES[2] if n < 6 else CLASSES[n // 2 % 2] for n in range(FILMS)])
    ),
)

# Identical files.


def _copied() -> Subject:
    ids = clean_subject(FILMS).column("image_id")
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
    lambda: exact_duplicates.audit(subject_of(image_id=[None] * FILMS)),
)
for _copies, _conflicts in ((2, 1), (1, 0), (0, 2)):
    _left = {"identical file": _copies, "label conflict between identical files": _conflicts}
    add(
        f"identical files: {_copies} copies and {_conflicts} conflicts left out",
        lambda left=_left: exact_duplicates.audit(replace(subject_of(), left_out=left)),  # type: ignore[misc]
    )

# Near copies.


def _pairs(subject: Subject, *, leaks: int = 0, across: int = 0, within: int = 0) -> Any:
    """Pairs of a tested and a trained film, of two trained ones, and of one patient."""
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


_LABELS = [CLASSES[0], CLASSES[0], CLASSES[1], CLASSES[1]] * (FILMS // 4)
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
    ("one patient", lambda: subject_of(patient_id=["a:1"] * FILMS), {}, {"within": 2}),
    (
        "kept together",
        lambda: subject_of(group_id=[f"g{n // 8}" for n in range(FILMS)]),
        {},
        {"across": 2},
    ),
    ("folds", lambda: subject_of(fold=[n // 2 % 5 for n in range(FILMS)]), {}, {"leaks": 4}),
):  # fmt: skip
    add(
        f"near copies: {_name}",
        lambda made=_subject_made, changes=_changes, counts=_counts: _near(  # type: ignore[misc]
            made(), changes, **counts
        ),
    )


@case("near copies: no split, of two sources")
def _(_folder: Path) -> AuditResult:
    return near_duplicates.audit(bare(), copies_of(FILMS, [(0, 5), (7, 11), (5, 9)]))


@case("copies of two classes: two sources without a split")
def _(_folder: Path) -> AuditResult:
    subject = bare(label=_LABELS, source=["a", "b"] * (FILMS // 2))
    return near_duplicates.conflicts(subject, copies_of(FILMS, [(0, 2), (1, 2), (4, 6)]))


_UNLABELLED = [None, *_LABELS[1:]]
for _name, _labels, _changes, _places in (
    ("none", _LABELS, {}, [(0, 1), (4, 5)]),
    ("none, nearer ones alone", _LABELS, {"distance": 8}, []),
    ("one", _LABELS, {}, [(0, 2)]),
    ("some", _LABELS, {}, [(0, 2), (1, 2), (4, 6), (8, 10), (0, 1), (20, 21)]),
    ("a film without a class", _UNLABELLED, {}, [(0, 2), (1, 5)]),
    ("one class", [CLASSES[0]] * FILMS, {}, [(0, 2)]),
):
    add(
        f"copies of two classes: {_name}",
        lambda labels=_labels, changes=_changes, places=_places: (  # type: ignore[misc]
            near_duplicates.conflicts(
                subject_of(label=labels), replace(copies_of(FILMS, places), **changes)
            )
        ),
    )

# Patients.


def _alike() -> list[str | None]:
    ids: list[str | None] = [f"alder:P-{n // 2:05d}" for n in range(FILMS)]
    ids[-30:] = [None] * 30
    ids[-32:-30] = ["alder:p00000", "birch:P-00003"]
    ids[-50:-34] = [f"alder:P-{n}" for n in range(4, 20)]
    return ids


add("patients: known and apart", lambda: patients.audit(subject_of()))
add("patients: one", lambda: patients.audit(subject_of(patient_id=["a:1"] * FILMS)))
add("patients: ids alike", lambda: patients.audit(subject_of(patient_id=_alike())))
add("patients: ids alike, no split", lambda: patients.audit(bare(patient_id=_alike())))
add("patients: no split", lambda: patients.audit(bare()))
add(
    "patients: on both sides",
    lambda: patients.audit(
        subject_of(split=[("train", "test", "validation", "train")[n % 4] for n in range(FILMS)])
    ),
)
add(
    "patients: one in two folds",
    lambda: patients.audit(subject_of(split=["train"] * FILMS, fold=[0, 1, *([2] * (FILMS - 2))])),
)
add(
    "patients: mostly unknown",
    lambda: patients.audit(
        subject_of(patient_id=[f"a:{n}" if n < 290 else None for n in range(FILMS)])
    ),
)

# One thing beside the picture.

_SEX = np.random.default_rng(1).random(FILMS) < 0.15 + 0.7 * (clean_subject(FILMS).labels == 1)
_KINDS = {kind.name: kind for kind in one_thing.KINDS}


def _thing(name: str, **columns: Any) -> Case:
    return lambda _: one_thing.audit(subject_of(**columns), looks(), _KINDS[name])


CASES |= {
    "class by sex: not": _thing("sex"),
    "class by sex: rather": _thing("sex", sex=np.where(_SEX, "M", "F").tolist()),
    "class by sex: surely": _thing("sex", sex=of_class("M", "F", "M")),
    "class by sex: known of some": _thing(
        "sex", sex=[("M", "F", None, None)[n // 2 % 4] for n in range(FILMS)]
    ),
    "class by sex: unknown": _thing("sex", sex=pa.nulls(FILMS, pa.string())),
    "class by sex: the same": _thing("sex", sex=["M"] * FILMS),
    "class by age: known of some": _thing("age", age=of_class(60.0, 4.0, None)),
    "class by size": _thing("size", height=of_class(512, 1024, None)),
    "class by compression": _thing("compression", size_bytes=of_class(10_000, 500_000, 100)),
    "class by brightness": _thing("brightness"),
    "class by source: two classes of ten patients": _thing(
        "source", label=[CLASSES[2] if n < 18 else CLASSES[n // 2 % 2] for n in range(FILMS)]
    ),
    "class by source: one class of ten patients": _thing(
        "source", label=[CLASSES[2] if n < 18 else CLASSES[0] for n in range(FILMS)]
    ),
    "class by source: few patients": _thing(
        "source",
        group_id=[f"g{n % 9}" for n in range(FILMS)],
        patient_id=[f"g{n % 9}" for n in range(FILMS)],
    ),
}

# Subgroups.


def _predicted(right: float = 0.85, women: float = 0.85, said: float = 0.85) -> Subject:
    subject = subject_of(split=["test"] * FILMS)
    sexes = subject.column("sex")
    random = np.random.default_rng(2).random(FILMS)
    hits = random < np.where(sexes == "F", women, right)
    told = with_hits(subject.rows, hits, said)
    order = np.random.default_rng(3).permutation(FILMS)
    return replace(subject, predictions=told.take(order))


def _elsewhere() -> Subject:
    """Predictions of other films as well, which are not audited."""
    subject = _predicted(women=0.5)
    told = subject.predictions
    assert told is not None
    strange = told.slice(0, 30).set_column(
        told.column_names.index("uri"), "uri", pa.array([f"/elsewhere/{n}" for n in range(30)])
    )
    return replace(subject, predictions=pa.concat_tables([strange, told]))


def _all_ages() -> Subject:
    ages = [None if n < 24 else (5.0, 18.0, 39.9, 40.0, 60.0, 74.9, 75.0)[n // 2 % 7]
            for n in range(FILMS)]  # fmt: skip
    subject = subject_of(split=["test"] * FILMS, age=pa.array(ages, pa.float32()))
    hits = np.random.default_rng(2).random(FILMS) < 0.85
    return replace(subject, predictions=with_hits(subject.rows, hits, 0.85))


_MODEL_GONE = ModelLeftOut("it was trained on another split", "`pulmospark train`")
_FEW = {"sex": ["F"] * FILMS, "view": ["PA"] * FILMS, "source": ["alder"] * FILMS,
        "age": pa.nulls(FILMS, pa.float32())}  # fmt: skip


def _one_subgroup() -> Subject:
    subject = subject_of(split=["test"] * FILMS, **_FEW)
    hits = np.random.default_rng(2).random(FILMS) < 0.85
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
        "films that are not audited": _elsewhere,
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
