"""Whole evaluations: figures, intervals, trivial rules, folds and what is refused."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as reference
from numpy.typing import NDArray

from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.core import limits
from pulmospark.core.errors import InputError
from pulmospark.evaluation.calibration import choose_operating_point
from pulmospark.evaluation.evaluate import (
    FoldPredictions,
    cross_validate_summary,
    evaluate_predictions,
)
from pulmospark.evaluation.inputs import TrainingPart
from pulmospark.evaluation.results import CrossValidation, Evaluation, Figure

CLASSES = ("COVID-19", "pneumonia", "normal")
SETTINGS = EvaluateSettings(replicates=200)
EXACT = 1e-9


def drawn(images: int, patients: int, *, seed: int = 4, skill: float = 1.5) -> dict[str, Any]:
    """Predictions of images that come by patient; a patient has one class."""
    random = np.random.default_rng(seed)
    groups = random.integers(0, patients, images)
    labels = random.integers(0, 3, patients)[groups]
    logits = random.normal(size=(images, 3)) + random.normal(size=(patients, 3))[groups]
    logits[np.arange(images), labels] += skill
    table = np.exp(logits)
    return {
        "labels": labels,
        "probabilities": table / table.sum(axis=1, keepdims=True),
        "groups": np.array([f"site:{each}" for each in groups]),
    }


def figures(evaluation: Evaluation) -> dict[str, Figure]:
    """Every figure by its place."""
    found = {name: each for name, each in evaluation if isinstance(each, Figure)}
    for one in evaluation.by_class:
        found |= {f"{one.name} {name}": each for name, each in one if isinstance(each, Figure)}
    return found


def test_figures_are_those_of_scikit_learn_and_lie_in_their_intervals() -> None:
    given = drawn(500, 200)
    labels, table = given["labels"], given["probabilities"]
    said = table.argmax(axis=1)
    found = evaluate_predictions(**given, classes=CLASSES, settings=SETTINGS, seed=1)
    overall = {
        "accuracy": reference.accuracy_score(labels, said),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, said),
        "log_loss": reference.log_loss(labels, table),
        "brier": reference.brier_score_loss(labels, table, labels=[0, 1, 2], scale_by_half=False),
        "macro_auroc": reference.roc_auc_score(labels, table, multi_class="ovr"),
    }
    for name, value in overall.items():
        assert getattr(found, name).value == pytest.approx(value, abs=EXACT)
    assert np.array_equal(found.confusion, reference.confusion_matrix(labels, said))
    for number, one in enumerate(found.by_class):
        hit, called = labels == number, said == number
        assert one.auroc.value == pytest.approx(
            reference.roc_auc_score(hit, table[:, number]), abs=EXACT
        )
        assert one.auprc.value == pytest.approx(
            reference.average_precision_score(hit, table[:, number]), abs=EXACT
        )
        assert one.f1.value == pytest.approx(reference.f1_score(hit, called), abs=EXACT)
        assert one.mcc.value == pytest.approx(reference.matthews_corrcoef(hit, called), abs=EXACT)
        assert one.ppv.value == pytest.approx(reference.precision_score(hit, called), abs=EXACT)
        assert one.support == hit.sum()
    for name, figure in figures(found).items():
        assert figure.value is not None, name
        assert figure.low is not None, name
        assert figure.high is not None, name
        assert figure.low <= figure.value <= figure.high, name
        assert figure.low < figure.high, name
    assert (found.images, found.groups, found.replicates) == (500, len(set(given["groups"])), 200)


def test_the_same_seed_gives_the_same_and_the_order_of_rows_is_nothing() -> None:
    given = drawn(300, 100)
    first = evaluate_predictions(**given, classes=CLASSES, settings=SETTINGS, seed=5)
    again = evaluate_predictions(**given, classes=CLASSES, settings=SETTINGS, seed=5)
    other = evaluate_predictions(**given, classes=CLASSES, settings=SETTINGS, seed=6)
    order = np.random.default_rng(0).permutation(300)
    moved = {name: value[order] for name, value in given.items()}
    shuffled = evaluate_predictions(**moved, classes=CLASSES, settings=SETTINGS, seed=5)
    assert first == again
    assert first.macro_auroc != other.macro_auroc
    for name, figure in figures(first).items():
        twin = figures(shuffled)[name]
        assert (twin.value, twin.low, twin.high) == pytest.approx(
            (figure.value, figure.low, figure.high), abs=1e-12
        ), name


def test_the_block_changes_memory_not_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    given = drawn(200, 80)
    whole = evaluate_predictions(**given, classes=CLASSES, settings=SETTINGS, seed=5)
    monkeypatch.setattr(limits, "BOOTSTRAP_BLOCK_BYTES", 1)
    single = evaluate_predictions(**given, classes=CLASSES, settings=SETTINGS, seed=5)
    for name, figure in figures(whole).items():
        twin = figures(single)[name]
        assert (twin.low, twin.high) == pytest.approx((figure.low, figure.high), abs=1e-12)


def test_intervals_widen_with_images_a_patient() -> None:
    given = drawn(600, 60)
    by_patient = evaluate_predictions(**given, classes=CLASSES, settings=SETTINGS, seed=5)
    given["groups"] = np.arange(600)
    by_image = evaluate_predictions(**given, classes=CLASSES, settings=SETTINGS, seed=5)

    def width(figure: Figure) -> float:
        assert figure.low is not None
        assert figure.high is not None
        return figure.high - figure.low

    for name in ("accuracy", "log_loss", "macro_auroc"):
        assert width(getattr(by_patient, name)) > 1.3 * width(getattr(by_image, name))
    assert by_patient.accuracy.effective is not None
    assert by_patient.accuracy.effective < 400
    assert by_image.accuracy.effective is None


def test_a_class_without_a_image_has_no_figures_and_is_no_error() -> None:
    given = drawn(100, 50)
    given["labels"] = np.minimum(given["labels"], 1)
    found = evaluate_predictions(**given, classes=CLASSES, settings=SETTINGS, seed=1)
    absent = found.by_class[2]
    assert absent.support == 0
    assert absent.sensitivity.value is None
    assert absent.auroc.value is None
    assert absent.auprc.value is None
    assert absent.mcc.value is None
    assert absent.roc.x == absent.precision_recall.x == ()
    assert absent.specificity.value is not None  # images wrongly called it are still counted
    assert found.macro_auroc.value is None
    assert found.balanced_accuracy.value is not None
    assert found.balanced_accuracy.low is not None


def test_a_perfect_model_gets_bounds_and_no_zero_width() -> None:
    labels = np.arange(60) % 3
    table = np.full((60, 3), 0.1)
    table[np.arange(60), labels] = 0.8
    found = evaluate_predictions(labels, table, np.arange(60), CLASSES, SETTINGS, 1)
    for name in ("balanced_accuracy", "macro_auroc"):
        figure = getattr(found, name)
        assert (figure.value, figure.high, figure.method) == (1.0, 1.0, "bound")
        assert 0.7 < figure.low < 0.99
    assert found.accuracy.low is not None
    assert found.accuracy.low < 0.95
    one = found.by_class[0]
    for figure in (one.f1, one.mcc, one.auprc, found.log_loss):
        assert (figure.low, figure.method) == (None, "none")
        assert figure.note is not None
    assert Evaluation.model_validate_json(found.model_dump_json()) == found


def test_a_single_image_is_evaluated() -> None:
    found = evaluate_predictions([1], [[0.2, 0.8]], ["p"], ("a", "b"), SETTINGS, 1)
    assert found.accuracy.value == 1.0
    assert found.macro_auroc.value is None
    assert "NaN" not in found.model_dump_json()


def test_trivial_rules_learn_from_training_alone() -> None:
    training = TrainingPart(
        labels=np.array([0, 0, 0, 1, 1, 2]), sources=np.array(["x", "x", "x", "y", "y", "y"])
    )
    labels = np.array([0, 1, 1, 0, 2])
    found = evaluate_predictions(
        labels,
        np.full((5, 3), 1 / 3),
        np.arange(5),
        CLASSES,
        SETTINGS,
        1,
        sources=np.array(["x", "y", "y", "unseen", "unseen"]),
        trivial=training,
    ).trivial
    assert found is not None
    assert found.most_frequent_class.numerator == 2
    assert found.most_frequent_class_of_source.numerator == 4
    assert found.most_frequent_class.method == "wilson"


def test_the_operating_point_is_judged_at_its_own_threshold() -> None:
    given = drawn(200, 80)
    hit, scores = given["labels"] == 1, given["probabilities"][:, 1]
    point = choose_operating_point(scores, hit, 0.9, "pneumonia")
    found = evaluate_predictions(
        **given, classes=CLASSES, settings=SETTINGS, seed=1, operating_point=point
    ).operating
    assert found is not None
    assert found.sensitivity.numerator == math.ceil(0.9 * hit.sum())
    assert found.specificity.numerator == (scores[~hit] < point.threshold).sum()
    assert found.specificity.denominator == (~hit).sum()


def folds(count: int = 3) -> list[FoldPredictions]:
    made = []
    for number in range(count):
        given = drawn(120 + 10 * number, 60, seed=number)
        given["groups"] = np.array([f"{number}:{each}" for each in given["groups"]])
        scores, labels = given["probabilities"][:, 0], given["labels"]
        made.append(
            FoldPredictions(
                **given,
                sources=np.where(labels == number, "x", "y"),
                trivial=TrainingPart(np.array([number, number, 1]), np.array(["x", "x", "y"])),
                operating_point=choose_operating_point(
                    scores, labels == 0, 0.7 + 0.1 * number, CLASSES[0]
                ),
            )
        )
    return made


def test_folds_are_summed_up_and_pooled() -> None:
    given = folds()
    found = cross_validate_summary(given, CLASSES, SETTINGS, 1)
    values = [fold.macro_auroc.value for fold in found.folds]
    summary = {(each.name, each.class_name): each for each in found.summary}
    one = summary["macro_auroc", None]
    assert one.values == tuple(values)
    assert one.mean == pytest.approx(np.mean(np.array(values, dtype=float)))
    assert one.spread == pytest.approx(np.std(np.array(values, dtype=float), ddof=1))
    assert summary["auroc", "normal"].values[1] == found.folds[1].by_class[2].auroc.value
    assert found.pooled.images == sum(fold.images for fold in found.folds) == 390
    assert np.array_equal(
        found.pooled.confusion, np.sum([fold.confusion for fold in found.folds], axis=0)
    )
    assert found.pooled.replicates == 200
    assert found.folds[0].replicates == 0
    assert found.folds[0].macro_auroc.low is None
    assert found.folds[0].accuracy.low is not None
    assert found.pooled.macro_auroc.low is not None
    assert CrossValidation.model_validate_json(found.model_dump_json()) == found


def test_pooled_images_keep_their_own_folds_rules_and_thresholds() -> None:
    found = cross_validate_summary(folds(), CLASSES, SETTINGS, 1)
    trivial, operating = found.pooled.trivial, found.pooled.operating
    assert trivial is not None
    assert operating is not None
    for name in ("most_frequent_class", "most_frequent_class_of_source"):
        each = [getattr(fold.trivial, name).numerator for fold in found.folds]
        assert getattr(trivial, name).numerator == sum(each)
    summed = [fold.operating.sensitivity.numerator for fold in found.folds if fold.operating]
    assert operating.sensitivity.numerator == sum(each or 0 for each in summed)
    thresholds = tuple(fold.operating.point.threshold for fold in found.folds if fold.operating)
    assert operating.thresholds == thresholds
    assert operating.point.threshold == pytest.approx(np.mean(thresholds))
    # Three folds of 390 images, each of which serves the other two: counted once.
    assert operating.point.chosen_on == 195
    assert operating.point.positives == round(
        sum(fold.operating.point.positives or 0 for fold in found.folds if fold.operating) / 2
    )


def test_folds_can_have_their_own_replicates() -> None:
    found = cross_validate_summary(folds(2), CLASSES, SETTINGS, 1, fold_replicates=100)
    assert found.folds[0].macro_auroc.low is not None


def test_folds_that_do_not_match_are_refused() -> None:
    given = folds(2)
    with pytest.raises(InputError, match="at least two"):
        cross_validate_summary(given[:1], CLASSES, SETTINGS, 1)
    with pytest.raises(InputError, match="1 of 2 folds have a training set"):
        cross_validate_summary([given[0], replace(given[1], trivial=None)], CLASSES, SETTINGS, 1)
    point = given[1].operating_point
    assert point is not None
    with pytest.raises(InputError, match="different classes"):
        other = replace(
            given[1], operating_point=point.model_copy(update={"positive_class": "normal"})
        )
        cross_validate_summary([given[0], other], CLASSES, SETTINGS, 1)


GOOD: dict[str, Any] = {
    "labels": [0, 1],
    "probabilities": [[0.6, 0.4], [0.1, 0.9]],
    "groups": ["p", "q"],
    "classes": ("a", "b"),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0]}, "1 labels for 2 images"),
        ({"labels": [0, 2]}, "2 in row 1 must lie in 0 to 1"),
        ({"labels": [0, -1]}, "-1 in row 1"),
        ({"labels": [0.0, 1.0]}, "one integer per image"),
        ({"groups": ["p"]}, "groups of shape"),
        ({"groups": np.array(["p", None], dtype=object)}, "missing in row 1"),
        ({"sources": ["x"]}, "sources of shape"),
        ({"probabilities": [[0.6, 0.4], [-0.1, 1.1]]}, "-0.1 of 'a' in row 1"),
        ({"probabilities": [[0.6, 0.4], [0.1, 0.90001]]}, "row 1 sum to 1.00001"),
        ({"probabilities": [[0.6, 0.4], [math.nan, 0.9]]}, "nan of 'a' in row 1"),
        ({"probabilities": [[0.6, 0.4], [0.1]]}, "not a table of numbers"),
        ({"probabilities": [[0.6], [0.4]]}, "one per class"),
        ({"probabilities": np.zeros((0, 2)), "labels": [], "groups": []}, "no images"),
        ({"probabilities": np.zeros((2, 0))}, "one per class"),
        ({"classes": ("a", "a")}, "unique"),
        ({"classes": ("a",)}, "1 classes"),
        ({"trivial": TrainingPart([0], ["x"])}, "sources"),
        ({"sources": ["x", "x"], "trivial": TrainingPart([], [])}, "training"),
        ({"sources": ["x", "x"], "trivial": TrainingPart([3], ["x"])}, "training labels: 3"),
        (
            {"operating_point": choose_operating_point(np.ones(1), np.ones(1, bool), 0.9, "c")},
            "operating point for class 'c'",
        ),
    ],
)
def test_bad_input_is_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        evaluate_predictions(**(GOOD | change), settings=SETTINGS, seed=1)
    assert "\n" not in str(caught.value)


def test_too_many_images_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EVALUATION_ROWS_MAX", 1)
    with pytest.raises(InputError, match="2 images, over the limit of 1"):
        evaluate_predictions(**GOOD, settings=SETTINGS, seed=1)


def test_probabilities_of_float32_are_taken() -> None:
    table: NDArray[np.float32] = drawn(50, 20)["probabilities"].astype(np.float32)
    given = drawn(50, 20) | {"probabilities": table}
    found = evaluate_predictions(**given, classes=CLASSES, settings=SETTINGS, seed=1)
    assert found.images == 50


def test_a_thousand_replicates_of_three_thousand_images_take_seconds() -> None:
    given = drawn(3000, 1500)
    started = time.process_time()
    evaluate_predictions(
        **given, classes=CLASSES, settings=EvaluateSettings(replicates=1000), seed=1
    )
    assert time.process_time() - started < 5
