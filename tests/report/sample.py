"""A report's content with made-up numbers: no data, no model, no patient stands behind it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from pulmospark.audit.results import AuditResult, NamedFigure, Shortcut, Verdict
from pulmospark.audit.single_feature import distribution
from pulmospark.evaluation.results import (
    ClassFigures,
    CrossValidation,
    Curve,
    Evaluation,
    FoldSummary,
    OperatingFigures,
    OperatingPoint,
    ReliabilityBin,
    TrivialRules,
)
from pulmospark.report.audit_content import Audits, ShownAudit
from pulmospark.report.content import (
    Augmentation,
    ClassSummary,
    Count,
    Epoch,
    ExampleImage,
    Exclusion,
    ExpandedClass,
    Operation,
    RejectExample,
    RejectGroup,
    ReportContent,
    SourceSummary,
    SplitCell,
    SplitSummary,
    SplitTotal,
    Timing,
    Training,
    TrainingRun,
)
from pulmospark.report.thumbnails import thumbnail
from report.made_up_figures import about, wilson

CLASSES = ("COVID-19", "pneumonia", "normal")
SOURCES = ("ieee8023", "chest_xray", "nih-chest-xray14")


def probabilities(
    counts: tuple[int, ...], sharpness: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    logits = rng.normal(size=(len(labels), len(counts)))
    logits[np.arange(len(labels)), labels] += sharpness
    exponents = np.exp(1.6 * logits)
    return labels, exponents / exponents.sum(axis=1, keepdims=True)


def evaluation(
    counts: tuple[int, ...] = (48, 214, 163),
    classes: tuple[str, ...] = CLASSES,
    *,
    sharpness: float = 2.6,
    seed: int = 7,
    rules: tuple[float, float] = (0.504, 0.781),
) -> Evaluation:
    labels, given = probabilities(counts, sharpness, seed)
    said = given.argmax(axis=1)
    matrix = metrics.confusion_matrix(labels, said, labels=range(len(classes)))
    images, top = len(labels), given.max(axis=1)
    by_class = tuple(
        class_figures(name, index, labels, given, matrix) for index, name in enumerate(classes)
    )
    edges = np.linspace(0, 1, 16)
    bins = [
        ReliabilityBin(
            low=low, high=high, count=int(inside.sum()),
            confidence=float(top[inside].mean()) if inside.any() else None,
            accuracy=float((said == labels)[inside].mean()) if inside.any() else None,
        )
        for low, high in itertools.pairwise(edges)
        if (inside := (top > low) & (top <= high)) is not None
    ]  # fmt: skip
    first = by_class[0]
    point = OperatingPoint(
        positive_class=classes[0], threshold=0.183, sensitivity_target=0.95,
        chosen_on=208, reached=True,
    )  # fmt: skip
    return Evaluation(
        classes=classes,
        images=images,
        groups=int(images * 0.74),
        confidence=0.95,
        replicates=1000,
        confusion=tuple(tuple(int(one) for one in row) for row in matrix),
        accuracy=wilson(int((said == labels).sum()), images),
        balanced_accuracy=about(float(metrics.balanced_accuracy_score(labels, said)), 0.03),
        log_loss=about(float(metrics.log_loss(labels, given)), 0.05, 9.0),
        brier=about(float(((given - np.eye(len(classes))[labels]) ** 2).sum(1).mean()), 0.03),
        calibration_error=about(0.041, 0.015),
        macro_auroc=about(float(metrics.roc_auc_score(labels, given, multi_class="ovr")), 0.015),
        by_class=by_class,
        reliability=tuple(bins),
        operating=OperatingFigures(
            point=point, sensitivity=first.sensitivity, specificity=first.specificity,
            ppv=first.ppv, npv=first.npv,
        ),
        trivial=TrivialRules(
            most_frequent_class=wilson(round(rules[0] * images), images),
            most_frequent_class_of_source=wilson(round(rules[1] * images), images),
        ),
    )  # fmt: skip


def class_figures(
    name: str,
    index: int,
    labels: NDArray[np.int64],
    given: NDArray[np.float64],
    matrix: NDArray[np.int64],
) -> ClassFigures:
    truth, scores = labels == index, given[:, index]
    said = given.argmax(axis=1) == index
    hits, misses = int(matrix[index, index]), int(matrix[index].sum() - matrix[index, index])
    false = int(matrix[:, index].sum() - hits)
    rest = len(labels) - hits - misses - false
    x, y, _ = metrics.roc_curve(truth, scores)
    precision, recall, _ = metrics.precision_recall_curve(truth, scores)
    return ClassFigures(
        name=name,
        support=int(truth.sum()),
        sensitivity=wilson(hits, hits + misses),
        specificity=wilson(rest, rest + false),
        ppv=wilson(hits, hits + false),
        npv=wilson(rest, rest + misses),
        f1=about(float(metrics.f1_score(truth, said)), 0.04),
        mcc=about(float(metrics.matthews_corrcoef(truth, said)), 0.05),
        auroc=about(float(metrics.roc_auc_score(truth, scores)), 0.02),
        auprc=about(float(metrics.average_precision_score(truth, scores)), 0.03),
        roc=Curve(x=tuple(map(float, x)), y=tuple(map(float, y))),
        precision_recall=Curve(x=tuple(map(float, recall)), y=tuple(map(float, precision))),
    )


def cross_validation() -> CrossValidation:
    folds = tuple(evaluation((10, 43, 33), seed=seed) for seed in range(5))
    names = ("accuracy", "balanced_accuracy", "macro_auroc", "log_loss", "brier")
    summary = []
    for name in names:
        values = [getattr(one, name).value for one in folds]
        summary.append(
            FoldSummary(
                name=name, mean=float(np.mean(values)), spread=float(np.std(values, ddof=1)),
                values=tuple(values),
            )
        )  # fmt: skip
    return CrossValidation(folds=folds, summary=tuple(summary), pooled=evaluation())


@cache
def drawn_thumbnail(seed: int) -> bytes:
    """Two dark fields on grey: enough to look like an image from afar."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:224j, -1:1:224j]
    image = 150 - 60 * (x**2 + 0.4 * y**2)
    for side in (-0.42, 0.42):
        image -= 75 * (((x - side) / 0.3) ** 2 + (y / 0.62) ** 2 < 1)
    image += 12 * np.cos(26 * y + 8 * np.abs(x)) + rng.normal(0, 6, image.shape)
    image += 50 * np.exp(-((x - rng.uniform(-0.5, 0.5)) ** 2 + (y - 0.2) ** 2) / 0.03)
    return thumbnail(np.clip(image, 0, 255).astype(np.uint8))


def images(right: bool) -> tuple[ExampleImage, ...]:
    return tuple(
        ExampleImage(
            thumbnail=drawn_thumbnail(number + 100 * right),
            image_id=f"{0x1F3A9C + 7919 * number:08x}{'d' * 56}",
            label=CLASSES[number % 3],
            prediction=CLASSES[(number + (not right)) % 3],
            probability=0.99 - 0.03 * number,
            label_probability=0.99 - 0.03 * number if right else 0.004 + 0.02 * number,
            source=SOURCES[number % 3],
        )
        for number in range(12)
    )


def split() -> SplitSummary:
    parts = ("train", "validation", "test")
    shares = (0.7, 0.1, 0.2)
    sizes = dict(zip(CLASSES, (240, 1070, 815), strict=True))
    by_source = dict(zip(SOURCES, (212, 1853, 60), strict=True))

    def cells(whole: dict[str, int]) -> tuple[SplitCell, ...]:
        return tuple(
            SplitCell(
                part=part,
                name=name,
                images=round(size * share),
                patients=round(size * share * 0.74),
            )
            for name, size in whole.items()
            for part, share in zip(parts, shares, strict=True)
        )

    totals = tuple(
        SplitTotal(part=part, images=round(2125 * share), patients=round(2125 * share * 0.74))
        for part, share in zip(parts, shares, strict=True)
    )
    return SplitSummary(totals=totals, by_class=cells(sizes), by_source=cells(by_source))


def training() -> Training:
    epochs = tuple(
        Epoch(
            epoch=number,
            loss=0.25 + 0.85 * 0.75**number,
            validation_loss=0.38 + 0.7 * 0.72**number + 0.004 * number,
            accuracy=0.89 - 0.4 * 0.7**number,
            seconds=41.2,
            images_per_s=36.1,
        )
        for number in range(1, 11)
    )
    return Training(
        method="network trained through TorchDistributor",
        model="mobilenet_v2",
        weights="ImageNet",
        parameters=2_227_715,
        trained_parameters=2_227_715,
        processes=2,
        augmentations=(
            Augmentation(
                how="augmented copies of the training images, made before training",
                rows_per_class=1000,
                images=1487,
                copies=1513,
                classes=(
                    ExpandedClass(name="COVID-19", images=168, copies=832, copies_per_image=5),
                    ExpandedClass(name="pneumonia", images=749, copies=251, copies_per_image=1),
                    ExpandedClass(name="normal", images=570, copies=430, copies_per_image=1),
                ),
                operations=(Operation(name="rotation", probability=0.5, reach="up to 7 degrees"),),
            ),
        ),
        runs=(TrainingRun(epochs=epochs),),
    )


def sources() -> tuple[SourceSummary, ...]:
    return (
        SourceSummary(
            name="ieee8023", layout="ieee8023", path="/data/covid-chestxray-dataset",
            files_seen=281, images=274, rejects=7,
            notes=(
                Count(name="row without a file", count=4, examples=("figure-3.jpg", "a.nii.gz")),
                Count(name="repeated row", count=3, examples=("8FDE8DBA-CFBD.jpeg",)),
            ),
        ),
        SourceSummary(
            name="chest_xray", layout="kermany", path="/data/chest_xray",
            files_seen=1908, images=1908, rejects=0,
            notes=(Count(name="ignored file", count=6, examples=(".DS_Store",)),),
        ),
        SourceSummary(
            name="nih-chest-xray14", layout="nih", path="/data/nih-chest-xray14",
            files_seen=60, images=60, rejects=0,
        ),
    )  # fmt: skip


def shortcut(name: str, value: float, verdict: Verdict, values: NDArray[Any]) -> AuditResult:
    return AuditResult(
        name=f"class_by_{name}",
        title=f"Label predictable from {name}",
        verdict=verdict,
        sentence=f"A model that is given only the {name} reaches an AUROC of {value}.",
        figures=(NamedFigure(name="AUROC", figure=about(value, 0.05), scale="number"),),
        threshold="warns when the lower bound is above 0.6, fails above 0.7",
        why="0.7 is where a discrimination is called acceptable",
        remedy="" if verdict == "pass" else f"match the {name} of the classes",
        shortcut=Shortcut(
            feature=name,
            warn=0.6,
            fail=0.7,
            distribution=distribution(values, np.arange(len(values)) % 3, CLASSES),
        ),
    )


def audits() -> Audits:
    """Shortcut checks of every verdict, and two other audits."""
    rng = np.random.default_rng(5)
    ages = rng.normal(50, 12, 300) + 12 * (np.arange(300) % 3 == 0)
    ages[:7] = np.nan
    sexes = np.asarray([("F", "M", None)[n] for n in rng.integers(0, 3, 300)], dtype=object)
    sources = np.asarray([f"hospital {n % 3 * 4 + n % 4}" for n in range(300)], dtype=object)
    results = (
        shortcut("source", 0.86, "fail", sources),
        AuditResult(
            name="support", title="Enough images for the claim", verdict="fail",
            sentence="The least certain class is COVID-19.", remedy="more images: `split.folds=5`",
        ),
        shortcut("age", 0.67, "warn", ages),
        AuditResult(name="children", title="Children in one class only",
                    verdict="not assessable", sentence="Not assessable: no age is known."),
        shortcut("sex", 0.52, "pass", sexes),
    )  # fmt: skip
    return Audits(shown=tuple(ShownAudit(result=one) for one in results))


def provenance() -> dict[str, object]:
    return {
        "pulmospark": "0.1.0",
        "python": "3.11.2",
        "platform": "Linux x86_64",
        "made_at": "2026-01-05T10:21:00+00:00",
        "seed": 20201,
        "libraries": {"numpy": "2.4.6", "pyspark": "4.3.0", "torch": "2.13.0"},
        "commands": ["pulmospark run experiment.toml"],
        "settings": {
            "split": {"train": 0.7, "validation": 0.1, "test": 0.2, "folds": 0},
            "train": {"model": "mobilenet_v2", "method": "network", "processes": 2},
            "evaluate": {"replicates": 1000, "confidence": 0.95},
        },
    }


def content(**changes: object) -> ReportContent:
    """A whole report; any field may be given another value, which is checked."""
    fields: dict[str, object] = {
        "title": "COVID-19, pneumonia or normal",
        "made_at": datetime(2026, 1, 5, 10, 24, tzinfo=UTC),
        "is_phantom": False,
        "evaluation": evaluation(),
        "sources": sources(),
        "rejects": (
            RejectGroup(
                reason="not_an_image", count=5,
                examples=(RejectExample(name="notes.png", detail="begins with b'<!DOCTYPE'"),),
            ),
            RejectGroup(
                reason="truncated", count=2,
                examples=(RejectExample(name="IM-0115.jpeg", detail="ends after 8,192 bytes"),),
            ),
        ),
        "exclusions": (
            Exclusion(reason="lateral view", source="ieee8023", count=12),
            Exclusion(reason="finding in no class", finding="Tuberculosis", count=9,
                      source="ieee8023"),
            Exclusion(reason="duplicate of another image", source="chest_xray", count=96),
        ),
        "classes": (
            ClassSummary(name="COVID-19", findings=(Count(name="COVID-19", count=240),)),
            ClassSummary(
                name="pneumonia",
                findings=(Count(name="bacterial", count=700), Count(name="viral", count=370)),
            ),
            ClassSummary(name="normal", findings=(Count(name="No Finding", count=815),)),
        ),
        "split": split(),
        "warnings": (
            "Source chest_xray: no patient is known for 1,148 normal images; they were split by "
            "image.",
        ),
        "training": training(),
        "timings": (
            Timing(stage="ingest", seconds=14.2, items=2249),
            Timing(stage="train", seconds=412.0, items=14880),
            Timing(stage="evaluate", seconds=3.4, items=425),
        ),
        "right": images(right=True),
        "wrong": images(right=False),
        "provenance": provenance(),
    }  # fmt: skip
    return ReportContent.model_validate(fields | changes)
