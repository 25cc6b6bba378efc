"""Augmented copies: whether each is trained on only where its parent is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.audit.results import AuditResult, Example, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import Subject
from pulmospark.audit.words import counted
from pulmospark.core import limits
from pulmospark.core.tables import Split
from pulmospark.evaluation.intervals import proportion
from pulmospark.spark.chunks import parts_of

_COLUMNS = ["parent_uri", "split", "fold"]


def audit(subject: Subject) -> AuditResult:
    """Whether a child stands in another part or fold than its parent.

    Sets that were augmented before they were split test on what was trained on; the papers that
    did so report accuracies near 100 %.
    """
    name, title = "augmented", "Augmented copies apart from their parent"
    if not subject.has_split:
        return not_assessable(name, title, "there is no split", "make one: `pulmospark split`")
    if subject.expanded is None:
        return AuditResult(
            name=name,
            title=title,
            verdict="pass",
            sentence="No table of augmented films was trained on; what is augmented within the "
            "training is made of training films alone.",
        )
    home = {
        uri: (split, fold)
        for uri, split, fold in zip(
            subject.rows["uri"].to_pylist(),
            subject.rows["split"].to_pylist(),
            subject.rows["fold"].to_pylist(),
            strict=True,
        )
    }
    places = {uri: row for row, uri in enumerate(subject.rows["uri"].to_pylist())}
    parents: list[str] = []
    moved: list[bool] = []
    for batch in _batches(subject.expanded):
        columns = [batch[name].to_pylist() for name in _COLUMNS]
        for parent, split, fold in zip(*columns, strict=True):
            if parent is None:
                continue
            there = home.get(parent)
            trained = there is not None and there[0] == Split.TRAIN.value
            parents.append(parent)
            moved.append(
                not trained or (there is not None and there[1] != fold) or split != "train"
            )
    if not parents:
        return not_assessable(name, title, "the expanded table holds no augmented copy")
    # Copies of one image stand or fall together.
    _, groups = np.unique(np.asarray(parents), return_inverse=True)
    figure = proportion(np.asarray(moved), None, groups.astype(np.int64), subject.confidence)
    children = len(parents)
    apart = [parent for parent, away in zip(parents, moved, strict=True) if away]
    verdict: Verdict = "fail" if apart else "pass"
    shown = [uri for uri in dict.fromkeys(apart) if uri in places][: limits.AUDIT_EXAMPLES_MAX]
    return AuditResult(
        name=name,
        title=title,
        verdict=verdict,
        sentence=f"{counted(len(apart), 'child', 'children')} of {children:,} not where the film "
        "they were made from is trained on.",
        figures=(NamedFigure(name="children apart from their parent", figure=figure),),
        threshold="fails at the first",
        why="a child is its parent, turned a little: tested on, it is answered by heart",
        remedy="split first, and run `pulmospark expand` on that split" if apart else "",
        examples=tuple(
            Example(caption="parent of a child elsewhere", films=(subject.film(places[uri]),))
            for uri in shown
        ),
    )


def _batches(table: Path) -> Iterator[pa.RecordBatch]:
    for part in parts_of(table):
        with pq.ParquetFile(part) as file:
            yield from file.iter_batches(65_536, columns=_COLUMNS)
