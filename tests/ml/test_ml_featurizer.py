"""ImageFeaturizer on Spark."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pyspark.errors import PythonException
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql import types as T  # noqa: N812

from ml.small import Small
from pulmospark.config.ingest import IngestSettings
from pulmospark.core.errors import UsageError
from pulmospark.imaging.image import StandardImage, image_from_bytes
from pulmospark.ml import CnnClassifierModel, ImageFeaturizer
from pulmospark.ml.featurizer import FeaturizerParams
from pulmospark.ml.networks import start_of
from pulmospark.models.weights.imagenet import load_imagenet
from pulmospark.models.zoo import networks


def torch_features(stage: ImageFeaturizer, data: bytes) -> npt.NDArray[np.float32]:
    start = start_of(stage, 2, stage.getSeed())
    image = image_from_bytes(data, IngestSettings(size=start.size))
    assert isinstance(image, StandardImage)
    with torch.no_grad():
        (found,) = start.network.features(torch.from_numpy(image.pixels[None])).numpy()
    return np.asarray(found, np.float32)


@pytest.fixture(scope="module")
def spoilt(images: DataFrame) -> DataFrame:
    """Three images, two rows that are none."""
    three = images.orderBy("path").limit(3).select("path", "content")
    bad = "cast('no image' as binary)"
    return (
        three.union(three.limit(1).selectExpr("'/bad/one.png'", bad))
        .union(three.limit(1).selectExpr("'/bad/two.png'", "cast(null as binary)"))
        .cache()
    )


def test_features_are_the_network_s_own(images: DataFrame, small: Small) -> None:
    stage = ImageFeaturizer(**small)
    found = stage.transform(images).orderBy("path").limit(6).collect()
    for row in found:
        wanted = torch_features(stage, bytes(row["content"]))
        assert np.allclose(row["features"].toArray(), wanted, rtol=1e-5, atol=1e-5)
        assert np.ptp(wanted) > 0.01


def test_imagenet_features_are_the_network_s_own(
    images: DataFrame, shared_weights: Path, work: str
) -> None:
    stage = ImageFeaturizer(
        modelName="squeezenet1_1", weights=str(shared_weights), outputCol="deep", workDir=work
    )
    (row,) = stage.transform(images.orderBy("path").limit(1)).collect()
    network = networks.build("squeezenet1_1", 2).eval()
    load_imagenet(network, source=shared_weights)
    image = image_from_bytes(bytes(row["content"]), IngestSettings(size=224))
    assert isinstance(image, StandardImage)
    with torch.no_grad():
        wanted = network.features(torch.from_numpy(image.pixels[None])).numpy()[0]
    assert np.allclose(row["deep"].toArray(), wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def test_other_columns_stay_as_they_are(images: DataFrame, small: Small) -> None:
    made = ImageFeaturizer(**small, outputCol="deep").transform(images)
    assert made.columns == [*images.columns, "deep"]
    assert made.schema["deep"].dataType == VectorUDT()
    assert made.schema["deep"].metadata == {"ml_attr": {"num_attrs": 128}}
    rest = made.drop("deep")
    assert rest.schema == images.schema
    assert rest.orderBy("path").collect() == images.orderBy("path").collect()


@pytest.mark.parametrize("invalid", ["error", "skip", "keep"])
def test_images_are_run_once(images: DataFrame, small: Small, invalid: str) -> None:
    made = ImageFeaturizer(**small, handleInvalid=invalid).transform(images)
    used = made.where(F.col("features").isNotNull()).select("features", "label")
    plan = used._jdf.queryExecution().executedPlan().toString().split("Initial Plan")[0]
    assert plan.count("ArrowEvalPython") == 1


def test_a_row_that_is_no_image_is_an_error(spoilt: DataFrame, small: Small) -> None:
    made = ImageFeaturizer(**small).transform(spoilt)
    with pytest.raises(PythonException, match=r"InputError: /bad/(one|two)\.png: .*handleInv"):
        made.collect()


def test_a_row_that_is_no_image_is_skipped(spoilt: DataFrame, small: Small) -> None:
    rows = ImageFeaturizer(**small).setHandleInvalid("skip").transform(spoilt).collect()
    assert len(rows) == 3
    assert all(row["features"] is not None for row in rows)


def test_a_row_that_is_no_image_is_kept(spoilt: DataFrame, small: Small) -> None:
    rows = ImageFeaturizer(**small, handleInvalid="keep").transform(spoilt).collect()
    assert sorted(row["path"] for row in rows if row["features"] is None) == [
        "/bad/one.png",
        "/bad/two.png",
    ]
    assert len(rows) == 5


def test_empty_frames_and_empty_partitions(images: DataFrame, small: Small) -> None:
    stage = ImageFeaturizer(**small)
    assert stage.transform(images.where("false")).collect() == []
    few = images.limit(2).repartition(8)
    assert stage.transform(few).count() == 2


def test_nothing_of_the_stage_travels(images: DataFrame, small: Small) -> None:
    stage = ImageFeaturizer(**small)
    stage.lock = threading.Lock()  # type: ignore[attr-defined]  # cannot be pickled
    assert len(stage.transform(images.limit(1)).collect()) == 1
    assert len(stage.copy().transform(images.limit(1)).collect()) == 1


def test_columns_with_odd_names(images: DataFrame, small: Small) -> None:
    odd = images.limit(1).withColumnRenamed("content", "a.b`c")
    made = ImageFeaturizer(**small, inputCol="a.b`c", outputCol="d.e").transform(odd)
    assert made.collect()[0]["d.e"].size == 128


def test_a_bundle_gives_its_own_network(
    images: DataFrame, model: CnnClassifierModel, work: str
) -> None:
    stage = ImageFeaturizer(weights=str(model.bundle), workDir=work)
    start = start_of(stage, 2, 0)
    assert (start.network.name, start.size) == ("basic_cnn", 32)
    assert stage.transform(images.limit(1)).collect()[0]["features"].size == 128
    other = ImageFeaturizer(weights=str(model.bundle), modelName="mobilenet_v2", workDir=work)
    with pytest.raises(UsageError, match=r"the bundle .* contains 'basic_cnn'"):
        other.transform(images)


def test_saved_and_loaded_in_a_pipeline(images: DataFrame, small: Small, tmp_path: Path) -> None:
    deep = ImageFeaturizer(**small, outputCol="deep", seed=7)
    fitted = Pipeline(stages=[deep, LogisticRegression(featuresCol="deep", maxIter=5)]).fit(images)
    fitted.save(str(tmp_path / "pipeline"))
    loaded = PipelineModel.load(str(tmp_path / "pipeline"))
    stage = loaded.stages[0]
    assert isinstance(stage, ImageFeaturizer)
    assert stage.uid == deep.uid
    assert stage.extractParamMap() == deep.extractParamMap()
    wanted = fitted.transform(images).orderBy("path").select("probability").collect()
    assert loaded.transform(images).orderBy("path").select("probability").collect() == wanted


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputCol": "nothing"}, "inputCol is 'nothing', but the columns are path"),
        ({"inputCol": "label"}, "inputCol 'label' is double: it must be binary"),
        (
            {"outputCol": "label"},
            "outputCol is 'label', but the DataFrame already has that column",
        ),
        ({"inputKind": "image"}, "inputKind is 'image', but inputCol 'content' is binary"),
        ({"modelName": "resnet5000"}, "not in the zoo.*; choose one of"),
        ({"imageSize": 8}, "imageSize: 8: must be 16 to 1024"),
        ({"weights": "imagenet"}, "no ImageNet weights exist"),
        (
            {"modelName": "squeezenet1_1", "weights": "/no/such/file"},
            "/no/such/file: no such weights file or folder",
        ),
    ],
)
def test_wrong_params_are_one_line(
    images: DataFrame, small: Small, change: FeaturizerParams, words: str
) -> None:
    stage = ImageFeaturizer(**small).setParams(**change)
    with pytest.raises(UsageError, match=words) as error:
        stage.transform(images)
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    "change", [{"inputKind": "dicom"}, {"handleInvalid": "drop"}, {"batchSize": 0}]
)
def test_wrong_values_are_refused_when_they_are_set(change: FeaturizerParams) -> None:
    with pytest.raises(UsageError, match=r"choose one of|must be 1 to"):
        ImageFeaturizer(**change)


def test_params_have_their_accessors() -> None:
    stage = ImageFeaturizer()
    for param in stage.params:
        name = param.name[0].upper() + param.name[1:]
        value = stage.getOrDefault(param)
        assert getattr(stage, f"set{name}")(value) is stage
        assert getattr(stage, f"get{name}")() == value
    stage.setParams(batchSize=4, inputCol="x")
    assert (stage.getBatchSize(), stage.getInputCol()) == (4, "x")


def test_a_null_image_is_no_image(spark: SparkSession, small: Small) -> None:
    fields = "origin string, height int, width int, nChannels int, mode int, data binary"
    good = ("/a", 40, 40, 1, 0, bytearray(range(40)) * 40)
    schema = T.StructType().add("image", T._parse_datatype_string(f"struct<{fields}>"))
    data = spark.createDataFrame([(good,), (None,), (("/c", -1, -1, -1, -1, b""),)], schema)
    made = ImageFeaturizer(**small, inputCol="image", handleInvalid="keep").transform(data)
    assert [row["features"] is None for row in made.collect()] == [False, True, True]
