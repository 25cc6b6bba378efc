"""MLlib's logistic regression: the one that scikit-learn fits, told as a linear layer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pulmospark.config.train import LogisticSettings
from pulmospark.core.errors import ClassError
from pulmospark.core.schemas import Split
from pulmospark.training.mllib_logistic import fit_logistic, part_filter

pytestmark = pytest.mark.spark
CLASSES = ("covid", "normal", "pneumonia")
Floats = NDArray[np.float64]


def _problem(images: int = 240, width: int = 6) -> tuple[Floats, NDArray[np.int64]]:
    """Features of very different scales, and classes that they tell apart in part."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, len(CLASSES), images)
    centres = rng.normal(size=(len(CLASSES), width))
    scales = np.geomspace(0.01, 100, width)
    return (centres[labels] + rng.normal(size=(images, width))) * scales, labels


def _frame(spark: SparkSession, features: Floats, labels: NDArray[np.int64]) -> DataFrame:
    rows = [(x.tolist(), float(y)) for x, y in zip(features, labels, strict=True)]
    frame = spark.createDataFrame(rows, "values array<double>, label double").coalesce(2)
    return frame.withColumn("features", array_to_vector(F.col("values")))


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


@pytest.mark.parametrize("strength", [0.1, 0.01])
def test_probabilities_are_scikit_learns(strength: float, spark: SparkSession) -> None:
    features, labels = _problem()
    settings = LogisticSettings(max_iter=500)
    fit = fit_logistic(_frame(spark, features, labels), "final", CLASSES, settings, strength)
    assert (fit.images, fit.head.name) == (len(labels), "final")
    found = _softmax(features @ fit.head.weights.T + fit.head.bias)
    # MLlib takes the sample's standard deviation (n - 1), scikit-learn's scaler the other one.
    scale = StandardScaler().fit(features)
    size = np.sqrt(len(labels) / (len(labels) - 1))
    golden = LogisticRegression(C=1 / (len(labels) * strength), max_iter=5000, tol=1e-10)
    golden.fit(scale.transform(features) / size, labels)
    wanted = golden.predict_proba(scale.transform(features) / size)
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    assert list(fit.objective) == sorted(fit.objective, reverse=True)
    assert fit.iterations == len(fit.objective) - 1


def test_the_same_rows_give_the_same_head(spark: SparkSession) -> None:
    frame = _frame(spark, *_problem()).persist()
    settings = LogisticSettings(max_iter=30)
    one, two = (fit_logistic(frame, "final", CLASSES, settings, 0.01).head for _ in range(2))
    frame.unpersist()
    assert np.array_equal(one.weights, two.weights)
    assert np.array_equal(one.bias, two.bias)


def test_two_classes_have_a_row_each(spark: SparkSession) -> None:
    features, labels = _problem()
    frame, settings = _frame(spark, features, labels % 2), LogisticSettings(max_iter=20)
    fit = fit_logistic(frame, "final", CLASSES[:2], settings, 0.01)
    assert fit.head.weights.shape == (2, features.shape[1])
    assert fit.head.bias.shape == (2,)


def test_a_class_without_a_image_is_named(spark: SparkSession) -> None:
    features, labels = _problem()
    with pytest.raises(ClassError, match=r"fold-1-inner: .* no images of 'pneumonia'"):
        frame = _frame(spark, features, labels % 2)
        fit_logistic(frame, "fold-1-inner", CLASSES, LogisticSettings(), 0.01)


def test_conditions_of_the_parts() -> None:
    assert part_filter((Split.TRAIN,), None) == "split in ('train')"
    both = part_filter((Split.TRAIN, Split.VALIDATION), 2)
    assert both == "split in ('train', 'validation') and fold <> 2"
