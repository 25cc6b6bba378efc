"""What the model's own features hold: the source, and which films are unlike all others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pulmospark.audit.distances import distances, fence
from pulmospark.audit.guess import area
from pulmospark.audit.linear import cross_fitted, logistic
from pulmospark.audit.model import Scored
from pulmospark.audit.results import AuditResult, Example, NamedFigure, Verdict
from pulmospark.audit.subject import Subject
from pulmospark.audit.words import plain
from pulmospark.core import limits
from pulmospark.evaluation.results import Figure

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

_SOURCE_WARN = 0.9
_GAP_WARN, _GAP_FAIL = 0.05, 0.15


def source(subject: Subject, scored: Scored) -> AuditResult:
    """How well a linear model tells the source of a film from the network's features."""
    names, labels = np.unique(
        subject.column("source")[scored.rows].astype(str), return_inverse=True
    )
    name, title = "source_in_features", "Source told from the model's features"
    if names.size < 2:
        return _open(name, title, "there is one source")
    groups = _groups(subject, scored)
    chance = cross_fitted(scored.features, labels, groups, int(names.size), subject.seed)
    found = _area(subject, labels.astype(np.int64), chance, groups)
    bound = (found.low if found.low is not None else found.value) or 0.0
    return AuditResult(
        name=name,
        title=title,
        verdict="warn" if bound > _SOURCE_WARN else "pass",
        sentence=f"A linear model tells the source of a film from the network's features with an "
        f"AUROC of {plain(found)}.",
        figures=(NamedFigure(name="AUROC of the source", figure=found, scale="number"),),
        threshold=f"warns when the lower bound is above {_SOURCE_WARN:g}; it does not fail",
        why="features that hold the source can serve as the class where the source tells it; that "
        "they do is what the audits of covered lungs and left-out sources say",
        remedy="" if bound <= _SOURCE_WARN else "look at `class_by_source` and `covered_lungs`",
    )


def left_out_source(subject: Subject, scored: Scored) -> AuditResult:
    """Trained on all sources but one and tested on it, against tested inside.

    A logistic regression on the bundle's features stands for the model, so that every source can
    be left out within seconds. The network itself may have seen the source: the gap is a lower
    bound.
    """
    name, title = "left_out_source", "Tested on a source left out"
    labels = subject.labels[scored.rows]
    sources = subject.column("source")[scored.rows].astype(str)
    groups = _groups(subject, scored)
    classes = len(subject.classes)
    inside = cross_fitted(scored.features, labels, groups, classes, subject.seed)
    figures: list[NamedFigure] = []
    gaps: dict[str, float] = {}
    for one in np.unique(sources):
        tested = sources == one
        present = np.intersect1d(np.unique(labels[tested]), np.unique(labels[~tested]))
        taken = tested & np.isin(labels, present)
        if present.size < 2 or min(np.sum(labels[taken] == k) for k in present) < 10:
            continue
        model = logistic(scored.features[~tested], labels[~tested], classes)
        outside = model(scored.features[taken])
        pair = []
        for told, chance in (("inside", inside[taken]), ("left out", outside)):
            found = _area(
                subject,
                np.searchsorted(present, labels[taken]).astype(np.int64),
                chance[:, present] / chance[:, present].sum(axis=1, keepdims=True),
                _dense(groups[taken]),
            )
            pair.append(found)
            figures.append(NamedFigure(name=f"{one}, {told}", figure=found, scale="number"))
        gaps[one] = (pair[0].low or pair[0].value or 0.0) - (pair[1].high or pair[1].value or 0.0)
    if not gaps:
        return _open(
            name, title, "no source has ten films of each of two classes that others have, too"
        )
    worst = max(gaps, key=lambda one: gaps[one])
    gap = gaps[worst]
    verdict: Verdict = "fail" if gap > _GAP_FAIL else "warn" if gap > _GAP_WARN else "pass"
    words = {figure.name: plain(figure.figure) for figure in figures}
    return AuditResult(
        name=name,
        title=title,
        verdict=verdict,
        sentence=f"Largest gap: {worst}, AUROC {words[f'{worst}, inside']} when its other films "
        f"are trained on, {words[f'{worst}, left out']} when none is.",
        figures=tuple(sorted(figures, key=lambda one: one.name != f"{worst}, left out")),
        threshold=f"warns when the intervals part by more than {_GAP_WARN:g}, fails above "
        f"{_GAP_FAIL:g}",
        why="a figure from inside says how well the hospital is known; the next hospital is "
        "outside",
        remedy=""
        if verdict == "pass"
        else "more sources that hold every class; report the "
        "figure of a set from elsewhere: `pulmospark evaluate BUNDLE TABLE`",
    )


def unlike(subject: Subject, scored: Scored) -> AuditResult:
    """Films far from all others in the model's features: lateral films, CT slices, other things.

    The score is the mean distance to the nearest twentieth of the films, of other patients, on
    features scaled to length 1 (after Sun et al. 2022, deep nearest neighbours); films beyond
    the outer fence of all scores (third quartile and three times the range between quartiles,
    Tukey) are told.
    """
    scores = distances(scored.features, scored.features, _groups(subject, scored))
    limit = fence(scores)
    far = np.flatnonzero(scores > limit)
    order = far[np.argsort(-scores[far])]
    share = far.size / scores.size
    examples = tuple(
        Example(
            caption=f"distance {scores[place]:.3f}, fence {limit:.3f}",
            films=(subject.film(int(scored.rows[place])),),
        )
        for place in order[: limits.AUDIT_EXAMPLES_MAX]
    )
    return AuditResult(
        name="unlike_films",
        title="Films unlike all others",
        verdict="warn" if share > 0.01 else "pass",
        sentence=f"{far.size} of {scores.size} films lie beyond the fence of distances.",
        figures=(
            NamedFigure(
                name="films beyond the fence",
                figure=Figure(value=share, numerator=int(far.size), denominator=int(scores.size)),
            ),
        ),
        threshold="warns above 1 %: third quartile and three ranges between quartiles (Tukey)",
        why="a film like no other is seldom a frontal film of a chest, and its probability means "
        "nothing",
        remedy="look at the films shown, and leave out what is no frontal film" * (share > 0.01),
        examples=examples,
    )


def _groups(subject: Subject, scored: Scored) -> Labels:
    return _dense(subject.groups[scored.rows])


def _dense(groups: Labels) -> Labels:
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def _area(subject: Subject, labels: Labels, chance: Floats, groups: Labels) -> Figure:
    return area(
        labels,
        chance,
        groups,
        seed=subject.seed,
        replicates=subject.settings.replicates,
        confidence=subject.confidence,
    )


def _open(name: str, title: str, why: str) -> AuditResult:
    return AuditResult(name=name, title=title, verdict="open", sentence=f"Not told: {why}.")
