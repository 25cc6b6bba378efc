"""What the model still knows when the lungs are covered, and when letters are painted over."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pulmospark.audit.guess import area
from pulmospark.audit.model import Scored
from pulmospark.audit.results import AuditResult, NamedFigure, Verdict
from pulmospark.audit.subject import Subject
from pulmospark.audit.words import plain
from pulmospark.evaluation.results import Figure

_SEEN = (
    " The model was trained on these films, too (folds keep one model of all): the figures are "
    "too high, beside each other they still tell."
)
_LETTERS_WARN, _LETTERS_FAIL = 0.05, 0.10


def covered(subject: Subject, scored: Scored) -> AuditResult:
    """AUROC of the model with the lungs blacked out, and with the border alone.

    Maguolo and Nanni (2021) blacked the lungs out of public films, and networks still told the
    data sets, and so the classes, apart.
    """
    names = ("without lungs", "only border", "only lungs", "whole")
    figures = {name: figure(subject, scored, name) for name in names}
    blind = max((figures[name] for name in names[:2]), key=lambda f: f.low or f.value or 0.0)
    bound = (blind.low if blind.low is not None else blind.value) or 0.0
    settings = subject.settings
    verdict: Verdict = "pass"
    if bound > settings.thing_warn:
        verdict = "fail" if bound > settings.thing_fail else "warn"
    return AuditResult(
        name="covered_lungs",
        title="Told with the lungs blacked out",
        verdict=verdict,
        sentence=f"AUROC on whole films {plain(figures['whole'])}, with the lungs blacked out "
        f"{plain(figures['without lungs'])}, with the border alone "
        f"{plain(figures['only border'])}.{'' if scored.unseen.any() else _SEEN}",
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
    with_them, without = (figure(subject, scored, n) for n in ("whole", "without letters"))
    before, after = scored.probabilities["whole"], scored.probabilities["without letters"]
    rows = _rated(scored)
    flipped = float((before.argmax(axis=1) != after.argmax(axis=1))[rows].mean())
    fall = (with_them.value or 0.0) - (without.value or 0.0)
    verdict: Verdict = "pass"
    if fall > _LETTERS_WARN:
        verdict = "fail" if fall > _LETTERS_FAIL else "warn"
    return AuditResult(
        name="letters",
        title="Burned-in letters",
        verdict=verdict,
        sentence=f"AUROC {plain(with_them)} as they are, {plain(without)} with small bright marks "
        f"outside the lungs painted over; {flipped:.1%} of the films then get another class.",
        figures=(
            NamedFigure(name="letters painted over", figure=without, scale="number"),
            NamedFigure(name="as they are", figure=with_them, scale="number"),
        ),
        threshold=f"warns when the AUROC falls by more than {_LETTERS_WARN:g}, fails above "
        f"{_LETTERS_FAIL:g}",
        why="markers and letters are a hospital's hand: what falls with them was read off them",
        remedy="" if verdict == "pass" else "cut films to the lungs, or augment with erasing",
    )


def figure(subject: Subject, scored: Scored, cover: str) -> Figure:
    """AUROC of a cover, mean over the classes, on films that were not trained on where there are
    such."""
    rows = _rated(scored)
    names = list(scored.bundle.config.classes)
    index = np.asarray([names.index(n) if n in names else -1 for n in subject.classes])
    labels = index[subject.labels[scored.rows]]
    rows &= labels >= 0
    present = np.unique(labels[rows])
    if present.size < 2:
        return Figure(value=None, note="one class only")
    _, groups = np.unique(subject.groups[scored.rows][rows], return_inverse=True)
    return area(
        np.searchsorted(present, labels[rows]).astype(np.int64),
        scored.probabilities[cover][rows][:, present],
        groups.astype(np.int64),
        seed=subject.seed,
        replicates=subject.settings.replicates,
        confidence=subject.confidence,
    )


def _rated(scored: Scored) -> npt.NDArray[np.bool_]:
    """Films that count: those not trained on, or all where there is none."""
    return scored.unseen.copy() if scored.unseen.any() else np.ones(scored.rows.size, np.bool_)
