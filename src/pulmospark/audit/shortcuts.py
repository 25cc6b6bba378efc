"""Audits of shortcuts: AUROC with the lungs blacked out, and with burned-in text removed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pulmospark.audit.linear_probe import logistic
from pulmospark.audit.model_outputs import Scored
from pulmospark.audit.phrasing import named
from pulmospark.audit.predictability import area, area_fall
from pulmospark.audit.results import AuditResult, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import PATIENTS_MIN, Subject
from pulmospark.core.arrays import Floats, Ints, Mask
from pulmospark.evaluation.results import Figure

COVERED = ("covered_lungs", "Performance with the lungs blacked out")
BURNED_IN = ("burned_in_text", "Burned-in text")
_OUT_OF_FOLD = (
    " Each image was scored by a logistic regression on the network's features, fitted without "
    "its fold: the final model was trained on all images."
)
_SEEN = (
    "the final model was trained on all of these images, and the networks of the folds are not "
    "saved"
)
_CHANCE = 0.5
"""AUROC of random guessing"""
_TEST_PART = "use a test set instead of cross-validation: `--set split.folds=0`"
_BURNED_IN_WARN, _BURNED_IN_FAIL = 0.05, 0.10
_FEW = f"fewer than two classes have {PATIENTS_MIN} patients"


@dataclass(frozen=True)
class _Rated:
    """The images that metrics are computed on, and their classes among the model's.

    Attributes:
        rows: bool (n,), among the scored images: those not trained on (all, if there are none)
            of a class with enough patients.
        classes: int64 (k,), the model's classes with enough patients; empty if fewer than two.
        labels: int64 (m,) of the taken images, places in ``classes``.
        groups: int64 (m,) of them, from 0.
        strange: names of the images' classes that the model does not have.
        probabilities: cover -> (n, classes) of all scored images; with folds, by models not
            trained on them.
    """

    rows: Mask
    classes: Ints
    labels: Ints
    groups: Ints
    strange: tuple[str, ...]
    probabilities: dict[str, Floats]

    def said(self, cover: str) -> Floats:
        """Probabilities of the taken images under a cover, (m, k)."""
        return self.probabilities[cover][self.rows][:, self.classes]


def covered(subject: Subject, scored: Scored) -> AuditResult:
    """AUROC of the model with the lungs blacked out, and with the border alone.

    Maguolo and Nanni (2021) blacked out the lungs in public data sets, and networks still
    identified the data set and with it the class.
    """
    names = ("without lungs", "only border", "only lungs", "whole")
    if (reason := _learned_all(subject, scored)) is not None:
        return not_assessable(*COVERED, reason, _TEST_PART)
    if scored.region.all():
        return not_assessable(*COVERED, "the lung region covers the whole image")
    rated = _rated(subject, scored)
    figures = {name: _figure(subject, rated, name) for name in names}
    bounds = {name: metric.low for name, metric in figures.items() if metric.low is not None}
    if not bounds.keys() >= set(names[:2]):
        return _too_few(*COVERED, rated, scored)
    if (blind := _blind(figures["whole"])) is not None:
        return not_assessable(*COVERED, blind)
    bound = max(bounds[name] for name in names[:2])
    settings = subject.settings
    verdict: Verdict = "pass"
    if bound > settings.thing_warn:
        verdict = "fail" if bound > settings.thing_fail else "warn"
    return AuditResult(
        name=COVERED[0],
        title=COVERED[1],
        verdict=verdict,
        sentence=f"AUROC on whole images {figures['whole'].text()}, with the lungs blacked out "
        f"{figures['without lungs'].text()}, with the border alone "
        f"{figures['only border'].text()}.{_OUT_OF_FOLD * subject.has_folds}"
        f"{_excluded(rated)}",
        figures=tuple(
            NamedFigure(name=name, figure=metric, scale="number")
            for name, metric in figures.items()
        ),
        threshold=f"warns when the lower bound without lungs, or with the border only, is above "
        f"{settings.thing_warn:g}, fails above {settings.thing_fail:g}",
        why="a detector of lung disease that does not need the lungs detects something else: "
        "an AUROC of 0.7 counts as acceptable discrimination. The same region is blacked out in "
        "all images: every pixel that is lung in one image in twenty, from masks or a simple "
        "segmentation; an image's own outline would reveal its opacities",
        remedy=""
        if verdict == "pass"
        else "crop images to the lungs (`--set ingest.crop=lungs`), balance the sources, and test "
        "on a held-out source",
    )


def burned_in_text(subject: Subject, scored: Scored) -> AuditResult:
    """How much the AUROC drops when small bright marks outside the lungs are removed."""
    if (reason := _learned_all(subject, scored)) is not None:
        return not_assessable(*BURNED_IN, reason, _TEST_PART)
    rated = _rated(subject, scored)
    covers = ("whole", "without text")
    with_text, without = (_figure(subject, rated, name) for name in covers)
    fall = _fall(subject, rated)
    if fall.low is None:
        return _too_few(*BURNED_IN, rated, scored)
    if np.array_equal(rated.said(covers[0]), rated.said(covers[1])):
        why = "there are no small bright marks outside the lungs, so nothing was removed"
        return not_assessable(*BURNED_IN, why)
    if (blind := _blind(with_text)) is not None:
        return not_assessable(*BURNED_IN, blind)
    before, after = (rated.probabilities[name].argmax(axis=1) for name in covers)
    flipped = float((before != after)[rated.rows].mean())
    verdict: Verdict = "pass"
    if fall.low > _BURNED_IN_WARN:
        verdict = "fail" if fall.low > _BURNED_IN_FAIL else "warn"
    return AuditResult(
        name=BURNED_IN[0],
        title=BURNED_IN[1],
        verdict=verdict,
        sentence=f"AUROC {with_text.text()} on original images, "
        f"{without.text()} with small bright "
        f"marks outside the lungs removed, a drop of {fall.text()}; the prediction changes for "
        f"{flipped:.1%} of the images.{_OUT_OF_FOLD * subject.has_folds}{_excluded(rated)}",
        figures=(
            NamedFigure(name="drop in AUROC", figure=fall, scale="number"),
            NamedFigure(name="burned-in text removed", figure=without, scale="number"),
            NamedFigure(name="original images", figure=with_text, scale="number"),
        ),
        threshold=f"warns when the lower bound of the drop is above {_BURNED_IN_WARN:g}, fails "
        f"above {_BURNED_IN_FAIL:g}; paired bootstrap over patients",
        why="markers and text identify the hospital: what is lost with them was read off them",
        remedy=""
        if verdict == "pass"
        else "crop images to the lungs, or augment with random erasing",
    )


def figure(subject: Subject, scored: Scored, cover: str) -> Figure:
    """AUROC under a cover, mean over the classes, on images not trained on if there are any.

    Without a value where fewer than two of the model's classes have ten patients there.
    """
    return _figure(subject, _rated(subject, scored), cover)


def _figure(subject: Subject, rated: _Rated, cover: str) -> Figure:
    if not rated.classes.size:
        return Figure(value=None, note=_FEW)
    return area(
        rated.labels,
        rated.said(cover),
        rated.groups,
        seed=subject.seed,
        replicates=subject.settings.replicates,
        confidence=subject.confidence,
    )


def _fall(subject: Subject, rated: _Rated) -> Figure:
    """Drop in AUROC from whole images to images without burned-in text."""
    if not rated.classes.size:
        return Figure(value=None, note=_FEW)
    return area_fall(
        rated.labels,
        rated.said("whole"),
        rated.said("without text"),
        rated.groups,
        seed=subject.seed,
        replicates=subject.settings.replicates,
        confidence=subject.confidence,
    )


def _learned_all(subject: Subject, scored: Scored) -> str | None:
    """Why no model untrained on these images can score them; ``None``: one can."""
    if not subject.has_folds or (scored.bundle.config.method == "features" and scored.covered):
        return None
    return _SEEN


def _blind(whole: Figure) -> str | None:
    """Why a drop is not assessable: the model does not separate the classes; ``None``: it does."""
    if whole.low is None or whole.low <= _CHANCE:
        return f"the model does not separate the classes on whole images (AUROC {whole.text()})"
    return None


def _out_of_fold(subject: Subject, scored: Scored, labels: Ints) -> dict[str, Floats]:
    """Probabilities of each image under each cover, by a regression fitted without its fold.

    The network was frozen, so its features did not learn from these images; the regression is
    fitted to whole images.
    """
    folds, classes = subject.numbers("fold")[scored.rows], len(scored.bundle.config.classes)
    probabilities = {
        name: np.full((folds.size, classes), 1.0 / classes) for name in scored.covered
    }
    for fold in np.unique(folds[~np.isnan(folds)]):
        tested, learned = folds == fold, (folds != fold) & (labels >= 0)
        if np.unique(labels[learned]).size < 2:
            continue
        model = logistic(scored.features[learned], labels[learned], classes)
        for name, features in scored.covered.items():
            probabilities[name][tested] = model(features[tested])
    return probabilities


def _rated(subject: Subject, scored: Scored) -> _Rated:
    rows = scored.unseen.copy() if scored.unseen.any() else np.ones(scored.rows.size, np.bool_)
    names = list(scored.bundle.config.classes)
    index = np.asarray([names.index(n) if n in names else -1 for n in subject.classes], np.int64)
    own = subject.labels[scored.rows]
    labels, groups = index[own], subject.groups[scored.rows]
    classes = [
        kind
        for kind in range(len(names))
        if np.unique(groups[rows & (labels == kind)]).size >= PATIENTS_MIN
    ]
    taken = np.asarray(classes if len(classes) > 1 else [], np.int64)
    rows &= np.isin(labels, taken)
    return _Rated(
        probabilities=_out_of_fold(subject, scored, labels)
        if subject.has_folds
        else scored.probabilities,
        rows=rows,
        classes=taken,
        labels=np.searchsorted(taken, labels[rows]).astype(np.int64),
        groups=np.unique(groups[rows], return_inverse=True)[1].astype(np.int64),
        strange=tuple(subject.classes[kind] for kind in np.unique(own[labels < 0])),
    )


def _excluded(rated: _Rated) -> str:
    """A sentence on classes that the model does not have; empty if it has all."""
    strange = named(rated.strange)
    return f" Excluded, because the model has no such class: {strange}." * bool(strange)


def _too_few(name: str, title: str, rated: _Rated, scored: Scored) -> AuditResult:
    why = (
        f"fewer than two of the model's classes have {PATIENTS_MIN} patients among "
        f"{'the images not used in training' if scored.unseen.any() else 'the images'}"
    )
    if not rated.strange:
        return not_assessable(name, title, why, "add patients of each class")
    known = named(scored.bundle.config.classes)
    return not_assessable(
        name,
        title,
        f"{why}; it has no class {named(rated.strange)}, only {known}",
        "rename the findings to the model's classes, or audit a run whose `classes` map them",
    )
