"""Spark ML classes saved to addresses in a store, which Spark itself has no jars for."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from pyspark.sql import SparkSession

from bundles import write_untrained
from pulmospark.core.errors import InputError, UsageError
from pulmospark.ml import CnnClassifier, CnnClassifierModel, ImageFeaturizer
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

pytestmark = pytest.mark.spark


def test_estimator_and_featurizer(bucket: StoreUri, spark: SparkSession, tmp_path: Path) -> None:
    del spark
    estimator = CnnClassifier(inputCol="x", modelName="basic_cnn", maxIter=7)
    estimator.save(f"{bucket}ml/estimator")
    loaded = CnnClassifier.load(f"{bucket}ml/estimator")
    assert (loaded.uid, loaded.extractParamMap()) == (estimator.uid, estimator.extractParamMap())
    with pytest.raises(UsageError, match=r"is not empty: call write\(\).overwrite\(\)"):
        estimator.save(f"{bucket}ml/estimator")
    featurizer = ImageFeaturizer(inputCol="y")
    featurizer.write().overwrite().save(f"{bucket}ml/estimator")
    assert ImageFeaturizer.load(f"{bucket}ml/estimator").uid == featurizer.uid
    with pytest.raises(InputError, match=r"contains a .*ImageFeaturizer, not a CnnClassifier"):
        CnnClassifier.load(f"{bucket}ml/estimator")
    # What a store holds, Spark's own reader reads once it is copied to a disk.
    for found in open_store(bucket).list("ml/estimator/"):
        target = tmp_path / found.uri.key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(open_store(bucket).get(found.uri.key))
    assert ImageFeaturizer.load(str(tmp_path / "ml/estimator")).uid == featurizer.uid


def test_model(bucket: StoreUri, spark: SparkSession, tmp_path: Path) -> None:
    del spark
    model = CnnClassifierModel.fromBundle(write_untrained(tmp_path / "bundle"))
    model.setInputCol("here").write().save(f"{bucket}ml/model")
    loaded = CnnClassifierModel.load(f"{bucket}ml/model")
    assert (loaded.uid, loaded.modelId, loaded.labels) == (model.uid, model.modelId, model.labels)
    assert loaded.getInputCol() == "here"
    assert loaded.bundle != model.bundle
    stored = CnnClassifierModel.fromBundle(f"{bucket}ml/model/bundle")
    assert stored.modelId == model.modelId
    boto3.client("s3").delete_object(Bucket=bucket.bucket, Key="ml/model/metadata/part-00000.txt")
    with pytest.raises(InputError, match="contains no saved CnnClassifierModel"):
        CnnClassifierModel.load(f"{bucket}ml/model")


def test_what_is_no_saved_stage_is_never_deleted(bucket: StoreUri, spark: SparkSession) -> None:
    del spark
    open_store(bucket).put("theirs/thesis.txt", b"x")
    with pytest.raises(UsageError, match=r"no saved stage \('thesis.txt'\)"):
        ImageFeaturizer().write().overwrite().save(f"{bucket}theirs")
    assert open_store(bucket).get("theirs/thesis.txt") == b"x"
