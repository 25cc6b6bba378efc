"""Films whose files are the same to the byte."""

from __future__ import annotations

import numpy as np

from pulmospark.audit.results import AuditResult, Example, NamedFigure, not_assessable
from pulmospark.audit.subject import Subject
from pulmospark.audit.words import counted
from pulmospark.core import limits
from pulmospark.evaluation.intervals import proportion

TITLE = "Identical files"
_LEFT_OUT = "identical file"
_CONFLICT = "label conflict between identical files"


def audit(subject: Subject) -> AuditResult:
    """Whether one file takes part more than once.

    A file that is trained on and tested on is answered by heart; with two labels it teaches
    nothing. ``split`` leaves copies out, so a cohort passes; a bare table may not.
    """
    ids = subject.column("image_id")
    if any(one is None for one in ids):
        why = "the hash of a file's content is not known of every image"
        return not_assessable("exact_duplicates", TITLE, why, "ingest the images again")
    _, codes, counts = np.unique(ids.astype(str), return_inverse=True, return_counts=True)
    twice = counts[codes] > 1
    left_out = subject.left_out or {}
    copies, conflicts = left_out.get(_LEFT_OUT, 0), left_out.get(_CONFLICT, 0)
    figure = proportion(twice, None, subject.groups, subject.confidence)
    told = (
        f"{counted(copies, 'further copy', 'further copies')} of a file and "
        f"{counted(conflicts, 'film')} of files with two classes were left out by the split."
        if copies or conflicts
        else "No file lies twice among the films."
    )
    if twice.any():
        told = f"{counted(int(twice.sum()), 'film')} take part whose file another film has too."
    return AuditResult(
        name="exact_duplicates",
        title=TITLE,
        verdict="fail" if twice.any() else "pass",
        sentence=told,
        figures=(NamedFigure(name="films with an identical file", figure=figure),),
        threshold="fails when a file takes part twice",
        why="a copy adds no information, and between training and test it is a leak",
        remedy="let `pulmospark split` make the cohort: it keeps one of each" * bool(twice.any()),
        examples=_examples(subject, codes, counts),
    )


def _examples(subject: Subject, codes: np.ndarray, counts: np.ndarray) -> tuple[Example, ...]:
    found = []
    for code in np.flatnonzero(counts > 1)[: limits.AUDIT_EXAMPLES_MAX]:
        rows = np.flatnonzero(codes == code)[: limits.AUDIT_EXAMPLE_FILMS_MAX]
        found.append(
            Example(
                caption="identical to the byte",
                films=tuple(subject.film(int(row)) for row in rows),
            )
        )
    return tuple(found)
