"""What the model still knows when the lungs are covered, and when letters are painted over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pulmospark.audit.guess import area, area_fall
from pulmospark.audit.linear import logistic
from pulmospark.audit.model import Scored
from pulmospark.audit.results import AuditResult, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import PATIENTS_MIN, Subject
from pulmospark.audit.words import named
from pulmospark.core.arrays import Floats, Ints, Mask
from pulmospark.evaluation.results import Figure

COVERED = ("covered_lungs", "Told with the lungs blacked out")
LETTERS = ("letters", "Burned-in letters")
_OUT_OF_FOLD = (
    " Each image was scored by a logistic regression on the network's features that was fitted "
    "without its fold, as the folds' own models were: the kept model learned from all of them."
)
_SEEN = (
    "the kept model was trained on every one of these images, and the networks of the folds are "
    "not kept"
)
_CHANCE = 0.5
"""AUROC of a guess"""
_TEST_PART = "evaluate with a test part instead of folds: `--set split.folds=0`"
_LETTERS_WARN, _LETTERS_FAIL = 0.05, 0.10
_FEW = f"fewer than two classes have {PATIENTS_MIN} patients"


@dataclass(frozen=True)
class _Rated:
    """The films that figures are taken of, and of which of the model's classes they are.

    Attributes:
        rows: bool (n,), among the scored films: those not trained on, or all where there is
            none, of a class that enough patients have.
        classes: int64 (k,), the model's classes that take part, two or more; empty where there
            are fewer.
        labels: int64 (m,) of the taken films, places in ``classes``.
        groups: int64 (m,) of them, from 0.
        strange: names of the films' classes that are none of the model's.
        probabilities: cover -> (n, classes) of all scored films, by models that were not trained
            on them where folds left no film out.
    """

    rows: Mask
    classes: Ints
    labels: Ints
    groups: Ints
    strange: tuple[str, ...]
    probabilities: dict[str, Floats]

    def said(self, cover: str) -> Floats:
        """Probabilities of the taken films under a cover, (m, k)."""
        return self.probabilities[cover][self.rows][:, self.classes]


def covered(subject: Subject, scored: Scored) -> AuditResult:
    """AUROC of the model with the lungs blacked out, and with the border alone.

    Maguolo and Nanni (2021) blacked the lungs out of public films, and networks still told the
    data sets, and so the classes, apart.
    """
    names = ("without lungs", "only border", "only lungs", "whole")
    if (reason := _learned_all(subject, scored)) is not None:
        return not_assessable(*COVERED, reason, _TEST_PART)
    if scored.region.all():
        return not_assessable(*COVERED, "lungs may be anywhere on the images: nothing is left")
    rated = _rated(subject, scored)
    figures = {name: _figure(subject, rated, name) for name in names}
    bounds = {name: one.low for name, one in figures.items() if one.low is not None}
    if not bounds.keys() >= set(names[:2]):
        return _open(*COVERED, rated, scored)
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
        sentence=f"AUROC on whole films {figures['whole'].text()}, with the lungs blacked out "
        f"{figures['without lungs'].text()}, with the border alone "
        f"{figures['only border'].text()}.{_OUT_OF_FOLD * subject.has_folds}"
        f"{_left_out(rated)}",
        figures=tuple(
            NamedFigure(name=name, figure=one, scale="number") for name, one in figures.items()
        ),
        threshold=f"warns when the lower bound without lungs, or of the border alone, is above "
        f"{settings.thing_warn:g}, fails above {settings.thing_fail:g}",
        why="a detector of lung disease that does not need the lungs detects something else: "
        "0.7 is where a discrimination is called acceptable. Lungs are what is blacked out in all "
        "films: everywhere one in twenty of them has lungs, by the masks that came with them or "
        "found by a simple method; a film's own outline would tell of its opacities",
        remedy=""
        if verdict == "pass"
        else "cut films to the lungs (`--set ingest.crop=lungs`), balance the sources, and test "
        "on a source that was not trained on",
    )


def letters(subject: Subject, scored: Scored) -> AuditResult:
    """How much the AUROC falls when small bright marks outside the lungs are painted over."""
    if (reason := _learned_all(subject, scored)) is not None:
        return not_assessable(*LETTERS, reason, _TEST_PART)
    rated = _rated(subject, scored)
    covers = ("whole", "without letters")
    with_them, without = (_figure(subject, rated, name) for name in covers)
    fall = _fall(subject, rated)
    if fall.low is None:
        return _open(*LETTERS, rated, scored)
    if np.array_equal(rated.said(covers[0]), rated.said(covers[1])):
        why = "no small bright mark lies outside the lungs, so that nothing was painted over"
        return not_assessable(*LETTERS, why)
    if (blind := _blind(with_them)) is not None:
        return not_assessable(*LETTERS, blind)
    before, after = (rated.probabilities[name].argmax(axis=1) for name in covers)
    flipped = float((before != after)[rated.rows].mean())
    verdict: Verdict = "pass"
    if fall.low > _LETTERS_WARN:
        verdict = "fail" if fall.low > _LETTERS_FAIL else "warn"
    return AuditResult(
        name=LETTERS[0],
        title=LETTERS[1],
        verdict=verdict,
        sentence=f"AUROC {with_them.text()} as they are, {without.text()} with small bright marks "
        f"outside the lungs painted over, a fall of {fall.text()}; {flipped:.1%} of the films "
        f"then get another class.{_OUT_OF_FOLD * subject.has_folds}{_left_out(rated)}",
        figures=(
            NamedFigure(name="fall of the AUROC", figure=fall, scale="number"),
            NamedFigure(name="letters painted over", figure=without, scale="number"),
            NamedFigure(name="as they are", figure=with_them, scale="number"),
        ),
        threshold=f"warns when the lower bound of the fall is above {_LETTERS_WARN:g}, fails "
        f"above {_LETTERS_FAIL:g}; the same draws of patients serve both figures",
        why="markers and letters are a hospital's hand: what falls with them was read off them",
        remedy="" if verdict == "pass" else "cut films to the lungs, or augment with erasing",
    )


def figure(subject: Subject, scored: Scored, cover: str) -> Figure:
    """AUROC of a cover, mean over the classes, on films that were not trained on where there are
    such; without a value where fewer than two of the model's classes have ten patients there."""
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
    """AUROC of whole films less that of films without letters."""
    if not rated.classes.size:
        return Figure(value=None, note=_FEW)
    return area_fall(
        rated.labels,
        rated.said("whole"),
        rated.said("without letters"),
        rated.groups,
        seed=subject.seed,
        replicates=subject.settings.replicates,
        confidence=subject.confidence,
    )


def _learned_all(subject: Subject, scored: Scored) -> str | None:
    """Why there is no score of a model that has not learned these films; ``None``: there is."""
    if not subject.has_folds or (scored.bundle.config.method == "features" and scored.covered):
        return None
    return _SEEN


def _blind(whole: Figure) -> str | None:
    """Why a model cannot lose what it never had; ``None`` where it tells the classes apart."""
    if whole.low is None or whole.low <= _CHANCE:
        return f"the model does not tell the classes apart on whole images (AUROC {whole.text()})"
    return None


def _out_of_fold(subject: Subject, scored: Scored, labels: Ints) -> dict[str, Floats]:
    """Probabilities of each film under each cover, by a regression fitted without its fold.

    The network was frozen, so that the features have learned from no film; the regression is
    fitted to whole films, as the folds' own were.
    """
    folds, classes = subject.numbers("fold")[scored.rows], len(scored.bundle.config.classes)
    found = {name: np.full((folds.size, classes), 1.0 / classes) for name in scored.covered}
    for fold in np.unique(folds[~np.isnan(folds)]):
        tested, learned = folds == fold, (folds != fold) & (labels >= 0)
        if np.unique(labels[learned]).size < 2:
            continue
        model = logistic(scored.features[learned], labels[learned], classes)
        for name, features in scored.covered.items():
            found[name][tested] = model(features[tested])
    return found


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


def _left_out(rated: _Rated) -> str:
    """A sentence on classes that the model does not know; empty where it knows all."""
    strange = named(rated.strange)
    return f" Left out, for the model has no such class: {strange}." * bool(strange)


def _open(name: str, title: str, rated: _Rated, scored: Scored) -> AuditResult:
    why = (
        f"fewer than two of the model's classes have {PATIENTS_MIN} patients among "
        f"{'the films that it was not trained on' if scored.unseen.any() else 'the films'}"
    )
    if not rated.strange:
        return not_assessable(name, title, why, "more patients of each class")
    known = named(scored.bundle.config.classes)
    return not_assessable(
        name,
        title,
        f"{why}; it has no class {named(rated.strange)}, and has {known}",
        "name the findings as the model's classes are, or audit a run whose `classes` join them",
    )
