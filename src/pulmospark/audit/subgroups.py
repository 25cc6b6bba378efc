"""Whom the model serves worse: accuracy and calibration by sex, age, view and source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from pulmospark.audit.results import AuditResult, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import Subject
from pulmospark.audit.words import counted, percent
from pulmospark.core.arrays import Floats, Ints, Mask
from pulmospark.evaluation.intervals import proportion
from pulmospark.evaluation.results import Figure

AGE_EDGES = (18.0, 40.0, 60.0, 75.0)
"""years at which age bands begin"""

_FILMS_MIN = 10
"""films of a subgroup below which no verdict hangs on it"""


@dataclass(frozen=True)
class Tested:
    """The tested films of a subject and what the model said of them.

    Attributes:
        right: (n,) whether the most probable class is the label.
        confidence: (n,) probability of the most probable class.
        groups: (n,) patient, numbers from 0.
        subgroups: name ("sex: F") -> which films are of it.
    """

    right: Mask
    confidence: Floats
    groups: Ints
    subgroups: dict[str, Mask]


def tested(subject: Subject) -> Tested | None:
    """The tested films; ``None`` where no model was evaluated."""
    if subject.predictions is None:
        return None
    told = subject.predictions
    places = pc.index_in(told["uri"], value_set=subject.rows["uri"].combine_chunks())
    rows = np.asarray(pc.fill_null(places, -1).to_numpy(zero_copy_only=False), np.int64)
    kept = rows >= 0
    rows = rows[kept]
    label = np.asarray(told["label"].to_pylist(), dtype=object)[kept]
    said = np.asarray(told["prediction"].to_pylist(), dtype=object)[kept]
    chances = np.asarray([max(one) for one in told["probability"].to_pylist()])[kept]
    return Tested(
        right=np.asarray(label == said, np.bool_),
        confidence=chances,
        groups=np.unique(subject.groups[rows], return_inverse=True)[1].astype(np.int64),
        subgroups={name: which[rows] for name, which in _subgroups(subject)},
    )


def _subgroups(subject: Subject) -> Iterator[tuple[str, Mask]]:
    for column in ("sex", "view", "source"):
        values = subject.column(column)
        for value in sorted({one for one in values if one is not None}):
            yield f"{column}: {value}", np.asarray(values == value, np.bool_)
    ages = subject.numbers("age")
    bands = np.digitize(ages, AGE_EDGES)
    for band in range(len(AGE_EDGES) + 1):
        which = (bands == band) & ~np.isnan(ages)
        if which.any():
            yield f"age: {_band(band)}", which


def _band(band: int) -> str:
    if band == 0:
        return f"under {AGE_EDGES[0]:g}"
    if band == len(AGE_EDGES):
        return f"{AGE_EDGES[-1]:g} and above"
    return f"{AGE_EDGES[band - 1]:g} to {AGE_EDGES[band] - 1:g}"


def accuracy(subject: Subject, films: Tested | None) -> AuditResult:
    """Whether the accuracy of a subgroup lies clearly below that of all other films."""
    name, title = "subgroups", "Accuracy by sex, age, view and source"
    if films is None:
        return _open(subject, name, title)
    assessable = [
        which
        for which in films.subgroups.values()
        if min(which.sum(), (~which).sum()) >= _FILMS_MIN
    ]
    if not assessable:
        why = f"no subgroup has {_FILMS_MIN} tested images and as many that are not of it"
        return not_assessable(name, title, why, "give the layout columns of sex, age or view")
    figures, gaps = [], {}
    for who, which in films.subgroups.items():
        mine = proportion(films.right, which, films.groups, subject.confidence)
        rest = proportion(films.right, ~which, films.groups, subject.confidence)
        figures.append(
            NamedFigure(name=f"{who} ({counted(int(which.sum()), 'film')})", figure=mine)
        )
        parted = (mine.high or 0.0) < (rest.low or 0.0)
        if which.sum() >= _FILMS_MIN and parted:
            gaps[who] = ((rest.value or 0.0) - (mine.value or 0.0), mine, rest)
    limit = subject.settings.subgroup_gap
    worst = max(gaps, key=lambda who: gaps[who][0], default=None)
    gap = gaps[worst][0] if worst else 0.0
    verdict: Verdict = "fail" if gap > 2 * limit else "warn" if gap > limit else "pass"
    told = "No subgroup falls clearly behind the other films."
    if worst:
        _, mine, rest = gaps[worst]
        told = f"Worst served: {worst}, {percent(mine)} right against {percent(rest)} of the rest."
    return AuditResult(
        name=name,
        title=title,
        verdict=verdict,
        sentence=told,
        figures=_led_by(worst, figures),
        threshold=f"warns where a subgroup of {_FILMS_MIN} films or more lies {limit * 100:.0f} "
        f"points below the rest and the intervals part, fails at {2 * limit * 100:.0f}",
        why="an accuracy over all is carried by the largest subgroup, and hides who is failed",
        remedy=""
        if verdict == "pass"
        else f"more training films of {worst}, and figures of it beside those over all",
    )


def calibration(subject: Subject, films: Tested | None) -> AuditResult:
    """Whether the probabilities of a source or subgroup are far from the share right."""
    name, title = "calibration", "Calibration by source and subgroup"
    if films is None:
        return _open(subject, name, title)
    if not np.isfinite(films.confidence).all():
        return not_assessable(name, title, "a probability of the model is not a number")
    if not any(which.sum() >= _FILMS_MIN for which in films.subgroups.values()):
        return not_assessable(name, title, f"no subgroup has {_FILMS_MIN} tested images")
    figures, gaps = [], {}
    for who, which in films.subgroups.items():
        right = proportion(films.right, which, films.groups, subject.confidence)
        if right.value is None or right.low is None or right.high is None:
            continue
        said = float(films.confidence[which].mean())
        figures.append(
            NamedFigure(
                name=f"{who}: mean probability less share right",
                figure=Figure(
                    value=said - right.value,
                    low=said - right.high,
                    high=said - right.low,
                    method="wilson",
                ),
            )
        )
        if which.sum() >= _FILMS_MIN and not right.low <= said <= right.high:
            gaps[who] = said - right.value
    limit = subject.settings.calibration_gap
    worst = max(gaps, key=lambda who: abs(gaps[who]), default=None)
    gap = abs(gaps[worst]) if worst else 0.0
    verdict: Verdict = "fail" if gap > 2 * limit else "warn" if gap > limit else "pass"
    told = "In no subgroup are the probabilities clearly off the share that is right."
    if worst:
        more = "above" if gaps[worst] > 0 else "below"
        told = f"Furthest off: {worst}, {gap * 100:.1f} points {more} the share that is right."
    return AuditResult(
        name=name,
        title=title,
        verdict=verdict,
        sentence=told,
        figures=_led_by(worst, figures),
        threshold=f"warns where the mean probability of {_FILMS_MIN} films or more lies outside "
        f"the interval of the share right and {limit * 100:.0f} points from it, fails at "
        f"{2 * limit * 100:.0f}",
        why="one temperature serves all; where a source needs another, its probabilities cannot "
        "be read as such",
        remedy=""
        if verdict == "pass"
        else "recalibrate on local films: `pulmospark evaluate BUNDLE TABLE --recalibrate`",
    )


def _led_by(worst: str | None, figures: list[NamedFigure]) -> tuple[NamedFigure, ...]:
    """The figure that the verdict hangs on first, for the table of all audits shows the first."""
    return tuple(sorted(figures, key=lambda one: not (worst and one.name.startswith(worst))))


def _open(subject: Subject, name: str, title: str) -> AuditResult:
    left_out = subject.model_left_out
    if left_out is not None:
        return not_assessable(name, title, left_out.why, left_out.remedy)
    return not_assessable(name, title, "no model was evaluated on these films")
