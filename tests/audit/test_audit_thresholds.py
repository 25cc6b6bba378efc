"""Verdicts hang on bounds: a threshold between bound and value warns of nothing yet.

In each test the figure is taken from the audit itself, and the threshold is put just below its
bound, at the bound, and between bound and value: only the first may warn or fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from benchmarks.audit_images import CLASSES, clean_subject

from audit.heat_networks import upper_half_network
from audit.test_audit_not_assessable import KINDS, looks, scored
from pulmospark.audit import features, heat_maps, shortcuts, single_feature
from pulmospark.audit.results import AuditResult
from pulmospark.audit.subject import Subject
from pulmospark.evaluation.results import Figure

IMAGES = 600
STEP = 1e-9


def with_settings(subject: Subject, **changes: Any) -> Subject:
    quick = {"replicates": 100, **changes}
    return replace(subject, settings=subject.settings.model_copy(update=quick))


def verdicts(
    run: Callable[[float, float], AuditResult], bound: float, value: float
) -> Iterator[str]:
    """Verdicts with (warn, fail) below, at and above a bound, there between it and the value."""
    assert abs(bound - value) > 10 * STEP
    middle = (bound + value) / 2
    for warn, fail in (
        (bound - STEP, 9.0), (bound, 9.0), (middle, 9.0),
        (bound - STEP, bound - STEP), (bound - STEP, bound), (bound - STEP, middle),
    ):  # fmt: skip
        yield run(warn, fail).verdict


EXPECTED = ["warn", "pass", "pass", "fail", "warn", "warn"]


def test_a_class_told_by_one_thing() -> None:
    random = np.random.default_rng(1)
    labels = clean_subject(IMAGES).labels
    sex = np.where(random.random(IMAGES) < 0.35 + 0.3 * (labels == 1), "M", "F").tolist()
    subject = clean_subject(IMAGES, sex=sex)

    def run(warn: float, fail: float) -> AuditResult:
        told = with_settings(subject, thing_warn=warn, thing_fail=fail)
        return single_feature.audit(told, looks(), KINDS["sex"])

    figure = run(9.0, 9.0).figures[0].figure
    assert figure.low is not None
    assert figure.value is not None
    assert list(verdicts(run, figure.low, figure.value)) == EXPECTED


@pytest.mark.parametrize("cover", ["without lungs", "only border"])
def test_a_class_told_without_the_lungs_by_the_better_of_two_covers(cover: str) -> None:
    subject = clean_subject(IMAGES)
    model = scored(subject)
    chances = {**model.probabilities, cover: model.probabilities["whole"]}
    model = replace(model, probabilities=chances)

    def run(warn: float, fail: float) -> AuditResult:
        return shortcuts.covered(with_settings(subject, thing_warn=warn, thing_fail=fail), model)

    figure = next(f.figure for f in run(9.0, 9.0).figures if f.name == cover)
    assert figure.low is not None
    assert figure.value is not None
    assert list(verdicts(run, figure.low, figure.value)) == EXPECTED


def test_burned_in_text(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = with_settings(clean_subject(IMAGES))
    model = scored(subject)
    random = np.random.default_rng(4)
    logits = random.normal(0, 1, (IMAGES, 3))
    logits[np.arange(IMAGES), subject.labels] += 1.5
    without = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    model = replace(model, probabilities={**model.probabilities, "without text": without})

    def run(warn: float, fail: float) -> AuditResult:
        monkeypatch.setattr(shortcuts, "_BURNED_IN_WARN", warn)
        monkeypatch.setattr(shortcuts, "_BURNED_IN_FAIL", fail)
        return shortcuts.burned_in_text(subject, model)

    figure = run(9.0, 9.0).figures[0].figure
    assert figure.low is not None
    assert figure.value is not None
    assert list(verdicts(run, figure.low, figure.value)) == EXPECTED
    flips = (model.probabilities["whole"].argmax(1) != without.argmax(1))[subject.tested].mean()
    assert f"{flips:.1%} of the images" in run(9.0, 9.0).sentence


def test_a_model_of_skill_is_one_whose_lower_bound_is_above_chance() -> None:
    assert shortcuts._blind(Figure(value=0.6, low=0.5, high=0.7)) is not None
    assert shortcuts._blind(Figure(value=0.6, low=0.501, high=0.7)) is None
    assert shortcuts._blind(Figure(value=0.6)) is not None


def test_the_source_in_the_features(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = with_settings(clean_subject(IMAGES))
    model = scored(subject)
    told = model.features.copy()
    told[:, 0] += 1.2 * (subject.column("source") == "birch")
    model = replace(model, features=told)
    figure = features.source(subject, model).figures[0].figure
    assert figure.low is not None
    assert figure.value is not None
    for limit, verdict in ((figure.low - STEP, "warn"), (figure.low, "pass"),
                           ((figure.low + figure.value) / 2, "pass")):  # fmt: skip
        monkeypatch.setattr(features, "_SOURCE_WARN", limit)
        found = features.source(subject, model)
        assert found.verdict == verdict
        assert bool(found.remedy) == (verdict == "warn")


def test_the_gap_of_a_left_out_source_is_between_the_nearer_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one of two sources the features say the opposite: told inside, not from outside."""
    subject = with_settings(clean_subject(IMAGES))
    model = scored(subject)
    told = np.random.default_rng(2).normal(0, 1, (IMAGES, 8))
    sign = np.where(subject.column("source") == "birch", 1.0, 0.2)
    told[np.arange(IMAGES), subject.labels] += 2.5 * sign
    model = replace(model, features=told)

    def run(warn: float, fail: float) -> AuditResult:
        monkeypatch.setattr(features, "_GAP_WARN", warn)
        monkeypatch.setattr(features, "_GAP_FAIL", fail)
        return features.left_out_source(subject, model)

    figures = {one.name: one.figure for one in run(9.0, 9.0).figures}
    gaps = {}
    for source in ("alder", "birch"):
        pair = [figures.get(f"{source}, {side}") for side in ("internal", "held out")]
        if pair[0] is not None and pair[1] is not None:
            assert pair[0].low is not None
            assert pair[1].high is not None
            gaps[source] = pair[0].low - pair[1].high
    bound = max(gaps.values())
    worst = max(gaps, key=lambda name: gaps[name])
    value = (figures[f"{worst}, internal"].value or 0) - (figures[f"{worst}, held out"].value or 0)
    assert value > bound
    assert list(verdicts(run, bound, value)) == EXPECTED


@pytest.mark.parametrize(
    ("low", "value", "verdict"),
    [
        (0.5, 0.9, "pass"),  # as much as heat spread evenly, though the value is far above
        (0.51, 0.9, "warn"),
        (0.75, 0.9, "warn"),  # half-way to all of it
        (0.76, 0.9, "fail"),
    ],
)
def test_heat_outside_the_lungs(
    low: float, value: float, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = iter([Figure(value=value, low=low, high=0.95), Figure(value=0.95, low=0.1, high=1.0),
                   Figure(value=0.2, low=0.1, high=0.3)])  # fmt: skip
    monkeypatch.setattr(heat_maps, "_share", lambda *_: next(shares))
    subject = clean_subject(30, group_id=[f"g{n}" for n in range(30)])
    half = np.zeros((8, 8), bool)
    half[:4] = True
    config = SimpleNamespace(classes=CLASSES)
    model = scored(subject, region=half)
    model = replace(
        model,
        probabilities={"whole": np.eye(3)[np.repeat([0, 1, 2], 10)]},
        bundle=cast("Any", SimpleNamespace(config=config, network=upper_half_network)),
    )
    found = heat_maps.audit(subject, model, np.arange(30), np.zeros((30, 8, 8), np.uint8))
    assert found.verdict == verdict
    assert found.figures[0].figure.low == low  # the class that the verdict hangs on stands first
    assert "a uniform map would have 50.0%" in found.sentence
