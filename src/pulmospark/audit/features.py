"""Audits of the model's features: do they encode the source, and which images are outliers?"""

from __future__ import annotations

import numpy as np

from pulmospark.audit.feature_distances import distances, fence
from pulmospark.audit.linear_probe import cross_fitted, logistic
from pulmospark.audit.model_outputs import Scored
from pulmospark.audit.phrasing import named
from pulmospark.audit.predictability import area
from pulmospark.audit.results import AuditResult, Example, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import PATIENTS_MIN, Subject
from pulmospark.core import limits
from pulmospark.core.arrays import Floats, Ints, Mask
from pulmospark.evaluation.results import Figure

SOURCE = ("source_in_features", "Source predictable from the model's features")
HELD_OUT = ("left_out_source", "Leave-one-source-out performance")
UNLIKE = ("unlike_images", "Outlying images")
_CONSTANT = "the network's features are not finite, or the same for all images"
_CHANCE = 0.5
"""AUROC of random guessing"""
_SOURCE_WARN = 0.9
_GAP_WARN, _GAP_FAIL = 0.05, 0.15


def source(subject: Subject, scored: Scored) -> AuditResult:
    """How well a linear model predicts the source of an image from the network's features."""
    audit_name, title = SOURCE
    if not _vary(scored.features):
        return not_assessable(audit_name, title, _CONSTANT)
    sources = subject.column("source")[scored.rows].astype(str)
    all_sources, groups = np.unique(sources), _groups(subject, scored)
    names = [
        name for name in all_sources if np.unique(groups[sources == name]).size >= PATIENTS_MIN
    ]
    if len(names) < 2:
        why = f"fewer than two sources have {PATIENTS_MIN} patients"
        return not_assessable(
            audit_name, title, "there is one source" if all_sources.size < 2 else why
        )
    taken = np.isin(sources, names)
    labels = np.searchsorted(names, sources[taken]).astype(np.int64)
    groups = _dense(groups[taken])
    probability = cross_fitted(scored.features[taken], labels, groups, len(names), subject.seed)
    figure = _area(subject, labels, probability, groups)
    bound = figure.low
    if bound is None:
        return not_assessable(audit_name, title, f"the CI is not defined ({figure.note})")
    few = named(name for name in all_sources if name not in names)
    return AuditResult(
        name=audit_name,
        title=title,
        verdict="warn" if bound > _SOURCE_WARN else "pass",
        sentence="A linear model predicts the source of an image from the network's features with "
        f"an AUROC of {figure.text()}."
        + f" Excluded, with fewer than {PATIENTS_MIN} patients: {few}."
        * bool(few),
        figures=(NamedFigure(name="AUROC of the source", figure=figure, scale="number"),),
        threshold=f"warns when the lower bound is above {_SOURCE_WARN:g}; it never fails",
        why="where the source predicts the label, features that encode the source are a shortcut; "
        "`covered_lungs` and `left_out_source` show whether the model uses it",
        remedy="" if bound <= _SOURCE_WARN else "see `class_by_source` and `covered_lungs`",
    )


def left_out_source(subject: Subject, scored: Scored) -> AuditResult:
    """Leave-one-source-out performance, compared with cross-validation including the source.

    A logistic regression on the bundle's features stands in for the model, so that each source
    takes seconds. The network itself may have seen the source, so the gap is a lower bound.
    """
    name, title = HELD_OUT
    if not _vary(scored.features):
        return not_assessable(name, title, _CONSTANT)
    labels, groups = subject.labels[scored.rows], _groups(subject, scored)
    sources = subject.column("source")[scored.rows].astype(str)
    inside = cross_fitted(scored.features, labels, groups, len(subject.classes), subject.seed)
    figures: list[NamedFigure] = []
    gaps: dict[str, float] = {}
    blind: list[str] = []
    for held_out in np.unique(sources):
        pair = _inside_and_out(subject, scored, inside, sources == held_out)
        bounds = (pair[0].low, pair[1].high) if pair else (None, None)
        if bounds[0] is None or bounds[1] is None:
            continue
        if bounds[0] <= _CHANCE:
            blind.append(held_out)
            continue
        gaps[held_out] = bounds[0] - bounds[1]
        figures += [
            NamedFigure(name=f"{held_out}, {setting}", figure=figure, scale="number")
            for setting, figure in zip(("internal", "held out"), pair, strict=True)
        ]
    enough = f"{PATIENTS_MIN} patients in each of two classes that the other sources also cover"
    if not gaps and blind:
        why = f"the features do not separate the classes even within {named(blind)}"
        return not_assessable(name, title, why)
    if not gaps:
        return not_assessable(name, title, f"no source has {enough}")
    skipped = named(name for name in np.unique(sources) if name not in (*gaps, *blind))
    worst = max(gaps, key=lambda source: gaps[source])
    gap = gaps[worst]
    verdict: Verdict = "fail" if gap > _GAP_FAIL else "warn" if gap > _GAP_WARN else "pass"
    printed = {figure.name: figure.figure.text() for figure in figures}
    return AuditResult(
        name=name,
        title=title,
        verdict=verdict,
        sentence=f"Largest gap: {worst}, AUROC {printed[f'{worst}, internal']} with its other "
        f"images in training, {printed[f'{worst}, held out']} without."
        + f" Not assessable for {skipped}, without {enough}." * bool(skipped)
        + f" Not assessable for {named(blind)}, whose classes the features do not separate."
        * bool(blind),
        figures=tuple(sorted(figures, key=lambda figure: figure.name != f"{worst}, held out")),
        threshold=f"warns when the gap between the CIs exceeds {_GAP_WARN:g}, fails above "
        f"{_GAP_FAIL:g}",
        why="internal performance is specific to the hospital; the next hospital is external",
        remedy=""
        if verdict == "pass"
        else "add sources that hold every class; report external "
        "performance: `pulmospark evaluate BUNDLE TABLE`",
    )


def _inside_and_out(
    subject: Subject, scored: Scored, inside: Floats, tested: Mask
) -> tuple[Figure, ...]:
    """AUROC on the images of a source: cross-validated, and by a model trained without the source.

    Empty where the source shares fewer than two sufficiently large classes with the others.
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
            probability[:, present] / probability[:, present].sum(axis=1, keepdims=True),
            _dense(groups[taken]),
        )
        for probability in (inside[taken], model(scored.features[taken]))
    )


def unlike(subject: Subject, scored: Scored) -> AuditResult:
    """Outliers in the model's feature space: lateral views, CT slices, other images.

    The score is the mean distance to the nearest twentieth of the images of other patients, on
    features scaled to unit length (after Sun et al. 2022, deep nearest neighbours). Images above
    Tukey's outer fence (third quartile plus three interquartile ranges) are reported.
    """
    groups = _groups(subject, scored)
    if np.unique(groups).size < PATIENTS_MIN:
        return not_assessable(*UNLIKE, f"there are fewer than {PATIENTS_MIN} patients")
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
            images=(subject.image(int(scored.rows[place])),),
        )
        for place in order[: limits.AUDIT_EXAMPLES_MAX]
    )
    return AuditResult(
        name=UNLIKE[0],
        title=UNLIKE[1],
        verdict="warn" if share > 0.01 else "pass",
        sentence=f"{far.size} of {scores.size} images lie beyond the outer fence of feature "
        "distances.",
        figures=(
            NamedFigure(
                name="images beyond the fence",
                figure=Figure(value=share, numerator=int(far.size), denominator=int(scores.size)),
            ),
        ),
        threshold="warns above 1 %; fence: third quartile plus three interquartile ranges (Tukey)",
        why="an outlier is rarely a frontal chest X-ray, and its probability is meaningless",
        remedy="review the images shown, and exclude those that are not frontal" * (share > 0.01),
        examples=examples,
    )


def _vary(features: Floats) -> bool:
    """Whether features are finite, and not the same for all images."""
    return bool(np.isfinite(features).all() and np.ptp(features, axis=0).max() > 0)


def _groups(subject: Subject, scored: Scored) -> Ints:
    return _dense(subject.groups[scored.rows])


def _dense(groups: Ints) -> Ints:
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def _area(subject: Subject, labels: Ints, probability: Floats, groups: Ints) -> Figure:
    return area(
        labels,
        probability,
        groups,
        seed=subject.seed,
        replicates=subject.settings.replicates,
        confidence=subject.confidence,
    )


def _held(labels: Ints, groups: Ints, among: Mask) -> Ints:
    """Classes with enough patients among some images."""
    return np.asarray(
        [
            kind
            for kind in np.unique(labels[among])
            if np.unique(groups[among & (labels == kind)]).size >= PATIENTS_MIN
        ],
        np.int64,
    )
