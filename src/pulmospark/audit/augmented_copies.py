"""Audit of augmented copies: whether each is in the same split and fold as its parent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.audit.results import AuditResult, Example, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import Subject
from pulmospark.chunks.parts import parts_of
from pulmospark.core import limits
from pulmospark.core.counts import counted
from pulmospark.core.schemas import Split
from pulmospark.evaluation.intervals import proportion

AUGMENTED = ("augmented", "Augmented copies separated from their parent")
_COLUMNS = ["parent_uri", "split", "fold"]


def audit(subject: Subject) -> AuditResult:
    """Whether an augmented copy is in another split or fold than its parent.

    Data sets augmented before splitting leak training images into the test set; the papers that
    did so report accuracies near 100 %.
    """
    name, title = AUGMENTED
    if not subject.has_split:
        return not_assessable(name, title, "there is no split", "run `pulmospark split` first")
    if subject.expanded is None:
        return AuditResult(
            name=name,
            title=title,
            verdict="pass",
            sentence="No table of augmented images was used; augmentation during training uses "
            "training images only.",
        )
    parents, moved = _separated(subject, subject.expanded)
    if not parents:
        return not_assessable(name, title, "the expanded table holds no augmented copy")
    # Copies of one parent are correlated: each parent is one group.
    _, groups = np.unique(np.asarray(parents), return_inverse=True)
    figure = proportion(np.asarray(moved), None, groups.astype(np.int64), subject.confidence)
    separated = [parent for parent, away in zip(parents, moved, strict=True) if away]
    places = {uri: row for row, uri in enumerate(subject.rows["uri"].to_pylist())}
    verdict: Verdict = "fail" if separated else "pass"
    shown = [uri for uri in dict.fromkeys(separated) if uri in places][: limits.AUDIT_EXAMPLES_MAX]
    return AuditResult(
        name=name,
        title=title,
        verdict=verdict,
        sentence=f"{len(separated):,} of "
        f"{counted(len(parents), 'augmented copy', 'augmented copies')} are not in the same "
        "training split and fold as their parent.",
        figures=(NamedFigure(name="augmented copies separated from their parent", figure=figure),),
        threshold="fails at the first such copy",
        why="an augmented copy is nearly its parent: a test on it measures memorisation",
        remedy="split first, and run `pulmospark expand` on that split" if separated else "",
        examples=tuple(
            Example(caption="parent of a separated copy", images=(subject.image(places[uri]),))
            for uri in shown
        ),
    )


def _separated(subject: Subject, table: Path) -> tuple[list[str], list[bool]]:
    """The parent of each copy, and whether the copy is in another split or fold than it."""
    columns = (subject.rows[name].to_pylist() for name in ("uri", "split", "fold"))
    home = {uri: (split, fold) for uri, split, fold in zip(*columns, strict=True)}
    parents: list[str] = []
    moved: list[bool] = []
    for batch in _batches(table):
        copies = (batch[name].to_pylist() for name in _COLUMNS)
        for parent, split, fold in zip(*copies, strict=True):
            if parent is not None:
                parents.append(parent)
                there = home.get(parent)
                moved.append(there != (Split.TRAIN.value, fold) or split != Split.TRAIN.value)
    return parents, moved


def _batches(table: Path) -> Iterator[pa.RecordBatch]:
    for part in parts_of(table):
        with pq.ParquetFile(part) as file:
            yield from file.iter_batches(65_536, columns=_COLUMNS)
