"""Audits of subgroups: accuracy and calibration by sex, age, view and source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from pulmospark.audit.phrasing import percent
from pulmospark.audit.results import AuditResult, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import Subject
from pulmospark.core.arrays import Floats, Ints, Mask
from pulmospark.core.counts import counted
from pulmospark.evaluation.intervals import proportion
from pulmospark.evaluation.results import Figure

ACCURACY = ("subgroups", "Accuracy by sex, age, view and source")
CALIBRATION = ("calibration", "Calibration by source and subgroup")
AGE_EDGES = (18.0, 40.0, 60.0, 75.0)
"""years at which age bands begin"""

_IMAGES_MIN = 10
"""minimum number of images of a subgroup for a verdict"""


@dataclass(frozen=True)
class Tested:
    """The test images of a subject and their predictions.

    Attributes:
        right: (n,) whether the most probable class is the label.
        confidence: (n,) probability of the most probable class.
        groups: (n,) patient, numbers from 0.
        subgroups: name ("sex: F") -> which images are of it.
    """

    right: Mask
    confidence: Floats
    groups: Ints
    subgroups: dict[str, Mask]


def tested(subject: Subject) -> Tested | None:
    """The tested images; ``None`` where no model was evaluated."""
    if subject.predictions is None:
        return None
    predictions = subject.predictions
    places = pc.index_in(predictions["uri"], value_set=subject.rows["uri"].combine_chunks())
    rows = np.asarray(pc.fill_null(places, -1).to_numpy(zero_copy_only=False), np.int64)
    kept = rows >= 0
    rows = rows[kept]
    label = np.asarray(predictions["label"].to_pylist(), dtype=object)[kept]
    predicted = np.asarray(predictions["prediction"].to_pylist(), dtype=object)[kept]
    top = np.asarray([max(row) for row in predictions["probability"].to_pylist()])[kept]
    return Tested(
        right=np.asarray(label == predicted, np.bool_),
        confidence=top,
        groups=np.unique(subject.groups[rows], return_inverse=True)[1].astype(np.int64),
        subgroups={name: which[rows] for name, which in _subgroups(subject)},
    )


def _subgroups(subject: Subject) -> Iterator[tuple[str, Mask]]:
    for column in ("sex", "view", "source"):
        values = subject.column(column)
        for value in sorted({value for value in values if value is not None}):
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


def accuracy(subject: Subject, images: Tested | None) -> AuditResult:
    """Whether the accuracy of a subgroup is significantly below that of all other images."""
    name, title = ACCURACY
    if images is None:
        return _no_predictions(subject, name, title)
    assessable = [
        which
        for which in images.subgroups.values()
        if min(which.sum(), (~which).sum()) >= _IMAGES_MIN
    ]
    if not assessable:
        why = f"no subgroup has {_IMAGES_MIN} test images with as many outside it"
        return not_assessable(name, title, why, "add columns for sex, age or view to the layout")
    figures, gaps = [], {}
    for who, which in images.subgroups.items():
        mine = proportion(images.right, which, images.groups, subject.confidence)
        rest = proportion(images.right, ~which, images.groups, subject.confidence)
        figures.append(
            NamedFigure(name=f"{who} ({counted(int(which.sum()), 'image')})", figure=mine)
        )
        separated = (mine.high or 0.0) < (rest.low or 0.0)
        if which.sum() >= _IMAGES_MIN and separated:
            gaps[who] = ((rest.value or 0.0) - (mine.value or 0.0), mine, rest)
    limit = subject.settings.subgroup_gap
    worst = max(gaps, key=lambda who: gaps[who][0], default=None)
    gap = gaps[worst][0] if worst else 0.0
    verdict: Verdict = "fail" if gap > 2 * limit else "warn" if gap > limit else "pass"
    sentence = "No subgroup has a significantly lower accuracy."
    if worst:
        _, mine, rest = gaps[worst]
        sentence = f"Lowest accuracy: {worst}, {percent(mine)}; the rest, {percent(rest)}."
    return AuditResult(
        name=name,
        title=title,
        verdict=verdict,
        sentence=sentence,
        figures=_led_by(worst, figures),
        threshold=f"warns where a subgroup of {_IMAGES_MIN} images or more is {limit * 100:.0f} "
        f"points below the rest and the CIs do not overlap, fails at {2 * limit * 100:.0f}",
        why="the largest subgroup dominates the overall accuracy, which hides poor subgroups",
        remedy=""
        if verdict == "pass"
        else f"add training images of {worst}, and report its metrics separately",
    )


def calibration(subject: Subject, images: Tested | None) -> AuditResult:
    """Whether the probabilities of a source or subgroup are far from its accuracy."""
    name, title = CALIBRATION
    if images is None:
        return _no_predictions(subject, name, title)
    if not np.isfinite(images.confidence).all():
        return not_assessable(name, title, "a probability of the model is not finite")
    if not any(which.sum() >= _IMAGES_MIN for which in images.subgroups.values()):
        return not_assessable(name, title, f"no subgroup has {_IMAGES_MIN} test images")
    figures, gaps = [], {}
    for who, which in images.subgroups.items():
        right = proportion(images.right, which, images.groups, subject.confidence)
        if right.value is None or right.low is None or right.high is None:
            continue
        mean_top = float(images.confidence[which].mean())
        figures.append(
            NamedFigure(
                name=f"{who}: mean probability minus accuracy",
                figure=Figure(
                    value=mean_top - right.value,
                    low=mean_top - right.high,
                    high=mean_top - right.low,
                    method="wilson",
                ),
            )
        )
        if which.sum() >= _IMAGES_MIN and not right.low <= mean_top <= right.high:
            gaps[who] = mean_top - right.value
    limit = subject.settings.calibration_gap
    worst = max(gaps, key=lambda who: abs(gaps[who]), default=None)
    gap = abs(gaps[worst]) if worst else 0.0
    verdict: Verdict = "fail" if gap > 2 * limit else "warn" if gap > limit else "pass"
    sentence = "No subgroup is significantly miscalibrated."
    if worst:
        more = "above" if gaps[worst] > 0 else "below"
        sentence = f"Largest gap: {worst}, {gap * 100:.1f} percentage points {more} the accuracy."
    return AuditResult(
        name=name,
        title=title,
        verdict=verdict,
        sentence=sentence,
        figures=_led_by(worst, figures),
        threshold=f"warns where the mean probability of {_IMAGES_MIN} images or more lies outside "
        f"the CI of the accuracy and more than {limit * 100:.0f} points from it, fails at "
        f"{2 * limit * 100:.0f}",
        why="one temperature serves all; where a source needs another, its probabilities are "
        "misleading",
        remedy=""
        if verdict == "pass"
        else "recalibrate on local images: `pulmospark evaluate BUNDLE TABLE --recalibrate`",
    )


def _led_by(worst: str | None, figures: list[NamedFigure]) -> tuple[NamedFigure, ...]:
    """Puts the metric that decides the verdict first: the table of audits shows the first."""
    return tuple(sorted(figures, key=lambda figure: not (worst and figure.name.startswith(worst))))


def _no_predictions(subject: Subject, name: str, title: str) -> AuditResult:
    unavailable = subject.model_left_out
    if unavailable is not None:
        return not_assessable(name, title, unavailable.why, unavailable.remedy)
    return not_assessable(name, title, "no model has been evaluated on these images")
