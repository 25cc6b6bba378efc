"""Every audit, described once: the runner, the settings and the how-to read `AUDITS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pulmospark.audit import (
    augmented_copies,
    class_balance,
    exact_duplicates,
    features,
    guessed_views,
    heat_map_sanity,
    heat_maps,
    near_duplicates,
    out_of_distribution,
    patients,
    shortcuts,
    single_feature,
    subgroups,
)
from pulmospark.audit.evidence import Evidence
from pulmospark.audit.results import AuditResult, not_assessable


@dataclass(frozen=True)
class Audit:
    """One audit."""

    name: str
    """in the settings, in ``audit.json`` and in links to the report"""
    title: str
    looks_for: str
    """for the table of the how-to; Markdown"""
    run: Callable[[Evidence], AuditResult]
    """computes the result, which has the same name and title"""
    runs_model: bool = False
    """needs a bundle and scores images with it: only where the settings ask for the costly
    audits"""


def _conflicts(evidence: Evidence) -> AuditResult:
    if evidence.searches_copies:
        return near_duplicates.conflicts(evidence.subject, evidence.copies)
    why = "the near-copy search is skipped (audit.skip)"
    remedy = "remove near_duplicates from `audit.skip`"
    return not_assessable(*near_duplicates.CONFLICT, why, remedy)


def _shortcut_checks() -> Iterator[Audit]:
    for kind in single_feature.KINDS:
        yield Audit(
            f"class_by_{kind.name}",
            f"Label predictable from {kind.words}",
            f"shortcut check: the label is predictable from {kind.words}, without the image",
            lambda e, kind=kind: single_feature.audit(  # type: ignore[misc]
                e.subject, e.looks if kind.of_pixels else {}, kind
            ),
        )


AUDITS: tuple[Audit, ...] = (
    Audit(
        *exact_duplicates.IDENTICAL,
        "a file included twice",
        lambda e: exact_duplicates.audit(e.subject),
    ),
    Audit(
        *near_duplicates.NEAR,
        "the same image in other sizes, crops or grey levels; across patients, sources and the "
        "split",
        lambda e: near_duplicates.audit(e.subject, e.copies),
    ),
    Audit(*near_duplicates.CONFLICT, "copies of different classes", _conflicts),
    *_shortcut_checks(),
    Audit(
        *guessed_views.GUESSED,
        "images whose view is only guessed from pixels, shown as thumbnails",
        lambda e: guessed_views.audit(e.subject),
    ),
    Audit(
        *augmented_copies.AUGMENTED,
        "augmented copies in a training set without their original",
        lambda e: augmented_copies.audit(e.subject),
    ),
    Audit(
        *patients.PATIENTS,
        "patients on both sides, ids that look like one patient, images without a patient",
        lambda e: patients.audit(e.subject),
    ),
    Audit(
        *class_balance.SUPPORT,
        "too few images for the claim",
        lambda e: class_balance.support(e.subject),
    ),
    Audit(
        *class_balance.CHILDREN,
        "children in one class only; if a data set has no ages, what its publisher states "
        "(`kermany` is paediatric, as are the viral pneumonias of `radiography_database`)",
        lambda e: class_balance.children(e.subject),
    ),
    Audit(
        *subgroups.ACCURACY,
        "lower accuracy by sex, age, view or source",
        lambda e: subgroups.accuracy(e.subject, e.tested),
    ),
    Audit(
        *subgroups.CALIBRATION,
        "miscalibrated probabilities in a source or subgroup",
        lambda e: subgroups.calibration(e.subject, e.tested),
    ),
    Audit(
        *shortcuts.COVERED,
        "a class predictable with the lungs blacked out, or from the border alone",
        lambda e: shortcuts.covered(e.subject, e.scored),
        runs_model=True,
    ),
    Audit(
        *shortcuts.BURNED_IN,
        "a class read from burned-in text",
        lambda e: shortcuts.burned_in_text(e.subject, e.scored),
        runs_model=True,
    ),
    Audit(
        *features.SOURCE,
        "a source predictable from the network's features",
        lambda e: features.source(e.subject, e.scored),
        runs_model=True,
    ),
    Audit(
        *features.HELD_OUT,
        "performance that drops on a source excluded from training",
        lambda e: features.left_out_source(e.subject, e.scored),
        runs_model=True,
    ),
    Audit(
        *features.UNLIKE,
        "images unlike all others, by the distance of their features",
        lambda e: features.unlike(e.subject, e.scored),
        runs_model=True,
    ),
    Audit(
        *out_of_distribution.SURE,
        "a model that is confident on noise, a hand, a CT slice or an inverted image",
        lambda e: out_of_distribution.audit(e.subject, e.scored, e.some_images[1], e.predict),
        runs_model=True,
    ),
    Audit(
        *heat_maps.HEAT,
        "heat maps that lie on the lungs no more than expected by chance, per class: "
        "with the same number of images of each class; a class with fewer than eight patients is "
        "not assessable",
        lambda e: heat_maps.audit(e.subject, e.scored, *e.some_images),
        runs_model=True,
    ),
    Audit(
        *heat_map_sanity.SANITY,
        "heat maps that stay the same with random weights, and so show the image, not the model",
        lambda e: heat_map_sanity.audit(e.subject, e.scored, *e.some_images),
        runs_model=True,
    ),
)
"""in the order in which they run"""
