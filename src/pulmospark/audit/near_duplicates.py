"""Audits of near copies (resized, cropped, grey levels changed) across splits and sources."""

from __future__ import annotations

import numpy as np

from pulmospark.audit.phrasing import percent
from pulmospark.audit.results import AuditResult, Example, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import Subject
from pulmospark.core import limits
from pulmospark.core.arrays import Ints, Mask
from pulmospark.core.counts import counted
from pulmospark.data.duplicates.near_duplicates import NearCopies
from pulmospark.evaluation.intervals import proportion

_HOW = (
    "candidates: perceptual hashes within {} of 64 bits; copies: aligned images with a "
    "correlation of at least {:g}"
)
NEAR = ("near_duplicates", "Near copies")
CONFLICT = ("label_conflict", "Copies with conflicting labels")
_TOGETHER = (
    "keep copies in the same split: `--set split.copies=together`, or `--set split.copies=drop`"
)


def audit(subject: Subject, copies: NearCopies) -> AuditResult:
    """How many images are copies of others, and how many test images have a copy in training.

    Not assessable where fewer than two patients exist, or where an incomplete search found no
    copy.
    """
    if np.unique(subject.patients).size < 2:
        return not_assessable(*NEAR, "there are no two patients to compare")
    between, together = _between_patients(subject, copies)
    first, second = copies.first[between], copies.second[between]
    leaking = subject.leaks(first, second)
    tested = subject.tested
    leaked = np.zeros(subject.rows.num_rows, bool)
    leaked[first[leaking]] = leaked[second[leaking]] = True
    leaked &= tested
    twin = np.zeros(subject.rows.num_rows, bool)
    twin[first] = twin[second] = True
    share = proportion(twin, None, subject.groups, subject.confidence)
    figures = [NamedFigure(name="images with a copy in another patient", figure=share)]
    sentence = _sentence(subject, copies, between, together)
    if subject.has_split and tested.any():
        share = proportion(leaked, tested, subject.groups, subject.confidence)
        figures.insert(0, NamedFigure(name="test images with a copy in training", figure=share))
        sentence += f" Of the test images, {percent(share)} have a copy in the training set."
    verdict: Verdict = "warn" if (between & ~together).any() else "pass"
    if (share.value or 0.0) > subject.settings.leak_share:
        verdict = "fail"
    if verdict == "pass" and (unsearched := _unsearched(subject, copies)):
        return not_assessable(*NEAR, f"{unsearched}; no copy among the others")
    return AuditResult(
        name=NEAR[0],
        title=NEAR[1],
        verdict=verdict,
        sentence=sentence,
        figures=tuple(figures),
        threshold=_threshold(subject),
        why="a test image that is also in training measures memorisation: it can inflate accuracy "
        "by the share of such images, and papers report differences of one point",
        remedy=_TOGETHER if verdict != "pass" else "",
        examples=_examples(subject, copies, between),
    )


def conflicts(subject: Subject, copies: NearCopies) -> AuditResult:
    """How many images have a copy with another label; needs two classes and a complete search."""
    labels = subject.labels
    if np.unique(labels[labels >= 0]).size < 2:
        return not_assessable(*CONFLICT, "fewer than two classes have images")
    first, second = copies.first, copies.second
    if not subject.has_split:  # labels of different sources are not mapped to classes yet
        sources = subject.column("source")
        same = np.asarray(sources[first] == sources[second], np.bool_)
        first, second = first[same], second[same]
    differ = (labels[first] != labels[second]) & (labels[first] >= 0) & (labels[second] >= 0)
    odd = np.zeros(subject.rows.num_rows, bool)
    odd[first[differ]] = odd[second[differ]] = True
    figure = proportion(odd, None, subject.groups, subject.confidence)
    over = (figure.value or 0.0) > subject.settings.conflict_share
    verdict: Verdict = "pass" if not odd.any() else "fail" if over else "warn"
    if verdict == "pass" and (unsearched := _unsearched(subject, copies)):
        return not_assessable(*CONFLICT, f"{unsearched}; no conflict among the others")
    return AuditResult(
        name=CONFLICT[0],
        title=CONFLICT[1],
        verdict=verdict,
        sentence=f"{counted(int(odd.sum()), 'image')} of {subject.rows.num_rows:,} have a copy "
        "with another label.",
        figures=(NamedFigure(name="images with a copy with another label", figure=figure),),
        threshold="warns at the first such image, fails above "
        f"{subject.settings.conflict_share:.1%}",
        why="one of the two labels is wrong; half a percent of wrong labels distorts every metric "
        "by as much",
        remedy="" if verdict == "pass" else "drop them: `--set split.copies=drop`",
        examples=_examples(subject, copies, _among(copies, first[differ], second[differ])),
    )


def _unsearched(subject: Subject, copies: NearCopies) -> str:
    """What the search did not cover, as text; empty if it was complete."""
    configured = subject.settings.hash_distance
    if copies.hot_buckets:
        return (
            f"{counted(copies.hot_buckets, 'bucket')} of images with nearly the same hash "
            f"{'was' if copies.hot_buckets == 1 else 'were'} not searched"
        )
    if copies.distance < configured:
        return (
            f"hashes were compared within {copies.distance} bits only, not {configured} "
            "(audit.pairs_max)"
        )
    return ""


def _among(copies: NearCopies, first: Ints, second: Ints) -> Mask:
    """Which pairs of a search are among these."""
    images = copies.clusters.size
    return np.isin(copies.first * images + copies.second, first * images + second)


def _between_patients(subject: Subject, copies: NearCopies) -> tuple[Mask, Mask]:
    """Pairs of different patients, and pairs in the same group of the split.

    Images of one patient stay in the same split, so they may be similar.
    """
    apart, together = (
        np.asarray(numbers[copies.first] == numbers[copies.second], np.bool_)
        for numbers in (subject.patients, subject.groups)
    )
    return ~apart, together


def _threshold(subject: Subject) -> str:
    settings = subject.settings
    of = "test images" if subject.has_split else "images, which a split may separate"
    how = _HOW.format(settings.hash_distance, settings.copy_correlation)
    separated = " not kept in the same split" * subject.has_split
    return (
        f"warns at the first copy in another patient{separated}, fails above "
        f"{settings.leak_share:.1%} of the {of}; {how}"
    )


def _sentence(
    subject: Subject,
    copies: NearCopies,
    between: Mask,
    together: Mask,
) -> str:
    if not copies.first.size:
        return f"No near copies among {counted(subject.rows.num_rows, 'image')}."
    sizes = np.bincount(copies.clusters)
    sources = subject.column("source")
    across = sources[copies.first] != sources[copies.second]
    left, kept = copies.hot_buckets, int((between & together).sum())
    configured = subject.settings.hash_distance
    nearer = (
        f" So many images are similar that hashes were compared within {copies.distance} bits "
    )
    nearer += f"only, not {configured} (audit.pairs_max)."
    return (
        f"{counted(copies.first.size, 'pair')} in {counted(int((sizes > 1).sum()), 'cluster')}, "
        f"the largest of {counted(int(sizes.max()), 'image')}; {int(across.sum()):,} across "
        f"sources, {int(between.sum()):,} across patients"
        + f", {kept:,} of these kept in the same split" * bool(kept)
        + "."
        + f" {counted(left, 'bucket')} of images with nearly the same hash were not searched."
        * bool(left)
        + nearer * (copies.distance < configured)
    )


def _examples(subject: Subject, copies: NearCopies, which: Mask) -> tuple[Example, ...]:
    """Pairs that leak first, then pairs across sources, each most alike first; one per cluster."""
    rows = np.flatnonzero(which)
    first, second = copies.first[rows], copies.second[rows]
    leak = subject.leaks(first, second)
    sources = subject.column("source")
    across = np.asarray(sources[first] != sources[second], np.bool_)
    order = np.lexsort((-copies.correlation[rows], ~across, ~leak))
    seen: set[int] = set()
    examples = []
    for place in order:
        cluster = int(copies.clusters[first[place]])
        if cluster in seen:
            continue
        seen.add(cluster)
        pair = (int(first[place]), int(second[place]))
        examples.append(
            Example(
                caption=f"correlation {copies.correlation[rows[place]]:.3f}",
                images=tuple(subject.image(row) for row in pair),
            )
        )
        if len(examples) == limits.AUDIT_EXAMPLES_MAX:
            break
    return tuple(examples)
