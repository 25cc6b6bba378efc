"""Figures of audits against slow references that share no code, and the words they are told in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from benchmarks.audit_images import CLASSES, clean_subject
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from audit.test_audit_not_assessable import scored
from pulmospark.audit import linear_probe, out_of_distribution
from pulmospark.audit import predictability as guesses
from pulmospark.audit.feature_distances import distances, unit
from pulmospark.audit.heat_maps import mean_share
from pulmospark.audit.patients import alike_ids
from pulmospark.audit.phrasing import named, percent
from pulmospark.audit.predictability import area, area_fall, folds_of, guess, guess_figure
from pulmospark.audit.results import AuditReport, AuditResult, not_assessable
from pulmospark.core.counts import counted
from pulmospark.evaluation.intervals import newcombe_auroc
from pulmospark.evaluation.results import Figure

DRAWS: dict[str, Any] = {"seed": 5, "replicates": 40, "confidence": 0.9}


def _patients(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Groups of one to three images, a class each, and a generator."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(count), random.integers(1, 4, count))
    return groups, random.integers(0, 3, count)[groups], random


def _slow_folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> list[int]:
    """Patients of each class in random order, dealt out one after the other."""
    order = np.random.default_rng(seed).permutation(groups.max() + 1).tolist()
    class_of = {int(group): int(label) for group, label in zip(groups, labels, strict=True)}
    turn = [group for kind in sorted(set(class_of.values())) for group in order
            if class_of[group] == kind]  # fmt: skip
    fold = {group: place % 5 for place, group in enumerate(turn)}
    return [fold[int(group)] for group in groups]


def test_patients_are_dealt_to_folds_class_by_class() -> None:
    groups, labels, _ = _patients(1)
    folds = folds_of(labels, groups, 7)
    assert folds.tolist() == _slow_folds(labels, groups, 7)
    assert set(folds.tolist()) == set(range(guesses.FOLDS))
    for kind in range(3):
        people = [np.unique(groups[(labels == kind) & (folds == fold)]).size for fold in range(5)]
        assert max(people) - min(people) <= 1


def _slow_guess(
    thing: list[Any], labels: np.ndarray, groups: np.ndarray, classes: int, seed: int
) -> np.ndarray:
    """Shares of each class in the bin of an image among images of other folds, image by image."""
    folds = np.asarray(_slow_folds(labels, groups, seed))
    rows = []
    for image, value in enumerate(thing):
        others = [n for n in range(len(thing)) if folds[n] != folds[image]]
        known = [thing[n] for n in others if thing[n] is not None and thing[n] == thing[n]]
        edges: list[float] = []
        if known and isinstance(known[0], float):
            edges = sorted({float(np.quantile(known, n / 8)) for n in range(1, 8)})

        def bin_of(one: Any, cuts: list[float] = edges) -> Any:
            if one is None or one != one:  # noqa: PLR0124 - nan
                return "missing"
            return one if isinstance(one, str) else sum(cut < one for cut in cuts)

        mine = [n for n in others if bin_of(thing[n]) == bin_of(value)]
        over_all = [(sum(labels[n] == kind for n in others) + 1) / (len(others) + classes)
                    for kind in range(classes)]  # fmt: skip
        counts = [sum(labels[n] == kind for n in mine) + 4.0 * over_all[kind]
                  for kind in range(classes)]  # fmt: skip
        rows.append(np.asarray(counts) / sum(counts))
    return np.asarray(rows)


@pytest.mark.parametrize("kind", ["numbers", "few numbers", "names"])
def test_a_guess_is_the_share_of_each_class_in_the_bin(kind: str) -> None:
    groups, labels, random = _patients(2)
    if kind == "names":
        thing = np.asarray([("a", "b", None)[n] for n in random.integers(0, 3, labels.size)],
                           dtype=object)  # fmt: skip
    else:
        thing = random.normal(labels, 2.0).round(0 if kind == "few numbers" else 6)
        thing[random.random(labels.size) < 0.1] = np.nan
    found = guess(thing, labels, groups, classes=3, seed=4)
    expected = _slow_guess(thing.tolist(), labels, groups, 3, 4)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    figure = guess_figure(thing, labels, groups, classes=3, **DRAWS)
    again = area(labels, guess(thing, labels, groups, classes=3, seed=5), groups, **DRAWS)
    assert figure == again


def test_numbers_that_no_training_image_has_are_one_bin() -> None:
    """Known of one patient alone: where he is tested, the others have no value to cut at."""
    groups, labels, _ = _patients(3)
    thing = np.full(labels.size, np.nan)
    thing[groups == 0] = 3.0
    found = guess(thing, labels, groups, classes=3, seed=4)
    expected = _slow_guess(thing.tolist(), labels, groups, 3, 4)
    np.testing.assert_allclose(found[groups != 0], expected[groups != 0], atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_a_thing_that_does_not_vary_tells_nothing() -> None:
    groups, labels, _ = _patients(3)
    for thing in (np.full(labels.size, 2.0), np.asarray(["a"] * labels.size, dtype=object)):
        figure = guess_figure(thing, labels, groups, classes=3, **DRAWS)
        assert figure == Figure(value=0.5, note="the feature is the same for all images")


def _slow_area(labels: np.ndarray, chance: np.ndarray, weights: np.ndarray) -> float:
    return float(np.mean([roc_auc_score(labels == kind, chance[:, kind], sample_weight=weights)
                          for kind in range(chance.shape[1])]))  # fmt: skip


def _draws(groups: np.ndarray) -> list[np.ndarray]:
    """Weights of the images in each replicate: patients drawn with replacement."""
    count = int(groups.max()) + 1
    random = np.random.default_rng(DRAWS["seed"])
    drawn = [random.integers(0, count, count) for _ in range(DRAWS["replicates"])]
    return [np.bincount(one, minlength=count)[groups].astype(float) for one in drawn]


def test_areas_and_falls_are_those_of_scikit_learn_on_the_same_draws() -> None:
    groups, labels, random = _patients(4)
    before, after = (random.dirichlet(np.ones(3), labels.size) + strength * np.eye(3)[labels]
                     for strength in (0.5, 0.2))  # fmt: skip
    ones = np.ones(labels.size)
    weights = _draws(groups)
    areas = [[_slow_area(labels, chance, each) for each in weights] for chance in (before, after)]
    found = area(labels, before, groups, **DRAWS)
    assert found.value == pytest.approx(_slow_area(labels, before, ones))
    assert (found.low, found.high) == pytest.approx(np.quantile(areas[0], [0.05, 0.95]).tolist())
    fall = area_fall(labels, before, after, groups, **DRAWS)
    assert fall.value == pytest.approx(
        _slow_area(labels, before, ones) - _slow_area(labels, after, ones)
    )
    falls = np.subtract(areas[0], areas[1])
    assert (fall.low, fall.high) == pytest.approx(np.quantile(falls, [0.05, 0.95]).tolist())
    assert (fall.method, fall.note) == ("bootstrap", None)


def test_where_all_replicates_are_equal_bounds_are_newcombes() -> None:
    """Three patients of one class, eight of the other; all are told apart, or all wrongly."""
    labels = np.asarray([0] * 9 + [1] * 3)
    groups = np.repeat(np.arange(11), [1] * 6 + [2, 1] + [1] * 3)
    right = np.eye(2)[labels]
    found = area(labels, right, groups, **{**DRAWS, "seed": 3})
    low, high = newcombe_auroc(1.0, 3, 8, 0.9)
    assert found.value == 1.0
    assert (found.low, found.high) == pytest.approx((low, high))
    fall = area_fall(labels, right, 1 - right, groups, **{**DRAWS, "seed": 3})
    worst = newcombe_auroc(0.0, 3, 8, 0.9)
    assert fall.value == 1.0
    assert (fall.low, fall.high) == pytest.approx((low - worst[1], high - worst[0]))
    assert fall.method == "bound"
    assert fall.note == "all replicates are equal: from Newcombe's CI of each"
    # Of patients of both classes there are no others; Newcombe's interval takes one.
    both = np.asarray([0, 1] * 4)
    same = area(both, np.eye(2)[both], np.repeat(np.arange(4), 2), **DRAWS)
    assert same.low == pytest.approx(newcombe_auroc(1.0, 4, 1, 0.9)[0])


def test_a_class_without_images_has_no_area() -> None:
    labels, groups = np.zeros(6, np.int64), np.arange(6)
    chance = np.full((6, 2), 0.5)
    for figure in (area(labels, chance, groups, **DRAWS),
                   area_fall(labels, chance, chance, groups, **DRAWS)):  # fmt: skip
        assert figure == Figure(value=None, note="a class has no images")


def test_cross_fitted_is_scikit_learn_s_regression_fold_by_fold() -> None:
    groups, labels, random = _patients(5)
    images = random.normal(0, 1, (labels.size, 5)) * [1, 2, 3, 4, 5]
    images[np.arange(labels.size), labels] += 2.0
    found = linear_probe.cross_fitted(images, labels, groups, 3, seed=2)
    folds = np.asarray(_slow_folds(labels, groups, 2))
    for fold in range(5):
        tested = folds == fold
        scaler = StandardScaler().fit(images[~tested])
        theirs = LogisticRegression(C=linear_probe._STRENGTH, tol=1e-8, max_iter=1000)
        theirs.fit(scaler.transform(images[~tested]), labels[~tested])
        expected = theirs.predict_proba(scaler.transform(images[tested]))
        np.testing.assert_allclose(found[tested], expected, atol=2e-3)
    # One class alone to learn from: nothing is known.
    alone = linear_probe.cross_fitted(images, np.zeros_like(labels), groups, 4, seed=2)
    np.testing.assert_array_equal(alone, 0.25)
    # Two classes of three are learned; of the third nobody has heard.
    two = linear_probe.cross_fitted(images, np.minimum(labels, 1), groups, 3, seed=2)
    assert two[:, 2].max() < 0.02
    assert two.sum(axis=1) == pytest.approx(1.0)


def test_features_that_are_the_same_for_all_do_no_harm() -> None:
    """Their spread is nought."""
    _, labels, random = _patients(5)
    images = random.normal(0, 1, (labels.size, 4))
    images[:, 0] += 3.0 * (labels == 1)
    images[:, 3] = 7.0
    model = linear_probe.logistic(images, labels, 3)
    without = linear_probe.logistic(images[:, :3], labels, 3)
    np.testing.assert_allclose(model(images), without(images[:, :3]), atol=1e-3)


def test_distances_are_means_over_the_nearest_twentieth_of_other_patients() -> None:
    """More images than are worked on at once, image by image."""
    random = np.random.default_rng(6)
    images = random.normal(0.3, 1.0, (300, 6))
    groups = np.arange(300) // 2
    found = distances(images, images, groups)
    length = images / np.linalg.norm(images, axis=1, keepdims=True)
    for image in range(300):
        apart = np.linalg.norm(length - length[image], axis=1)
        apart[groups == groups[image]] = 2.0
        assert found[image] == pytest.approx(np.sort(apart)[:15].mean(), abs=1e-6)
    # Five at least, and no more than there are.
    few = distances(images[:1], images[100:140])
    apart = np.sort(np.linalg.norm(length[100:140] - length[0], axis=1))
    assert few[0] == pytest.approx(apart[:5].mean(), abs=1e-6)
    assert distances(images[:1], images[100:103])[0] == pytest.approx(
        np.linalg.norm(length[100:103] - length[0], axis=1).mean(), abs=1e-6
    )
    # The nearest of nothing is 2 away: all are of the same patient.
    alone = distances(images[:6], images[:6], np.zeros(6, int))
    assert alone == pytest.approx(np.full(6, 2.0))


def test_features_of_no_length_stay_so() -> None:
    made = unit(np.asarray([[3.0, 4.0], [0.0, 0.0]], np.float32))
    np.testing.assert_allclose(made, [[0.6, 0.8], [0.0, 0.0]], atol=1e-7)
    assert made.dtype == np.float32


def test_the_interval_of_a_mean_share_is_that_of_drawn_patients() -> None:
    random = np.random.default_rng(8)
    groups = np.repeat([4, 7, 9, 12], [1, 3, 2, 4])
    shares = random.random(10)
    found = mean_share(shares, groups, seed=3, replicates=50, confidence=0.8)
    names = [4, 7, 9, 12]
    draws = np.random.default_rng(3).integers(0, 4, (50, 4))
    means = [np.concatenate([shares[groups == names[one]] for one in draw]).mean()
             for draw in draws]  # fmt: skip
    assert found.value == pytest.approx(shares.mean())
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.1, 0.9]).tolist())
    assert found.method == "bootstrap"


def _blocks(image: np.ndarray, side: int = 8) -> np.ndarray:
    step = len(image) // side
    return np.asarray(image.reshape(side, step, side, step).mean(axis=(1, 3)))


@pytest.mark.parametrize("kind", out_of_distribution.DRAWN)
def test_drawings_stay_as_they_are(kind: str) -> None:
    """Figures of one version would not be those of the next otherwise; means of 8 x 8 fields."""
    drawn = out_of_distribution.DRAWN[kind](np.random.default_rng(11), 128)
    expected = np.loadtxt(Path(__file__).with_name("drawings.csv"), delimiter=",")
    place = list(out_of_distribution.DRAWN).index(kind)
    np.testing.assert_allclose(_blocks(drawn), expected[8 * place : 8 * place + 8], atol=0.6)
    another = out_of_distribution.DRAWN[kind](np.random.default_rng(12), 128)
    assert np.abs(_blocks(another) - _blocks(drawn)).max() > 1


def test_the_seed_draws_the_same_strange_pictures() -> None:
    def shown(seed: int) -> list[np.ndarray]:
        subject = replace(clean_subject(120), seed=seed)
        pictures: list[np.ndarray] = []

        def run(some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            pictures.append(some)
            return np.full((len(some), 3), 1 / 3), np.zeros((len(some), 8))

        images = np.random.default_rng(2).integers(0, 256, (20, 32, 32)).astype(np.uint8)
        out_of_distribution.audit(subject, scored(subject), images, run)
        np.testing.assert_array_equal(pictures[-1], 255 - images[: out_of_distribution.EACH])
        return pictures

    first, again, other = shown(1), shown(1), shown(2)
    assert [len(some) for some in first] == [out_of_distribution.EACH] * 4
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not any(np.array_equal(one, two) for one, two in zip(first[:3], other, strict=False))


@pytest.mark.parametrize(
    ("ids", "groups"),
    [
        ({"a:P-7", "a:p007", "a:p_7"}, [("a:P-7", "a:p007", "a:p_7")]),
        ({"a:1", "b:1", "a:12", "b:12"}, []),  # "12" is in all
        ({"a:P00012", "b:p-00012"}, [("a:P00012", "b:p-00012")]),
        ({"a:P0012", "b:P0012"}, []),  # five characters
        ({"a:P00012", "b:P0012"}, []),
        ({"a:123456", "b:123456"}, []),  # no letter
        ({"a:abcdef", "b:abcdef"}, []),  # no number
        ({"a:x:1", "a:X1", "b:2"}, [("a:X1", "a:x:1")]),
        ({"a:p10", "a:p1"}, []),
        ({"b:Q1", "b:q1", "a:Z9", "a:z9"}, [("a:Z9", "a:z9"), ("b:Q1", "b:q1")]),
        ({"a:P000", "a:P0"}, [("a:P0", "a:P000")]),
    ],
)  # fmt: skip
def test_ids_that_look_like_one_patient(ids: set[str], groups: list[tuple[str, ...]]) -> None:
    assert alike_ids(ids) == groups


def test_numbers_and_names_in_sentences() -> None:
    assert [counted(n, "image") for n in (0, 1, 2, 1204)] == [
        "0 images",
        "1 image",
        "2 images",
        "1,204 images",
    ]
    assert [counted(n, "copy", "copies") for n in (1, 2)] == ["1 copy", "2 copies"]
    assert named("abcd") == "a, b, c, d"
    assert named("abcde") == "a, b, c, d and 1 more"
    assert named([str(n) for n in range(1234)]).endswith("3 and 1,230 more")
    assert named([]) == ""
    whole = Figure(value=0.0314, low=0.02, high=0.0459)
    assert percent(whole) == "3.1 % (2.0 to 4.6)"
    assert whole.text() == "0.031 (0.020 to 0.046)"
    for half in (Figure(value=0.0314), Figure(value=0.0314, low=0.02),
                 Figure(value=0.0314, high=0.2)):  # fmt: skip
        assert percent(half) == "3.1%"
        assert half.text() == "0.031"
    assert percent(Figure(value=None)) == Figure(value=None).text() == "not defined"


def test_a_report_counts_its_verdicts() -> None:
    failed = AuditResult(name="a", title="A", verdict="fail", sentence="So it is.")
    passed = failed.model_copy(update={"verdict": "pass"})
    none = not_assessable("b", "B", "there is nothing")
    assert (none.sentence, none.remedy) == ("Not assessable: there is nothing.", "")
    report = AuditReport(images=3, audits=(failed, none, passed, passed), provenance={})
    assert [report.count(one) for one in ("fail", "warn", "not assessable", "pass")] == [
        1, 0, 1, 2,
    ]  # fmt: skip
    assert report.failed == (failed,)


def test_what_is_known_of_images() -> None:
    subject = clean_subject(12, label=["normal", None, "COVID-19", "other"] * 3)
    assert subject.labels.tolist() == [1, -1, 0, -1] * 3
    assert subject.common(3).tolist() == [0, 1]
    assert subject.common(4).tolist() == []
    assert (
        subject.patients.tolist()
        == np.unique([f"alder:{n // 2}" for n in range(12)], return_inverse=True)[1].tolist()
    )
    unknown = clean_subject(4, patient_id=["a:1", None, None, "a:1"])
    assert np.unique(unknown.patients).size == 3
    assert unknown.patients[0] == unknown.patients[3]
    folds = clean_subject(4, fold=pa.array([0, 1, None, 1], pa.int32()),
                          split=["train", "train", None, "train"])  # fmt: skip
    assert folds.parts.tolist() == ["fold 1", "fold 2", None, "fold 2"]
    assert folds.tested.tolist() == [True, True, False, True]
    assert folds.has_folds
    assert folds.has_split
    first, second = np.asarray([0, 1, 0]), np.asarray([1, 3, 3])
    assert folds.leaks(first, second).tolist() == [True, False, True]
    assert folds.image(1).part == "fold 2"
    assert folds.image(2).part is None
    split = clean_subject(4, split=["train", "test", "validation", "test"])
    assert split.parts.tolist() == ["train", "test", "validation", "test"]
    assert split.tested.tolist() == [False, True, False, True]
    assert not split.has_folds
    assert split.leaks(first, second).tolist() == [True, False, True]
    image = split.image(1)
    assert (image.uri, image.image_id, image.source, image.label, image.part) == (
        "/images/000001.png", f"{1:064x}", split.column("source")[1], split.column("label")[1],
        "test",
    )  # fmt: skip
    bare = clean_subject(4, split=pa.nulls(4, pa.string()))
    assert not bare.has_split
    assert not bare.tested.any()
    ages = replace(split, rows=split.rows.set_column(
        split.rows.column_names.index("age"), "age", [pa.array([1.0, None, 3.0, 4.0])]
    )).numbers("age")  # fmt: skip
    assert np.isnan(ages).tolist() == [False, True, False, False]
    assert len(CLASSES) == 3
