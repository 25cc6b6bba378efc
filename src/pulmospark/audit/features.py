"""What the model's own features hold: the source, and which films are unlike all others."""

from __future__ import annotations

import numpy as np

from pulmospark.audit.distances import distances, fence
from pulmospark.audit.guess import area
from pulmospark.audit.linear import cross_fitted, logistic
from pulmospark.audit.model import Scored
from pulmospark.audit.results import AuditResult, Example, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import PATIENTS_MIN, Subject
from pulmospark.audit.words import named
from pulmospark.core import limits
from pulmospark.core.arrays import Floats, Ints, Mask
from pulmospark.evaluation.results import Figure

SOURCE = ("source_in_features", "Source told from the model's features")
LEFT_OUT = ("left_out_source", "Tested on a source left out")
UNLIKE = ("unlike_films", "Films unlike all others")
_CONSTANT = "the network's features are no numbers, or the same for all images"
_CHANCE = 0.5
"""AUROC of a guess"""
_SOURCE_WARN = 0.9
_GAP_WARN, _GAP_FAIL = 0.05, 0.15


def source(subject: Subject, scored: Scored) -> AuditResult:
    """How well a linear model tells the source of a film from the network's features."""
    name, title = SOURCE
    if not _vary(scored.features):
        return not_assessable(name, title, _CONSTANT)
    sources = subject.column("source")[scored.rows].astype(str)
    every, groups = np.unique(sources), _groups(subject, scored)
    names = [one for one in every if np.unique(groups[sources == one]).size >= PATIENTS_MIN]
    if len(names) < 2:
        why = f"fewer than two sources have {PATIENTS_MIN} patients"
        return not_assessable(name, title, "there is one source" if every.size < 2 else why)
    taken = np.isin(sources, names)
    labels = np.searchsorted(names, sources[taken]).astype(np.int64)
    groups = _dense(groups[taken])
    chance = cross_fitted(scored.features[taken], labels, groups, len(names), subject.seed)
    found = _area(subject, labels, chance, groups)
    bound = found.low
    if bound is None:
        return not_assessable(name, title, f"no interval could be had ({found.note})")
    few = named(one for one in every if one not in names)
    return AuditResult(
        name=name,
        title=title,
        verdict="warn" if bound > _SOURCE_WARN else "pass",
        sentence=f"A linear model tells the source of a film from the network's features with an "
        f"AUROC of {found.text()}."
        + f" Left out, with fewer than {PATIENTS_MIN} patients: {few}."
        * bool(few),
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
    name, title = LEFT_OUT
    if not _vary(scored.features):
        return not_assessable(name, title, _CONSTANT)
    labels, groups = subject.labels[scored.rows], _groups(subject, scored)
    sources = subject.column("source")[scored.rows].astype(str)
    inside = cross_fitted(scored.features, labels, groups, len(subject.classes), subject.seed)
    figures: list[NamedFigure] = []
    gaps: dict[str, float] = {}
    blind: list[str] = []
    for one in np.unique(sources):
        pair = _inside_and_out(subject, scored, inside, sources == one)
        bounds = (pair[0].low, pair[1].high) if pair else (None, None)
        if bounds[0] is None or bounds[1] is None:
            continue
        if bounds[0] <= _CHANCE:
            blind.append(one)
            continue
        gaps[one] = bounds[0] - bounds[1]
        figures += [
            NamedFigure(name=f"{one}, {told}", figure=found, scale="number")
            for told, found in zip(("inside", "left out"), pair, strict=True)
        ]
    enough = f"{PATIENTS_MIN} patients of each of two classes that others have as many of, too"
    if not gaps and blind:
        why = f"the features do not tell the classes apart inside {named(blind)}, either"
        return not_assessable(name, title, why)
    if not gaps:
        return not_assessable(name, title, f"no source has {enough}")
    skipped = named(one for one in np.unique(sources) if one not in (*gaps, *blind))
    worst = max(gaps, key=lambda one: gaps[one])
    gap = gaps[worst]
    verdict: Verdict = "fail" if gap > _GAP_FAIL else "warn" if gap > _GAP_WARN else "pass"
    words = {figure.name: figure.figure.text() for figure in figures}
    return AuditResult(
        name=name,
        title=title,
        verdict=verdict,
        sentence=f"Largest gap: {worst}, AUROC {words[f'{worst}, inside']} when its other films "
        f"are trained on, {words[f'{worst}, left out']} when none is."
        + f" Not assessable for {skipped}, without {enough}." * bool(skipped)
        + f" Not assessable for {named(blind)}, whose classes the features do not tell apart."
        * bool(blind),
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


def _inside_and_out(
    subject: Subject, scored: Scored, inside: Floats, tested: Mask
) -> tuple[Figure, ...]:
    """AUROC on the films of a source, by models of its other films and by one of none of them.

    Empty where it has fewer than two classes of enough patients that the others have, too.
    """
    labels, groups = subject.labels[scored.rows], _groups(subject, scored)
    present = np.intersect1d(_held(labels, groups, tested), _held(labels, groups, ~tested))
    if present.size < 2:
        return ()
    taken = tested & np.isin(labels, present)
    model = logistic(scored.features[~tested], labels[~tested], len(subject.classes))
    return tuple(
        _area(
            subject,
            np.searchsorted(present, labels[taken]).astype(np.int64),
            chance[:, present] / chance[:, present].sum(axis=1, keepdims=True),
            _dense(groups[taken]),
        )
        for chance in (inside[taken], model(scored.features[taken]))
    )


def unlike(subject: Subject, scored: Scored) -> AuditResult:
    """Films far from all others in the model's features: lateral films, CT slices, other things.

    The score is the mean distance to the nearest twentieth of the films, of other patients, on
    features scaled to length 1 (after Sun et al. 2022, deep nearest neighbours); films beyond
    the outer fence of all scores (third quartile and three times the range between quartiles,
    Tukey) are told.
    """
    groups = _groups(subject, scored)
    if np.unique(groups).size < PATIENTS_MIN:
        return not_assessable(*UNLIKE, f"there are fewer than {PATIENTS_MIN} patients to compare")
    if not _vary(scored.features):
        return not_assessable(*UNLIKE, _CONSTANT)
    scores = distances(scored.features, scored.features, groups)
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
        name=UNLIKE[0],
        title=UNLIKE[1],
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


def _vary(features: Floats) -> bool:
    """Whether features are numbers, and not the same for all images."""
    return bool(np.isfinite(features).all() and np.ptp(features, axis=0).max() > 0)


def _groups(subject: Subject, scored: Scored) -> Ints:
    return _dense(subject.groups[scored.rows])


def _dense(groups: Ints) -> Ints:
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def _area(subject: Subject, labels: Ints, chance: Floats, groups: Ints) -> Figure:
    return area(
        labels,
        chance,
        groups,
        seed=subject.seed,
        replicates=subject.settings.replicates,
        confidence=subject.confidence,
    )


def _held(labels: Ints, groups: Ints, among: Mask) -> Ints:
    """Classes that enough patients have among some films."""
    return np.asarray(
        [
            kind
            for kind in np.unique(labels[among])
            if np.unique(groups[among & (labels == kind)]).size >= PATIENTS_MIN
        ],
        np.int64,
    )
