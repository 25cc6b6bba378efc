"""Summary of a split, computed from its cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict

from pulmospark.config.split import SplitSettings
from pulmospark.core import files, hashing
from pulmospark.core.counts import counted
from pulmospark.core.errors import ClassError, InputError
from pulmospark.core.records import Record
from pulmospark.core.schemas import Split

_NAMED = 5
"""Maximum number of patients that a warning names."""


class Share(Record):
    """Number of images and groups of one class of one source in one split."""

    model_config = ConfigDict(frozen=True)

    split: str
    fold: int | None
    label: str
    source: str
    images: int
    groups: int
    """units kept in one split: patients, images of unknown ones, or several joined by near copies;
    one with images of two classes counts in both"""


class Exclusion(Record):
    """Number of images of one source that were excluded for one reason."""

    model_config = ConfigDict(frozen=True)

    source: str
    reason: str
    images: int


class NameGrouping(Record):
    """Grouping of a source's images without a known patient."""

    model_config = ConfigDict(frozen=True)

    source: str
    images: int
    """included images without a patient id"""
    grouped: int
    """of these: images grouped by a study, a scan or a name"""
    groups: int
    """their number of groups, before near copies merge some; an ungrouped image is one"""


class CopiesHandled(Record):
    """How a split handled near copies, and the effect."""

    model_config = ConfigDict(frozen=True)

    how: Literal["together", "drop"]
    pairs: int
    across: int
    """pairs of images in two groups, which a split could have separated"""
    images: int
    """images with a near copy"""
    clusters: int
    groups_before: int
    """patients, and groups of images of unknown ones"""
    groups_after: int
    tested: int
    """test images of the split if it had ignored near copies"""
    tested_with_copy: int
    """of these: images with a near copy in the training split"""
    distance: int
    """bits of the perceptual hash up to which images were compared"""


class SplitResult(Record):
    """The result of a split."""

    model_config = ConfigDict(frozen=True)

    cohort: Path
    cohort_id: str
    """the same only for the same images, classes, settings, seed, splits and folds"""
    classes: tuple[str, ...]
    findings: dict[str, tuple[str, ...]] | None = None
    """class -> findings, as configured; empty: every finding is a class; ``None``: from an older
    version, which did not record them"""
    images: int
    excluded: int
    folds: int
    shares: tuple[Share, ...]
    exclusions: tuple[Exclusion, ...]
    warnings: tuple[str, ...]
    views: tuple[str, ...] = ()
    """included views; empty: from an older version, which did not record them"""
    name_groups: tuple[NameGrouping, ...] = ()
    """of each source with images of unknown patients"""
    copies: CopiesHandled | None = None
    """``None``: near copies were ignored"""


def read_split(target: Path) -> SplitResult:
    """The result of the last split into ``target``.

    Raises:
        InputError: there is none.
    """
    if not (target / "split.json").is_file():
        raise InputError(f"{target}: not split yet: run `pulmospark split` first")
    return SplitResult.model_validate(files.read_json(target / "split.json")["result"])


def summary(
    cohort: pa.Table,
    target: Path,
    classes: Mapping[str, Sequence[str]],
    *,
    settings: SplitSettings,
    seed: int,
) -> SplitResult:
    """Counts, warnings and id of a cohort.

    Args:
        cohort: the table, all rows.
        target: its folder.
        classes: class -> findings.
        settings: of the split.
        seed: of the assignment.
    """
    used = cohort.filter(pc.is_null(cohort["reason"]))
    keys = ["split", "fold", "label", "source"]
    shares = used.group_by(keys).aggregate([("uri", "count"), ("group_id", "count_distinct")])
    excluded = cohort.filter(pc.is_valid(cohort["reason"]))
    exclusions = excluded.group_by(["source", "reason"]).aggregate([("uri", "count")])
    named = tuple(classes) or tuple(sorted(set(used["label"].to_pylist())))
    identity = [_places(used), settings.model_dump(mode="json"), dict(classes), seed]
    return SplitResult(
        cohort=target,
        cohort_id=hashing.value_id(identity),
        classes=named,
        findings={name: tuple(wanted) for name, wanted in classes.items()},
        images=used.num_rows,
        excluded=excluded.num_rows,
        folds=settings.folds,
        shares=tuple(
            sorted(
                (
                    Share(
                        images=row["uri_count"],
                        groups=row["group_id_count_distinct"],
                        **{key: row[key] for key in keys},
                    )
                    for row in shares.to_pylist()
                ),
                key=lambda share: (share.split, share.fold or 0, share.label, share.source),
            )
        ),
        exclusions=tuple(
            sorted(
                (
                    Exclusion(source=row["source"], reason=row["reason"], images=row["uri_count"])
                    for row in exclusions.to_pylist()
                ),
                key=lambda group: (group.source, -group.images, group.reason),
            )
        ),
        warnings=tuple(_warnings(used)),
        views=settings.views,
    )


def _places(used: pa.Table) -> list[tuple[str, str, str, str, int]]:
    """Image, class, group, split and fold (-1: none) of each image, in the order of the images.

    The first image stands for its group: the group's name depends on the source's name or, for
    DICOM, on the run's secret.
    """
    names = ("image_id", "label", "group_id", "split", "fold")
    rows = sorted(
        zip(*(used[name].to_pylist() for name in names), strict=True), key=lambda row: row[0]
    )
    first: dict[str, str] = {}
    for image_id, _, group, _, _ in rows:
        first.setdefault(group, image_id)
    return [
        (image_id, label, first[group], split, -1 if fold is None else fold)
        for image_id, label, group, split, fold in rows
    ]


def _warnings(used: pa.Table) -> list[str]:
    sentences = _unknown_patients(used)
    known = used.filter(pc.is_valid(used["patient_id"])).group_by("patient_id")
    labels = known.aggregate([("label", "distinct")]).to_pylist()
    several = sorted(
        (row["patient_id"], sorted(row["label_distinct"]))
        for row in labels
        if len(row["label_distinct"]) > 1
    )
    if several:
        names = ", ".join(f"{who} ({' and '.join(them)})" for who, them in several[:_NAMED])
        more = f" and {len(several) - _NAMED:,} more" if len(several) > _NAMED else ""
        sentences.append(
            f"{len(several):,} patient{'s have' if len(several) > 1 else ' has'} images of more "
            f"than one class, kept in the same split: {names}{more}"
        )
    return sentences


def grouping_sentences(result: SplitResult) -> tuple[str, ...]:
    """Sentences on how the split grouped patients and near copies, and at what cost."""
    sentences = [
        f"Source {grouping.source!r}: {grouping.images:,} images have no patient id; study, scan "
        f"or name group {grouping.grouped:,} of them, {grouping.groups:,} groups in all."
        for grouping in result.name_groups
        if grouping.grouped
    ]
    if result.copies is not None:
        sentences.append(_copies_sentence(result.copies))
    return tuple(sentences)


def _copies_sentence(copies: CopiesHandled) -> str:
    if not copies.pairs:
        return "No near copies were found."
    pairs = (
        f"{counted(copies.pairs, 'pair')} of near copies ({counted(copies.images, 'image')} in "
        f"{counted(copies.clusters, 'cluster')}), {copies.across:,} of them between groups"
    )
    fewer = copies.groups_before - copies.groups_after
    if copies.how == "together":
        done = (
            f"{pairs}, {'is' if copies.pairs == 1 else 'are'} kept in the same split: "
            f"{counted(copies.groups_before, 'group')} become {copies.groups_after:,}"
        )
        cost = (
            f"The cost is {counted(fewer, 'fewer independent group')}, and correspondingly wider "
            "CIs."
        )
    else:
        done = f"{pairs}: one image per cluster is kept, none where classes differ"
        cost = f"The cost is {counted(fewer, 'group')} without an image."
    share = f" ({copies.tested_with_copy / copies.tested:.1%})" if copies.tested else ""
    return (
        f"{done}. Without this {copies.tested_with_copy:,} of {copies.tested:,} tested "
        f"images{share} would have a near copy in the training split. {cost}"
    )


def _unknown_patients(used: pa.Table) -> list[str]:
    """A sentence for each source with images of unknown patients."""
    sizes = used.group_by("group_id").aggregate([([], "count_all")])
    several = sizes.filter(pc.greater(sizes["count_all"], 1))["group_id"]
    unknown = used.filter(pc.is_null(used["patient_id"]))
    grouped = pc.is_in(unknown["group_id"], value_set=several.combine_chunks())
    unknown = unknown.append_column("grouped", grouped.cast(pa.int64()))
    counts = unknown.group_by("source").aggregate([([], "count_all"), ("grouped", "sum")])
    return [
        f"source {row['source']!r}: {row['count_all']:,} images have no patient id. Study, scan, "
        f"names and near copies keep {row['grouped_sum']:,} of them in the same split as others; "
        "the rest is split by image, so images of one patient may be on both sides"
        for row in sorted(counts.to_pylist(), key=str)
    ]


def check_classes(result: SplitResult) -> None:
    """Refuse a cohort that cannot be trained or tested on.

    Raises:
        ClassError: a class has no image, or a split or fold lacks one.
    """
    images = dict.fromkeys(result.classes, 0)
    for share in result.shares:
        images[share.label] += share.images
    left = "; ".join(f"{e.images} of {e.source}: {e.reason}" for e in result.exclusions[:6])
    hint = f"compare the classes with the excluded findings ({left or 'none'})"
    if empty := [name for name, count in images.items() if not count]:
        raise ClassError(f"no image is of class {', '.join(map(repr, empty))}: {hint}")
    if not images:
        raise ClassError(f"no image has a class: {hint}")
    if len(images) < 2:
        raise ClassError(f"only one class, {', '.join(map(repr, images)) or 'none'}: {hint}")
    for name, shares in _parts(result):
        present = {share.label for share in shares}
        if missing := [label for label in result.classes if label not in present]:
            totals = ", ".join(f"{label}: {images[label]:,} images in all" for label in missing)
            raise ClassError(
                f"{name} has no image of {', '.join(map(repr, missing))} ({totals}): use fewer "
                "folds, other shares, or more patients of the class"
            )


def _parts(result: SplitResult) -> list[tuple[str, list[Share]]]:
    if result.folds:
        return [
            (f"fold {fold + 1}", [share for share in result.shares if share.fold == fold])
            for fold in range(result.folds)
        ]
    return [
        (name, [share for share in result.shares if share.split == name])
        for name in (Split.TRAIN.value, Split.TEST.value)
    ]
