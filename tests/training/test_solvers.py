"""The regression fitted on the driver, next to MLlib's and scikit-learn's, and which is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.ml.classification import LogisticRegression as SparkRegression
from pyspark.ml.functions import array_to_vector
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from data.expansions import member
from pulmospark.config.parse import parse
from pulmospark.config.train import LogisticSettings
from pulmospark.core import limits, schemas
from pulmospark.core.arrays import Floats, Ints, Singles
from pulmospark.core.errors import ClassError, InputError, UsageError
from pulmospark.core.schemas import Split
from pulmospark.training.feature_matrix import Images, read_images, solver_of
from pulmospark.training.logistic_fit import check_classes
from pulmospark.training.results import TrainResult, regression_method
from pulmospark.training.softmax_regression import Standardised, fit_softmax


def _problem(classes: int, seed: int = 4, images: int = 300) -> tuple[Singles, Ints]:
    """Features of very different scales and offsets, one of them constant; classes overlap."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    centres = rng.normal(size=(classes, 12)) * 0.5
    values = (centres[labels] + rng.normal(size=(images, 12))) * np.geomspace(0.1, 10, 12) + 3
    values[:, 5] = 7.3
    return values.astype(np.float32), labels.astype(np.int64)


def _objective(
    features: Singles, labels: Ints, weights: Floats, bias: Floats, reg_param: float
) -> float:
    """MLlib's objective as its documentation states it, in float64 and without our code."""
    exact = features.astype(np.float64)
    logits = exact @ weights.T + bias
    chosen = logits[np.arange(len(labels)), labels]
    loss = np.mean(np.log(np.exp(logits).sum(axis=1)) - chosen)
    return float(loss + reg_param / 2 * np.sum((weights * exact.std(axis=0, ddof=1)) ** 2))


def _shares(features: Singles, weights: Floats, bias: Floats) -> Floats:
    powers = np.exp(features.astype(np.float64) @ weights.T + bias)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.spark
@pytest.mark.parametrize(("classes", "reg_param"), [(2, 0.1), (3, 0.1), (3, 0.003), (3, 0.0)])
def test_the_driver_and_mllib_reach_the_same_objective(
    classes: int, reg_param: float, spark: SparkSession
) -> None:
    features, labels = _problem(classes)
    fit = fit_softmax(Standardised.of(features), labels, classes, reg_param, max_iter=500)
    rows = [(x.tolist(), float(y)) for x, y in zip(features, labels, strict=True)]
    frame = spark.createDataFrame(rows, "v array<double>, label double").coalesce(1)
    model = SparkRegression(family="multinomial", regParam=reg_param, maxIter=500, tol=1e-12).fit(
        frame.select(array_to_vector(F.col("v")).alias("features"), "label")
    )
    weights, bias = model.coefficientMatrix.toArray(), model.interceptVector.toArray()
    ours = _objective(features, labels, fit.weights, fit.bias, reg_param)
    theirs = _objective(features, labels, weights, bias, reg_param)
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert ours == pytest.approx(fit.objective[-1], abs=1e-6)
    assert model.summary.objectiveHistory[-1] == pytest.approx(theirs, abs=1e-6)
    wanted = _shares(features, weights, bias)
    np.testing.assert_allclose(_shares(features, fit.weights, fit.bias), wanted, atol=1e-3)
    # The coefficients themselves: softmax leaves a constant free, which both fix in one way.
    np.testing.assert_allclose(fit.weights, weights, atol=5e-3 * np.abs(weights).max())


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.floats(0.003, 3.0), st.integers(0, 1000))
def test_scikit_learn_finds_no_better_objective(classes: int, reg_param: float, seed: int) -> None:
    features, labels = _problem(classes, seed)
    fit = fit_softmax(Standardised.of(features), labels, classes, reg_param, max_iter=1000)
    scaler = StandardScaler().fit(features.astype(np.float64))
    spread = np.where(scaler.var_ > 0, np.sqrt(scaler.var_ * len(labels) / (len(labels) - 1)), 1.0)
    # Of two classes scikit-learn has one row of coefficients, the difference of ours, whose
    # squared norm is twice the sum of theirs.
    strength = len(labels) * reg_param / (2 if classes == 2 else 1)
    model = LogisticRegression(C=1 / strength, tol=1e-9, max_iter=10_000)
    model.fit((features - scaler.mean_) / spread, labels)
    rows = np.vstack([-model.coef_ / 2, model.coef_ / 2]) if classes == 2 else model.coef_
    free = model.intercept_
    first = np.concatenate([-free / 2, free / 2]) if classes == 2 else free
    weights = rows / spread
    reached = _objective(features, labels, weights, first - weights @ scaler.mean_, reg_param)
    ours = _objective(features, labels, fit.weights, fit.bias, reg_param)
    assert ours == pytest.approx(reached, abs=1e-6)
    assert fit.bias + fit.weights @ Standardised.of(features).mean == pytest.approx(
        fit.standardised[:, -1]
    )
    assert fit.standardised[:, -1].sum() == pytest.approx(0, abs=1e-9)


def test_the_objective_falls_and_max_iter_ends_it() -> None:
    features, labels = _problem(3)
    scaled = Standardised.of(features)
    fit = fit_softmax(scaled, labels, 3, 0.01, max_iter=500)
    assert list(fit.objective) == sorted(fit.objective, reverse=True)
    short = fit_softmax(scaled, labels, 3, 0.01, max_iter=3)
    assert short.objective == fit.objective[:4]
    again = fit_softmax(scaled, labels, 3, 0.01, max_iter=500, start=fit)
    assert again.objective[-1] <= fit.objective[-1] + 1e-12
    assert len(again.objective) < len(fit.objective) / 2


def test_a_matrix_of_several_blocks_is_fitted_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = _problem(3)
    whole = fit_softmax(Standardised.of(features), labels, 3, 0.1, max_iter=500)
    monkeypatch.setattr("pulmospark.training.softmax_regression._BLOCK_BYTES", 1000)
    blocks = fit_softmax(Standardised.of(features), labels, 3, 0.1, max_iter=500)
    np.testing.assert_allclose(blocks.weights, whole.weights, atol=1e-3)
    assert blocks.objective[-1] == pytest.approx(whole.objective[-1], abs=1e-7)


def test_the_solver_follows_from_the_setting_the_penalty_and_the_size() -> None:
    most = limits.FEATURE_MATRIX_BYTES_MAX // (4 * 1280)
    assert solver_of(LogisticSettings(), most, 1280) == "driver"
    assert solver_of(LogisticSettings(), most + 1, 1280) == "mllib"
    assert solver_of(LogisticSettings(solver="mllib"), 10, 1280) == "mllib"
    net = LogisticSettings(reg_param=0.1, elastic_net_param=0.5)
    assert solver_of(net, 10, 1280) == "mllib"
    with pytest.raises(UsageError, match=r"is 'driver', but the 1,280 features .* over 128 MiB"):
        solver_of(LogisticSettings(solver="driver"), most + 1, 1280)
    with pytest.raises(UsageError, match="solver is 'driver', which fits L2 only"):
        parse(LogisticSettings, net.model_dump() | {"solver": "driver"}, where="f")


def test_a_class_without_images_is_named() -> None:
    check_classes("final", ("covid", "normal"), {0, 1})
    with pytest.raises(ClassError, match=r"fold-1-inner: .* no images of 'normal'"):
        check_classes("fold-1-inner", ("covid", "normal"), {0})


def _tables(folder: Path, *, copies: int) -> tuple[Path, Path, list[Path]]:
    """A cohort of nine images in three folds, an expansion, and the features of all of them."""
    rows = [
        member(n, ("covid", "normal")[n % 2], "test" if n == 8 else "train") | {"fold": n % 3}
        for n in range(9)
    ]
    (folder / "cohort" / "table").mkdir(parents=True)
    table = pa.Table.from_pylist(rows, schema=schemas.COHORT)
    pq.write_table(table, folder / "cohort" / "table" / "part.parquet")
    drawn = [
        row | {"uri": f"{row['uri']}#draw-{draw}" if draw else row["uri"], "draw": draw,
               "operations": "[]", "pixels": b"\0"}
        for row in rows[:2] for draw in range(copies + 1)
    ]  # fmt: skip
    (folder / "expanded" / "table").mkdir(parents=True)
    expanded = pa.Table.from_pylist(drawn, schema=schemas.EXPANDED)
    pq.write_table(expanded, folder / "expanded" / "table" / "part.parquet")
    every = [row["uri"] for row in rows] + [row["uri"] for row in drawn if row["draw"]]
    features = [
        {"image_id": uri, "uri": uri, "features": [float(n), -float(n)]}
        for n, uri in enumerate(every)
    ]
    parts = [folder / "features-0.parquet", folder / "features-1.parquet"]
    for place, part in enumerate(parts):
        pq.write_table(pa.Table.from_pylist(features[place::2], schema=schemas.FEATURES), part)
    return folder / "cohort", folder / "expanded", parts


def test_augmented_copies_are_trained_on_where_their_parent_is(tmp_path: Path) -> None:
    cohort, expanded, parts = _tables(tmp_path, copies=2)
    images = read_images(cohort, parts, ("covid", "normal"), expanded=expanded)
    assert images.features[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert images.folds.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 1, 1]
    both = (Split.TRAIN, Split.VALIDATION)
    assert images.rows_of(both, 0).tolist() == [1, 2, 4, 5, 7, 11, 12]
    assert images.rows_of(both, None).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12]
    alone: Images = read_images(cohort, parts, ("covid", "normal"))
    assert alone.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert len(alone.features) == 9


def test_an_image_without_finite_features_is_named(tmp_path: Path) -> None:
    cohort, _, parts = _tables(tmp_path, copies=0)
    with pytest.raises(InputError, match=r"deep features are missing or not finite.* 3 other"):
        read_images(cohort, parts[:1], ("covid", "normal"))


def test_the_report_names_the_solver() -> None:
    fields: dict[str, Any] = {
        "bundle": Path("b"), "method": "features", "model": "m", "parameters": 1,
        "classes": ("a", "b"), "folds": 0, "cohort_id": "c", "models": (),
    }  # fmt: skip
    settings = LogisticSettings(reg_param=0.5)
    driver = regression_method(TrainResult(**fields, solver="driver"), settings)
    assert driver.startswith("multinomial logistic regression, with the objective of Spark MLlib")
    assert "on the driver (maxIter 200, regParam 0.5, L2)" in driver
    for solver in (None, "mllib"):
        said = regression_method(TrainResult(**fields | {"solver": solver}), settings)
        assert said.startswith("Spark MLlib's multinomial logistic regression (maxIter 200")
        assert "elasticNetParam 0" in said
