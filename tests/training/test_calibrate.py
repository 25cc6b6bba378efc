"""What is said of an operating point that hangs on few images, and of strengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.expansions import member
from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.config.parse import parse
from pulmospark.config.train import LogisticSettings
from pulmospark.core import schemas
from pulmospark.core.errors import InputError, UsageError
from pulmospark.evaluation.calibration import choose_operating_point
from pulmospark.training.calibrate import calibration_warnings, numbered, positive_of
from pulmospark.training.feature_matrix import Images
from pulmospark.training.logistic_fit import Head
from pulmospark.training.results import ModelRecord, TrainResult, strengths
from pulmospark.training.tuning import chosen_of, final_scores, write_out_of_fold


def _record(positives: int, fold: int | None = None, **changes: Any) -> ModelRecord:
    positive = np.arange(100) < positives
    point = choose_operating_point(np.linspace(0.9, 0.1, 100), positive, 0.95, "covid")
    fields: dict[str, Any] = {
        "name": "final" if fold is None else f"fold-{fold}",
        "fold": fold,
        "images": 100,
        "validation_images": 100,
        "temperature": 1.0,
        "operating_point": point,
        "seconds": 1.0,
    }
    return ModelRecord(**(fields | changes))


def test_fewer_than_twenty_positives_are_a_warning_with_their_number() -> None:
    assert calibration_warnings((_record(20),)) == ()
    (text,) = calibration_warnings((_record(5),))
    # Clopper and Pearson's bounds of 5 of 5: 0.025 ** (1 / 5) = 0.478.
    assert "was chosen on 5 images of that class, fewer than 20" in text
    assert "from 47.8% to 100.0%" in text
    (text,) = calibration_warnings((_record(7, 0), _record(9, 1), _record(30)))
    assert "chosen on 30 images of that class (7 in one fold), fewer than 20" in text


def _result(*models: ModelRecord) -> TrainResult:
    return TrainResult(
        bundle=Path("b"), method="features", model="m", parameters=1, classes=("covid", "normal"),
        folds=len(models) - 1, cohort_id="c", models=models,
    )  # fmt: skip


def test_the_strengths_of_each_model_are_said_where_they_were_chosen() -> None:
    losses = {0.1: 0.5, 0.03: 0.4}
    chosen = _result(
        _record(9, 0, reg_param=0.1, reg_param_losses=losses),
        _record(9, 1, reg_param=0.03, reg_param_losses=losses),
        _record(9, reg_param=0.1, reg_param_losses=losses),
    )
    assert strengths(chosen, LogisticSettings()) == (
        "regParam 0.1, chosen by the log loss of out-of-fold scores; of the folds 0.1, 0.03"
    )
    given = _result(_record(9, reg_param=0.2, reg_param_losses={0.2: 0.5}))
    assert strengths(given, LogisticSettings(reg_param=0.2)) == "regParam 0.2"
    assert strengths(_result(_record(9)), LogisticSettings(reg_param=0.01)) == "regParam 0.01"
    assert ModelRecord.model_validate_json(chosen.models[0].model_dump_json()) == chosen.models[0]


def test_an_elastic_net_needs_a_strength() -> None:
    with pytest.raises(UsageError, match=r"elastic_net_param is 0\.5 and reg_param is not set"):
        parse(LogisticSettings, {"elastic_net_param": 0.5}, where="f")
    assert parse(LogisticSettings, {"elastic_net_param": 0.5, "reg_param": 0.1}, where="f")


def _images() -> Images:
    rows = [member(n, ("covid", "normal")[n % 2], "train") | {"fold": n % 3} for n in range(9)]
    table = pa.Table.from_pylist(rows, schema=schemas.COHORT)
    features = np.arange(18, dtype=np.float32).reshape(9, 2)
    return Images(table, features, np.arange(9) % 2, np.arange(9) % 3, np.full(9, "train"))


def test_the_final_models_scores_are_each_by_the_fold_that_was_not_fitted_on_the_image() -> None:
    images = _images()
    heads = {
        fold: Head(f"fold-{fold}", np.array([[1.0, 0.0], [0.0, 1.0]]) * (fold + 1), np.zeros(2))
        for fold in range(3)
    }
    found = final_scores(images, heads)
    wanted = [[2 * n * (n % 3 + 1), (2 * n + 1) * (n % 3 + 1)] for n in range(9)]
    assert found.tolist() == wanted


def test_only_images_with_a_score_are_chosen_on_and_written(tmp_path: Path) -> None:
    images = _images()
    logits = np.arange(18, dtype=float).reshape(9, 2)
    logits[images.folds == 1] = np.nan
    chosen = chosen_of(images, logits)
    assert chosen.by == "out-of-fold"
    assert chosen.labels.tolist() == [0, 0, 1, 1, 0, 0]
    assert chosen.logits.tolist() == logits[images.folds != 1].tolist()
    assert len(set(chosen.groups.tolist())) == 6
    write_out_of_fold(tmp_path / "part.parquet", images, {"fold-1-inner": logits})
    told = pa.parquet.read_table(tmp_path / "part.parquet")
    assert told.schema.names == schemas.SCORES.names
    assert told["logits"].to_pylist() == chosen.logits.tolist()
    assert set(told["model"].to_pylist()) == {"fold-1-inner"}


@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (("NORMAL", "PNEUMONIA"), "PNEUMONIA"),
        (("No Finding", "TB", "COVID"), "TB"),
        (("COVID", "non-COVID"), "COVID"),
        (("Non_Covid", "Covid"), "Covid"),
        (("Normal", "Healthy"), "Normal"),
        (("nodule", "mass"), "nodule"),
    ],
)
def test_the_positive_class_is_by_default_a_disease(
    classes: tuple[str, ...], positive: str
) -> None:
    assert positive_of(classes, EvaluateSettings()) == positive
    assert positive_of(classes, EvaluateSettings(positive_class=classes[-1])) == classes[-1]
    with pytest.raises(InputError, match="is 'x', but the classes are"):
        positive_of(classes, EvaluateSettings(positive_class="x"))


def test_the_negative_class_is_not_the_positive_one() -> None:
    assert positive_of(("a", "b"), EvaluateSettings(negative_class="a")) == "b"


def test_groups_are_numbered_by_name() -> None:
    assert numbered(pa.chunked_array([["b", "a", "b"]])).tolist() == [1, 0, 1]
