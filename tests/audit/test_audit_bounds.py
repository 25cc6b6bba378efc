"""Audits of a model hang on intervals over patients, and are left open where there are none."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from benchmarks.audit_images import CLASSES, clean_subject
from sklearn.metrics import roc_auc_score

from pulmospark.audit import features, out_of_distribution, shortcuts
from pulmospark.audit.heat_maps import mean_share
from pulmospark.audit.model_outputs import Scored
from pulmospark.audit.predictability import area_fall
from pulmospark.audit.subject import Subject

_COVERS = ("whole", "without lungs", "only border", "only lungs", "without text")


def _scored(
    subject: Subject, classes: tuple[str, ...] = CLASSES, *, seen: float = 3.0, **covers: float
) -> Scored:
    """A model that names the classes as well as a cover lets it; by default all as ``seen``."""
    random = np.random.default_rng(7)
    labels = subject.labels
    noise = random.normal(0, 1, (labels.size, len(classes)))
    chances = {}
    for cover in _COVERS:
        logits = noise.copy()
        known = labels < len(classes)
        logits[np.flatnonzero(known), labels[known]] += covers.get(cover.replace(" ", "_"), seen)
        powers = np.exp(logits)
        chances[cover] = powers / powers.sum(axis=1, keepdims=True)
    return Scored(
        bundle=cast(
            "Any", SimpleNamespace(config=SimpleNamespace(classes=classes, input_size=32))
        ),
        rows=np.arange(labels.size),
        probabilities=chances,
        features=random.normal(0, 1, (labels.size, 8)),
        unseen=subject.tested,
        region=np.zeros((8, 8), np.bool_),
    )


_BLIND: dict[str, Any] = {"without_lungs": 0.0, "only_border": 0.0}


def test_a_model_that_needs_the_lungs_passes_and_one_that_does_not_fails() -> None:
    subject = clean_subject(600)
    assert shortcuts.covered(subject, _scored(subject, **_BLIND)).verdict == "pass"
    assert shortcuts.covered(subject, _scored(subject)).verdict == "fail"


@pytest.mark.parametrize("run", [shortcuts.covered, shortcuts.burned_in_text])
def test_classes_that_the_model_does_not_have_leave_it_open(run: Any) -> None:
    subject = clean_subject(600)
    found = run(subject, _scored(subject, ("covid", "healthy", "ill")))
    assert found.verdict == "not assessable"
    for name in (*CLASSES, "covid", "healthy", "ill"):
        assert name in found.sentence
    assert found.remedy


@pytest.mark.parametrize("run", [shortcuts.covered, shortcuts.burned_in_text])
def test_one_class_alone_leaves_it_open(run: Any) -> None:
    subject = clean_subject(600, label=["normal"] * 600)
    assert run(subject, _scored(subject)).verdict == "not assessable"


def test_one_class_that_the_model_does_not_have_is_left_out_and_named() -> None:
    subject = clean_subject(600)
    found = shortcuts.covered(subject, _scored(subject, CLASSES[:2]))
    assert found.verdict == "fail"
    assert found.sentence.endswith("the model has no such class: pneumonia.")


@pytest.mark.parametrize(
    "run", [shortcuts.covered, shortcuts.burned_in_text, features.left_out_source]
)
def test_many_images_of_few_patients_leave_it_open(run: Any) -> None:
    few = [f"alder:{n % 9}" for n in range(600)]
    subject = clean_subject(600, group_id=few, patient_id=few)
    assert run(subject, _scored(subject)).verdict == "not assessable"


def test_the_verdict_on_letters_hangs_on_the_lower_bound_of_the_fall() -> None:
    many = clean_subject(2000)
    found = shortcuts.burned_in_text(many, _scored(many, without_text=1.0))
    fall = found.figures[0].figure
    assert found.figures[0].name == "drop in AUROC"
    assert found.verdict == "fail"
    assert fall.low is not None
    assert fall.value is not None
    assert 0.1 < fall.low < fall.value
    few = clean_subject(160)
    found = shortcuts.burned_in_text(few, _scored(few, seen=1.5, without_text=1.0))
    fall = found.figures[0].figure
    assert fall.low is not None
    assert fall.value is not None
    assert fall.value > 0.05 > fall.low
    assert found.verdict == "pass"


def test_a_fall_is_better_known_than_two_areas_apart() -> None:
    random = np.random.default_rng(2)
    labels, groups = np.repeat([0, 1], 100), np.arange(200)
    score = random.normal(labels * 1.0, 1.0)
    before, after = (np.stack([-s, s], axis=1) for s in (score, score - 0.3 * labels))
    told: dict[str, Any] = {"seed": 1, "replicates": 300, "confidence": 0.95}
    fall = area_fall(labels, before, after, groups, **told)
    areas = [roc_auc_score(labels, one[:, 1]) for one in (before, after)]
    assert fall.value == pytest.approx(areas[0] - areas[1])
    assert fall.low is not None
    assert fall.high is not None
    assert 0 < fall.low < areas[0] - areas[1] < fall.high < 0.2
    none = area_fall(labels, before, before, groups, **told)
    assert none.value == 0.0
    assert none.low is not None
    assert none.low < 0  # all replicates are equal: the bounds of the two


def test_sources_of_few_patients_are_left_out_and_named() -> None:
    patients = np.repeat(np.arange(300), 2)
    source = np.where(patients < 5, "cedar", np.where(patients < 150, "alder", "birch"))
    subject = clean_subject(600, source=source.tolist())
    scored = _scored(subject)
    found = features.source(subject, scored)
    assert found.verdict == "pass"
    assert "fewer than 10 patients: cedar" in found.sentence
    told = scored.features.copy()
    told[np.arange(600), subject.labels] += 2.0
    left_out = features.left_out_source(subject, replace(scored, features=told))
    assert left_out.verdict == "pass"
    assert "Not assessable for cedar" in left_out.sentence
    assert {one.name.partition(",")[0] for one in left_out.figures} == {"alder", "birch"}
    one = clean_subject(600, source=["alder"] * 590 + ["cedar"] * 10)
    assert features.source(one, _scored(one)).verdict == "not assessable"


def test_a_lower_bound_of_nought_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the value that stands in for it: a model no better than chance loses nothing."""
    from pulmospark.evaluation.results import Figure

    figures = iter([Figure(value=0.9, low=0.0, high=1.0), Figure(value=0.2, low=0.0, high=0.4)])
    monkeypatch.setattr(features, "_inside_and_out", lambda *_: (next(figures), next(figures)))
    subject = clean_subject(200, source=["alder"] * 200)
    assert features.left_out_source(subject, _scored(subject)).verdict == "not assessable"


def test_heat_of_one_patient_with_many_images_has_a_wide_interval() -> None:
    shares = np.concatenate([np.full(90, 0.9), np.full(10, 0.1)])
    told: dict[str, Any] = {"seed": 1, "replicates": 400, "confidence": 0.95}
    images = mean_share(shares, np.arange(100), **told)
    patients = mean_share(shares, np.concatenate([np.zeros(90), np.arange(1, 11)]), **told)
    assert images.value == patients.value == pytest.approx(0.82)
    assert images.low is not None
    assert patients.low is not None
    assert images.low > 0.7
    assert patients.low < 0.3


def test_a_patients_own_images_are_no_neighbours_of_a_usual_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = clean_subject(120)
    scored = _scored(subject)
    told: list[Any] = []

    def seen(images: np.ndarray, reference: np.ndarray, groups: Any = None) -> np.ndarray:
        told.append(groups)
        return np.zeros(len(images))

    monkeypatch.setattr(out_of_distribution, "distances", seen)
    images = np.zeros((4, 32, 32), np.uint8)
    out_of_distribution.audit(
        subject, scored, images, lambda p: (np.full((len(p), 3), 1 / 3), np.zeros((len(p), 8)))
    )
    np.testing.assert_array_equal(told[0], subject.groups)
