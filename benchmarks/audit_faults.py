"""Planted faults at several strengths, each with its audit; and clean images, for false alarms."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from benchmarks.audit_images import clean_subject, copies_of, no_copies, with_hits
from benchmarks.common import MASTER, Options, Report, goal, say, scratch
from pulmospark.audit import (
    class_balance,
    exact_duplicates,
    guessed_views,
    near_duplicates,
    patients,
    single_feature,
    subgroups,
)
from pulmospark.audit.results import AuditResult
from pulmospark.audit.subject import Subject
from pulmospark.config.audit import AuditSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import schemas
from pulmospark.data.duplicates.near_duplicates import NearCopies, find_near_copies
from pulmospark.imaging.image import StandardImage, image_from_bytes
from pulmospark.phantoms.draw import draw_image, encode, random_person
from pulmospark.phantoms.hospitals import HOSPITALS
from pulmospark.phantoms.opacities import Finding
from pulmospark.spark.executor import SparkExecutor
from pulmospark.spark.session import spark_session

IMAGES = 3000
CLEAN = 100
GOAL_ALARMS = 0.05
_KINDS = {kind.name: kind for kind in single_feature.KINDS}
Run = Callable[[Subject, NearCopies], AuditResult]


@dataclass(frozen=True)
class Fault:
    """One fault at one strength.

    Attributes:
        audit: that has to find it.
        told: the strength, in words.
        plant: seed -> images and copies with the fault.
        least: the verdict that it must have: "warn" or "fail".
    """

    audit: str
    told: str
    plant: Callable[[int], tuple[Subject, NearCopies]]
    least: str


def audits() -> dict[str, Run]:
    """Audits that look at what is known of images, by name."""
    found: dict[str, Run] = {
        "exact_duplicates": lambda s, _: exact_duplicates.audit(s),
        "near_duplicates": near_duplicates.audit,
        "label_conflict": near_duplicates.conflicts,
        "guessed_views": lambda s, _: _guessed_views(s),
        "patients": lambda s, _: patients.audit(s),
        "support": lambda s, _: class_balance.support(s),
        "children": lambda s, _: class_balance.children(s),
        "subgroups": lambda s, _: subgroups.accuracy(s, subgroups.tested(s)),
        "calibration": lambda s, _: subgroups.calibration(s, subgroups.tested(s)),
    }
    for name, kind in _KINDS.items():
        found[f"class_by_{name}"] = lambda s, c, kind=kind: single_feature.audit(s, c.looks, kind)  # type: ignore[misc]
    return found


def measure(options: Options) -> Report:
    """Verdicts of every audit on clean images and on its faults; copies found by strength."""
    clean = 3 if options.small else CLEAN
    runs = audits()
    alarms: Counter[str] = Counter()
    for seed in range(clean):
        subject, copies = _clean(seed)
        alarms.update(name for name, run in runs.items() if run(subject, copies).verdict != "pass")
    say(f"{clean} clean sets: {sum(alarms.values())} alarms in {len(runs)} audits")
    repeats = 2 if options.small else 10
    rows: list[tuple[str, str, str, str]] = []
    missed = 0
    for fault in faults():
        verdicts = [runs[fault.audit](*fault.plant(seed)).verdict for seed in range(repeats)]
        enough = {"fail"} if fault.least == "fail" else {"warn", "fail"}
        found = sum(verdict in enough for verdict in verdicts)
        missed += found < repeats
        rows.append((fault.audit, fault.told, fault.least, f"{found} of {repeats}"))
    with scratch(options) as folder, spark_session(MASTER) as spark:
        pictures = copies_by_strength(folder, spark, images=12 if options.small else 60)
    rows += [
        ("near copies of phantoms", told, "found", f"{found} of {of}")
        for told, (found, of) in pictures.items()
    ]
    worst = max((count / clean for count in alarms.values()), default=0.0)
    return Report(
        name="audit_faults",
        title="Planted faults, and false alarms on clean images",
        head=("audit", "fault", "must be at least", "found"),
        rows=rows,
        notes=[
            f"{clean} clean sets of {IMAGES} images, alarms: {dict(alarms) or 'none'}",
            goal(f"at most {GOAL_ALARMS:.0%} false alarms a test", worst <= GOAL_ALARMS),
            goal("every fault found at the stated strength", not missed),
        ],
        figures={"clean": clean, "alarms": dict(alarms), "rows": rows},
    )


def _guessed_views(subject: Subject) -> AuditResult:
    """It reads an images table, not the rows of the subject, which are written as one."""
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(subject.rows, Path(folder) / "0.parquet")
        return guessed_views.audit(replace(subject, images=Path(folder)))


def _clean(seed: int, **columns: Any) -> tuple[Subject, NearCopies]:
    return clean_subject(IMAGES, seed=seed, right=0.9, **columns), no_copies(IMAGES)


def faults() -> list[Fault]:
    """Every fault at its strengths."""
    found = [
        Fault(f"class_by_{name}", f"tells the class of {share:.0%}", _telling(name, share), least)
        for name in _KINDS
        for share, least in (
            # Two values tell three classes in part only: more of them are needed.
            ((0.6, "warn"), (1.0, "fail"))
            if name in {"sex", "view", "format"}
            else ((0.4, "warn"), (0.7, "fail"))
        )
    ]
    for share, least in ((0.002, "warn"), (0.03, "fail")):
        found.append(Fault("near_duplicates", f"{share:.1%} leak", _leaking(share), least))
        found.append(Fault("label_conflict", f"{share:.1%} conflict", _odd(share), least))
    for share, least in ((0.4, "warn"), (0.8, "fail")):
        told = f"{share:.0%} of one class are children"
        found.append(Fault("children", told, _children(share), least))
    for drop, least in ((0.2, "warn"), (0.35, "fail")):
        told = f"women {drop * 100:.0f} points worse"
        found.append(Fault("subgroups", told, _served_worse(drop), least))
        found.append(Fault("calibration", told, _served_worse(drop), least))
    found.append(Fault("exact_duplicates", "one file twice", _twice, "fail"))
    for measured, done in ((False, "treated as frontal"), (True, "excluded")):
        told = f"1 of {IMAGES} images guessed to be lateral, {done}"
        found.append(Fault("guessed_views", told, _guessed(measured), "warn"))
    found.append(Fault("patients", "one patient on both sides", _both_sides, "fail"))
    found.append(Fault("support", "20 images a class", _few, "fail"))
    return found


def _telling(name: str, share: float) -> Callable[[int], tuple[Subject, NearCopies]]:
    """Of a share of the patients, the thing follows from the class."""

    def plant(seed: int) -> tuple[Subject, NearCopies]:
        subject, copies = _clean(seed)
        random = np.random.default_rng(seed + 1000)
        told = (random.random(IMAGES // 2) < share)[np.arange(IMAGES) // 2]
        labels = subject.labels
        looks = dict(copies.looks)
        values: dict[str, Any] = {
            "source": ("x", "y", "z"), "sex": ("M", "F", "M"), "view": ("AP", "PA", "AP"),
            "format": ("png", "jpeg", "png"), "age": (75.0, 25.0, 50.0),
            "size": (300, 600, 900), "compression": (9e3, 2e5, 2e6),
        }  # fmt: skip
        if name in {"border", "brightness"}:
            key = "border_mean" if name == "border" else "mean"
            looks[key] = np.where(told, 40.0 + 60.0 * labels, looks[key])
            return subject, replace(copies, looks=looks)
        column = {"size": "height", "compression": "size_bytes"}.get(name, name)
        given = values[name]
        now = subject.column(column)
        for row in np.flatnonzero(told):
            now[row] = type(now[row])(given[labels[row]])
        rows = subject.rows
        place = rows.column_names.index(column)
        array = pa.array(now.tolist(), rows.schema.field(column).type)
        return replace(subject, rows=rows.set_column(place, column, array)), copies

    return plant


def _leaking(share: float) -> Callable[[int], tuple[Subject, NearCopies]]:
    def plant(seed: int) -> tuple[Subject, NearCopies]:
        subject, _ = _clean(seed)
        tested = subject.tested
        count = max(1, round(share * tested.sum()))
        pairs = zip(np.flatnonzero(tested)[:count], np.flatnonzero(~tested)[:count], strict=True)
        return subject, copies_of(IMAGES, [(min(p), max(p)) for p in pairs])

    return plant


def _odd(share: float) -> Callable[[int], tuple[Subject, NearCopies]]:
    def plant(seed: int) -> tuple[Subject, NearCopies]:
        subject, _ = _clean(seed)
        labels = subject.labels
        count = max(1, round(share * IMAGES / 2))
        ones, others = np.flatnonzero(labels == 0)[:count], np.flatnonzero(labels == 1)[:count]
        return subject, copies_of(
            IMAGES, [(min(p), max(p)) for p in zip(ones, others, strict=True)]
        )

    return plant


def _children(share: float) -> Callable[[int], tuple[Subject, NearCopies]]:
    def plant(seed: int) -> tuple[Subject, NearCopies]:
        subject, _ = _clean(seed)
        random = np.random.default_rng(seed + 2000)
        young = (random.random(IMAGES // 2) < share)[np.arange(IMAGES) // 2]
        ages = np.where(young & (subject.labels == 1), 4.0, subject.numbers("age"))
        return _clean(seed, age=ages.astype(np.float32))

    return plant


def _served_worse(drop: float) -> Callable[[int], tuple[Subject, NearCopies]]:
    def plant(seed: int) -> tuple[Subject, NearCopies]:
        subject, copies = _clean(seed)
        random = np.random.default_rng(seed + 3000)
        tested = subject.rows.filter(pa.array(subject.tested))
        women = np.asarray(tested["sex"].to_pylist()) == "F"
        hits = random.random(tested.num_rows) < np.where(women, 0.9 - drop, 0.9)
        return replace(subject, predictions=with_hits(tested, hits, 0.9)), copies

    return plant


def _few(seed: int) -> tuple[Subject, NearCopies]:
    return clean_subject(60, seed=seed), no_copies(60)


def _twice(seed: int) -> tuple[Subject, NearCopies]:
    ids = [f"{n:064x}" for n in range(IMAGES)]
    ids[7] = ids[900]
    return _clean(seed, image_id=ids)


def _guessed(measured: bool) -> Callable[[int], tuple[Subject, NearCopies]]:
    """One image has no view but a guess; ``measured``: it was taken for its view."""

    def plant(seed: int) -> tuple[Subject, NearCopies]:
        subject, _ = _clean(seed)
        views, flags = subject.column("view").tolist(), [False] * IMAGES
        guesses: list[str | None] = [None] * IMAGES
        views[7], flags[7] = ("lateral", True) if measured else ("unknown", False)
        guesses[7] = "lateral"
        return _clean(seed, view=views, view_measured=flags, view_guess=guesses)

    return plant


def _both_sides(seed: int) -> tuple[Subject, NearCopies]:
    subject, _ = _clean(seed)
    split = subject.column("split")
    split[0] = "train" if split[1] == "test" else "test"
    return _clean(seed, split=split.tolist())


Pixels = npt.NDArray[np.uint8]


def copies_by_strength(
    folder: Path, spark: SparkSession, *, images: int
) -> dict[str, tuple[int, int]]:
    """Copies of phantoms that a search finds, by what was done to them, and images of others."""
    changes: dict[str, Callable[[Pixels], Pixels]] = {
        "as JPEG of quality 30": _jpeg,
        "gamma 0.6": lambda image: (255 * (image / 255.0) ** 0.6).astype(np.uint8),
        "to 96 pixels and back": lambda image: cv2.resize(cv2.resize(image, (96, 96)), (224, 224)),
        "cut by 3 %": lambda image: _cut(image, 0.03),
        "cut by 6 %": lambda image: _cut(image, 0.06),
        "cut by 10 %": lambda image: _cut(image, 0.10),
        "letters burned in": _letters,
    }
    originals = [_phantom(seed) for seed in range(images)]
    names, pixels = [f"{n:04d}-0" for n in range(images)], list(originals)
    for number, change in enumerate(changes.values(), start=1):
        for place in range(number - 1, images, len(changes)):
            names.append(f"{place:04d}-{number}")
            pixels.append(np.ascontiguousarray(change(originals[place])))
    order = np.argsort(names)
    names, pixels = [names[n] for n in order], [pixels[n] for n in order]
    facts = write_table(folder / "images", names, pixels)
    settings = AuditSettings()
    found = find_near_copies(
        folder / "images",
        facts,
        folder / "work",
        SparkExecutor(spark),
        distance=settings.hash_distance,
        correlation=settings.copy_correlation,
        pairs_max=settings.pairs_max,
        quiet=True,
    )
    pairs = {(names[a], names[b]) for a, b in zip(found.first, found.second, strict=True)}
    told = {}
    for number, name in enumerate(changes, start=1):
        places = range(number - 1, images, len(changes))
        right = sum((f"{p:04d}-0", f"{p:04d}-{number}") in pairs for p in places)
        told[name] = (right, len(places))
    wrong = sum(one[:4] != other[:4] for one, other in pairs)
    told["(pairs of two made-up people called copies)"] = (wrong, images * (images - 1) // 2)
    return told


def write_table(images: Path, names: list[str], pixels: list[Pixels]) -> pa.Table:
    """An images table of images without a file; the facts that a search asks for."""
    count = len(names)
    given: dict[str, Any] = {
        "image_id": names,
        "uri": names,
        "source": ["drawn"] * count,
        "view": ["PA"] * count,
        "modality": ["X-ray"] * count,
        "view_measured": [False] * count,
        "format": ["png"] * count,
        "pixels": [image.tobytes() for image in pixels],
    }
    numbers = ("size_bytes", "modified_ns", "height", "width", "phash")
    given |= {name: [1] * count for name in numbers}
    columns = [
        pa.array(given[field.name], field.type)
        if field.name in given
        else pa.nulls(count, field.type)
        for field in schemas.IMAGES
    ]
    images.mkdir(parents=True)
    table = pa.table(columns, schema=schemas.IMAGES)
    pq.write_table(table, images / "0.parquet", row_group_size=64)
    return pa.table({"uri": names, "scan_id": pa.nulls(count, pa.string()), "group_id": names})


def _phantom(seed: int) -> Pixels:
    random = np.random.default_rng(seed)
    hospital = HOSPITALS[seed % len(HOSPITALS)]
    person = random_person(random, hospital, list(Finding)[seed // 3 % 3])
    image = image_from_bytes(encode(draw_image(person, hospital, random)), IngestSettings())
    assert isinstance(image, StandardImage)
    return image.pixels


def _jpeg(image: Pixels) -> Pixels:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def _cut(image: Pixels, share: float) -> Pixels:
    edge = round(share * image.shape[0])
    return np.asarray(cv2.resize(image[edge:-edge, edge:-edge], (224, 224)), np.uint8)


def _letters(image: Pixels) -> Pixels:
    copy = image.copy()
    cv2.putText(copy, "day 4", (60, 210), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 2)
    return copy
