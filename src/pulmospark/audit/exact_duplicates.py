"""Audit of byte-identical files."""

from __future__ import annotations

import numpy as np

from pulmospark.audit.results import AuditResult, Example, NamedFigure, not_assessable
from pulmospark.audit.subject import Subject
from pulmospark.core import limits
from pulmospark.core.counts import counted
from pulmospark.evaluation.intervals import proportion

IDENTICAL = ("exact_duplicates", "Identical files")
_DUPLICATE = "identical file"
_CONFLICT = "label conflict between identical files"


def audit(subject: Subject) -> AuditResult:
    """Whether a file is used more than once.

    A file in both training and test set leaks its label; one with two labels is noise. ``split``
    excludes duplicates, so a cohort passes; a bare table may not.
    """
    ids = subject.column("image_id")
    if any(image_id is None for image_id in ids):
        why = "not every image has a content hash"
        return not_assessable(*IDENTICAL, why, "ingest the images again")
    _, codes, counts = np.unique(ids.astype(str), return_inverse=True, return_counts=True)
    twice = counts[codes] > 1
    excluded = subject.left_out or {}
    copies, conflicts = excluded.get(_DUPLICATE, 0), excluded.get(_CONFLICT, 0)
    figure = proportion(twice, None, subject.groups, subject.confidence)
    sentence = (
        f"The split excluded {counted(copies, 'duplicate')} and "
        f"{counted(conflicts, 'image')} with conflicting labels."
        if copies or conflicts
        else "There are no duplicate files."
    )
    if twice.any():
        sentence = f"{counted(int(twice.sum()), 'image')} share a file with another image."
    return AuditResult(
        name=IDENTICAL[0],
        title=IDENTICAL[1],
        verdict="fail" if twice.any() else "pass",
        sentence=sentence,
        figures=(NamedFigure(name="images with an identical file", figure=figure),),
        threshold="fails when a file is used twice",
        why="a duplicate adds no information, and leaks if it spans training and test set",
        remedy="build the cohort with `pulmospark split`: it keeps one of "
        "each" * bool(twice.any()),
        examples=_examples(subject, codes, counts),
    )


def _examples(subject: Subject, codes: np.ndarray, counts: np.ndarray) -> tuple[Example, ...]:
    examples = []
    for code in np.flatnonzero(counts > 1)[: limits.AUDIT_EXAMPLES_MAX]:
        rows = np.flatnonzero(codes == code)[: limits.AUDIT_EXAMPLE_IMAGES_MAX]
        examples.append(
            Example(
                caption="byte-identical",
                images=tuple(subject.image(int(row)) for row in rows),
            )
        )
    return tuple(examples)
