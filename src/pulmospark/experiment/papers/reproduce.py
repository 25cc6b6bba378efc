"""Reproduce a published experiment on the data at hand, and compare it with the paper."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from pyspark.sql import SparkSession

from pulmospark.config.expand import ExpandSettings
from pulmospark.config.experiment import Experiment
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.config.split import SplitSettings
from pulmospark.core import files
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.records import Record
from pulmospark.core.schemas import Split
from pulmospark.core.store_uri import StoreUri
from pulmospark.data.cohort.split_summary import SplitResult
from pulmospark.evaluation.intervals import wilson
from pulmospark.evaluation.results import Figure
from pulmospark.experiment import pipeline
from pulmospark.experiment.papers.leak import LeakyArm, leaky_arm
from pulmospark.experiment.papers.paper_comparison import beside_paper
from pulmospark.experiment.papers.presets import LAYOUTS, Preset, eighty_twenty
from pulmospark.experiment.run_folder import RunFolder, published
from pulmospark.layouts.registry import data_sets

RESULT = "reproduction.json"
_ENOUGH = 0.97
"""share of the paper's number of images that counts as complete: whole patients are sampled, and
the last one may have more images than are left"""


class Reproduction(Record):
    """A reproduced published experiment."""

    model_config = ConfigDict(frozen=True)

    preset: str
    source: str
    parameters: int
    published: float
    """the paper's accuracy, 0 to 1"""
    published_right: int | None
    published_images: int | None
    published_low: float | None = None
    published_high: float | None = None
    """Wilson's CI of the paper's counts, as though its images were independent"""
    accuracy: Figure
    """ours, with its CI over the tested patients"""
    balanced_accuracy: Figure
    confidence: float
    """of the CIs"""
    groups: int
    """tested patients, or images where no patient is known"""
    phantoms: bool = False
    images: dict[str, dict[str, int]]
    """part -> class -> images; before augmentation"""
    trained_images: int
    """images trained on, including augmented ones"""
    rows_per_class: int | None = None
    """of the training split after augmentation"""
    leak: LeakyArm | None = None
    """the same, split after augmenting as in the paper: metrics that mean nothing"""
    smaller: tuple[str, ...]
    """where the data at hand are smaller than the paper's"""
    guessed: tuple[str, ...]
    """what the paper does not state, and the value used here"""
    warnings: tuple[str, ...] = ()
    """of split and expansion"""
    report: Path


def experiment_of(
    preset: Preset, data: Path, out: Path | StoreUri, *, seed: int, processes: int
) -> Experiment:
    """The preset as an experiment on the data sets of a folder.

    Args:
        preset: which.
        data: folder of the public data sets, side by side.
        out: folder under which the run's folder is made, or its address in a store.
        seed: of the split and the training.
        processes: that train together.

    Raises:
        InputError: a class of the preset has none of its data sets there.
    """
    present = [place for place in data_sets(data) if place.layout.name in LAYOUTS]
    there = {place.layout.name for place in present}
    for name, findings in preset.classes.items():
        wanted = {finding.partition(":")[0] for finding in findings}
        if not wanted & there:
            raise InputError(
                f"{data}: contains no data set with {name!r}: put one of "
                f"{', '.join(sorted(wanted))} there (see `pulmospark layouts`)"
            )
    used = {f.partition(":")[0] for findings in preset.classes.values() for f in findings}
    return Experiment(
        name=preset.name,
        seed=seed,
        out=out,
        sources=tuple(
            SourceSettings(path=place.folder, layout=place.layout.name, name=place.layout.name)
            for place in present
            if place.layout.name in used
        ),
        classes=dict(preset.classes),
        ingest=IngestSettings(size=preset.size, equalise=preset.equalise),
        split=SplitSettings(images=dict(preset.images)),
        train=preset.train.model_copy(update={"processes": processes}),
    )


def reproduce(
    preset: Preset,
    experiment: Experiment,
    run: RunFolder,
    spark: SparkSession,
    *,
    per_class: int | None = None,
    quiet: bool = False,
) -> Reproduction:
    """Run a preset and compare its accuracy with the paper's.

    If the paper splits after augmenting, run the preset twice, with the split first and as in
    the paper, so that the difference shows: see :mod:`pulmospark.experiment.papers.leak`.

    Args:
        preset: which.
        experiment: as :func:`experiment_of` made it.
        run: its folder.
        spark: the session.
        per_class: rows per class after augmentation; ``None``: as many as the paper has, scaled
            down if there are fewer images.
        quiet: show no progress.

    Raises:
        UsageError: ``per_class`` is given, but the preset does not expand.
        ClassError: a class has no image.
        PlatformError: weights are missing.
        TrainingError: a training process failed.
    """
    check_per_class(preset, per_class)
    with published(run):
        return _reproduce(preset, experiment, run, spark, per_class=per_class, quiet=quiet)


def _reproduce(
    preset: Preset,
    experiment: Experiment,
    run: RunFolder,
    spark: SparkSession,
    *,
    per_class: int | None,
    quiet: bool,
) -> Reproduction:
    pipeline.run_ingest(experiment, run, spark, quiet=quiet)
    parted = pipeline.run_split(experiment, run, spark, quiet=quiet)
    images = _images(parted)
    whole = _expansion(preset, images, per_class)
    expand = _of_training(whole) if whole is not None and preset.leaky else whole
    experiment = experiment.model_copy(update={"expand": expand})
    expanded = pipeline.run_expand(experiment, run, spark, quiet=quiet)
    trained = pipeline.run_train(experiment, run, spark, quiet=quiet)
    evaluation = pipeline.run_evaluate(experiment, run, quiet=quiet).evaluation
    if experiment.audit.enabled:
        pipeline.run_audit(experiment, run, spark, quiet=quiet)
    leak = None
    if preset.leaky and whole is not None:
        leak = leaky_arm(experiment, run, spark, expansion=whole, quiet=quiet)
    result = Reproduction(
        **_published(preset, evaluation.confidence),
        parameters=trained.parameters,
        accuracy=evaluation.accuracy,
        balanced_accuracy=evaluation.balanced_accuracy,
        confidence=evaluation.confidence,
        groups=evaluation.groups,
        phantoms=experiment.phantoms,
        images=images,
        trained_images=trained.models[-1].images,
        rows_per_class=expanded.per_class if expanded else None,
        leak=leak,
        smaller=(*_smaller(preset, images), *_fewer_rows(preset, whole, per_class)),
        warnings=(*parted.warnings, *(expanded.warnings if expanded else ())),
        report=run.report,
    )
    files.write_json(run.root / RESULT, result.model_dump(mode="json"))
    files.write_json(run.paper, beside_paper(result).model_dump(mode="json"))
    pipeline.run_report(experiment, run, quiet=quiet)
    return result


def check_per_class(preset: Preset, per_class: int | None) -> None:
    """Refuse ``per_class`` for a preset without augmented copies.

    Raises:
        UsageError: it makes none.
    """
    if per_class is not None and preset.augment is None:
        raise UsageError(f"--per-class: {preset.name} makes no augmented copies: omit the option")


def _expansion(
    preset: Preset, images: dict[str, dict[str, int]], per_class: int | None
) -> ExpandSettings | None:
    """Rows per class: of the training split, or of all images if the preset is leaky."""
    if preset.augment is None:
        return None
    rows = per_class
    if rows is None and preset.doubled:
        rows = preset.doubled * min(images[Split.TRAIN].values())
    if rows is None:
        here = sum(sum(part.values()) for part in images.values())
        share = here / sum(part.total for part in preset.images.values())
        rows = preset.expanded_to if share >= _ENOUGH else round(preset.expanded_to * share)
    return ExpandSettings(per_class=max(rows, 1), augment=preset.augment)


def _of_training(whole: ExpandSettings) -> ExpandSettings:
    """The number of rows per class that the split after augmentation trains on."""
    rows = eighty_twenty(whole.per_class).train
    return whole.model_copy(update={"per_class": rows})


def _fewer_rows(
    preset: Preset, whole: ExpandSettings | None, per_class: int | None
) -> tuple[str, ...]:
    if whole is None or not preset.expanded_to or whole.per_class >= preset.expanded_to:
        return ()
    why = (
        "as requested"
        if per_class is not None
        else "as many per image as in the paper (--full-count makes all)"
    )
    return (
        f"augmentation: {whole.per_class:,} rows per class before the split, the paper has "
        f"{preset.expanded_to:,}; {why}",
    )


def _published(preset: Preset, confidence: float) -> dict[str, Any]:
    """The paper's results."""
    right, images = preset.published.right, preset.published.images
    low = high = None
    if right is not None and images is not None:
        low, high = wilson(right / images, images, confidence)
    return {
        "preset": preset.name,
        "source": preset.source,
        "published": preset.published.accuracy,
        "published_right": right,
        "published_images": images,
        "published_low": low,
        "published_high": high,
        "guessed": preset.guessed,
    }


def _images(parted: SplitResult) -> dict[str, dict[str, int]]:
    images: Counter[tuple[str, str]] = Counter()
    for share in parted.shares:
        images[share.split, share.label] += share.images
    return {
        part.value: {name: images[part.value, name] for name in parted.classes}
        for part in (Split.TRAIN, Split.VALIDATION, Split.TEST)
    }


def _smaller(preset: Preset, images: dict[str, dict[str, int]]) -> tuple[str, ...]:
    notes = []
    for name, wanted in preset.images.items():
        here = sum(part[name] for part in images.values())
        if here < _ENOUGH * wanted.total:
            notes.append(
                f"{name}: {here} images, the paper has {wanted.total}; the proportions of the "
                "splits are kept"
            )
    return tuple(notes)
