"""CnnClassifier and CnnClassifierModel on Spark."""

from __future__ import annotations

import gc
import io
import shutil
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import IndexToString, StringIndexer
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from ml.small import Small
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.core.errors import BundleError, ClassError, InputError, UsageError
from pulmospark.data.ingest.ingest import ingest
from pulmospark.imaging.image import StandardImage, image_from_bytes
from pulmospark.ml import CnnClassifier, CnnClassifierModel, ImageFeaturizer
from pulmospark.ml.labels import find_labels
from pulmospark.models.bundle.bundle import read_bundle


def scored(model: CnnClassifierModel, images: DataFrame) -> list[Any]:
    return model.transform(images).drop("content").orderBy("path").collect()


def test_probabilities_are_the_bundle_s(images: DataFrame, model: CnnClassifierModel) -> None:
    bundle = read_bundle(model.bundle)
    assert bundle.config.temperature != 1.0  # rows were held out
    assert bundle.config.data["held_out"] > 0
    network = bundle.network()
    for row in model.transform(images.limit(5)).collect():
        image = image_from_bytes(bytes(row["content"]), IngestSettings(size=32))
        assert isinstance(image, StandardImage)
        with torch.no_grad():
            logits = network(torch.from_numpy(image.pixels[None])).double()[0]
        raw = logits / bundle.config.temperature
        wanted = torch.softmax(raw, 0).numpy()
        assert np.allclose(row["rawPrediction"].toArray(), raw.numpy(), atol=1e-4)
        assert np.allclose(row["probability"].toArray(), wanted, atol=1e-5)
        assert row["prediction"] == wanted.argmax()


def test_it_learns(images: DataFrame, shared_weights: Path, work: str) -> None:
    """Accuracy on patients that were not trained on, three classes of like size."""
    test = F.element_at(F.split("patient", "-"), -1).cast("int") % 3 == 0
    model = CnnClassifier(
        modelName="squeezenet1_1", weights=str(shared_weights), labelCol="finding", workDir=work
    ).fit(images.where(~test))
    model.setPredictionLabelCol("told")
    rows = model.transform(images.where(test)).select("finding", "told").collect()
    right = np.mean([row["finding"] == row["told"] for row in rows])
    most = max(Counter(row["finding"] for row in rows).values()) / len(rows)
    assert len(rows) >= 20
    assert right > most + 0.1


def test_three_kinds_of_input_agree(
    spark: SparkSession,
    images: DataFrame,
    folder: Path,
    model: CnnClassifierModel,
    tmp_path: Path,
) -> None:
    sources = [SourceSettings(path=hospital) for hospital in sorted(folder.iterdir())]
    ingest(sources, IngestSettings(size=32), tmp_path / "tables", spark, quiet=True)
    table = spark.read.parquet(str(tmp_path / "tables" / "images"))
    structs = spark.read.format("image").load(f"{folder}/*/images/")
    counts = {
        "bytes": model.transform(images).select("path", "probability"),
        "pixels": model.copy({model.inputCol: "pixels", model.allowPhantomModel: True})
        .transform(table)
        .select("uri", "probability"),
        "image": model.copy({model.inputCol: "image", model.allowPhantomModel: True})
        .transform(structs)
        .select("image.origin", "probability"),
    }
    by_name = {
        kind: {row[0].rsplit("/", 1)[-1]: row[1].toArray() for row in rows.collect()}
        for kind, rows in counts.items()
    }
    assert set(by_name["bytes"]) == set(by_name["pixels"]) == set(by_name["image"])
    compared = 0
    for path, content in images.select("path", "content").collect():
        name = path.rsplit("/", 1)[-1]
        wanted = by_name["bytes"][name]
        assert np.array_equal(by_name["pixels"][name], wanted)
        # Spark's image source keeps the low byte of 16-bit structs, and decodes JPEG by Java.
        if Image.open(io.BytesIO(content)).mode in ("L", "RGB") and name.endswith(".png"):
            assert np.allclose(by_name["image"][name], wanted, atol=1e-3)
            compared += 1
    assert compared > 10


def test_new_columns(images: DataFrame, model: CnnClassifierModel) -> None:
    scored = model.copy({model.predictionLabelCol: "told"}).transform(images)
    assert scored.columns == [
        *images.columns,
        *("rawPrediction", "probability", "prediction", "told", "cautions"),
    ]
    names = IndexToString(inputCol="prediction", outputCol="name").transform(scored)
    for row in names.select("told", "name", "prediction").collect():
        assert row["told"] == row["name"] == model.labels[int(row["prediction"])]
    bare = model.copy({model.rawPredictionCol: "", model.probabilityCol: ""}).transform(images)
    assert bare.columns == [*images.columns, "prediction", "cautions"]
    with pytest.raises(
        UsageError, match="predictionCol is 'label', but the DataFrame already has that column"
    ):
        model.copy({model.predictionCol: "label"}).transform(images)


def test_labels(images: DataFrame) -> None:
    by_name = find_labels(images, "finding")
    assert by_name.names == ("COVID-19", "No Finding", "Pneumonia")
    assert find_labels(images, "label").names == ("0", "1", "2")
    ordered = tuple(by_name.names[i] for i in (2, 0, 1))
    given = find_labels(images, "finding", ordered)
    assert given.names == ordered
    rows = images.select("finding", by_name.index.alias("a"), given.index.alias("b")).collect()
    assert all(by_name.names[int(row["a"])] == row["finding"] for row in rows)
    assert all(ordered[int(row["b"])] == row["finding"] for row in rows)


def test_labels_of_a_string_indexer_keep_their_names(images: DataFrame, small: Small) -> None:
    indexer = StringIndexer(inputCol="finding", outputCol="index", stringOrderType="alphabetDesc")
    stages = [indexer, CnnClassifier(**small, maxIter=1, labelCol="index")]
    model = Pipeline(stages=stages).fit(images).stages[1]
    assert isinstance(model, CnnClassifierModel)
    assert model.labels == ["Pneumonia", "No Finding", "COVID-19"]


@pytest.mark.parametrize(
    ("label", "classes", "words"),
    [
        ("nullif(finding, 'Pneumonia')", [], "is null in [0-9]+ rows"),
        ("'one'", [], "only one class, 'one'"),
        ("finding", ["COVID-19", "Pneumonia"], "has 'No Finding' in [0-9]+ rows"),
        ("label", ["a", "b"], "has 2.0 in [0-9]+ rows"),
        ("label - 1", [], "has -1.0"),
        ("label / 2", [], "has 0.5"),
        ("label * 1000", [], "goes up to 2000.0"),
        ("path", [], "has over"),
        ("label + 1", [], "no training images of '0'"),
    ],
)
def test_labels_that_cannot_be(
    images: DataFrame, small: Small, label: str, classes: list[str], words: str
) -> None:
    rows = images.selectExpr("path", "content", f"{label} as y")
    if label == "path":
        rows = rows.crossJoin(rows.sparkSession.range(9)).withColumn("y", F.expr("path || id"))
    with pytest.raises(ClassError, match=words) as error:
        CnnClassifier(**small, labelCol="y", classes=classes).fit(rows)
    assert "\n" not in error.value.message


def test_an_empty_frame_cannot_be_fitted(images: DataFrame, small: Small) -> None:
    with pytest.raises(ClassError, match="DataFrame is empty"):
        CnnClassifier(**small).fit(images.where("false"))


def test_rows_that_are_no_images(
    images: DataFrame, small: Small, model: CnnClassifierModel
) -> None:
    bad = images.limit(1).withColumns(
        {"content": F.lit(b"none"), "path": F.lit("/bad.png"), "label": F.lit(0.0)}
    )
    rows = images.union(bad)
    classifier = CnnClassifier(**small, maxIter=1)
    with pytest.raises(InputError, match=r"^/bad\.png: not_an_image: .*handleInvalid"):
        classifier.fit(rows)
    fitted = classifier.setHandleInvalid("keep").fit(rows)
    assert sum(read_bundle(fitted.bundle).config.data["images"].values()) == images.count()
    kept = {row["path"]: row for row in scored(fitted, rows)}
    assert kept["/bad.png"]["probability"] is None
    assert kept["/bad.png"]["prediction"] is None
    assert len(kept) == rows.count()
    assert len(scored(model.copy({model.handleInvalid: "skip"}), rows)) == images.count()


def test_cross_validation_over_the_regression(images: DataFrame, small: Small) -> None:
    classifier = CnnClassifier(**small, maxIter=4)
    classifier.lock = threading.Lock()  # type: ignore[attr-defined]  # cannot be pickled
    grid = ParamGridBuilder().addGrid(classifier.regParam, [0.01, 1e6]).build()
    evaluator = MulticlassClassificationEvaluator(metricName="logLoss")  # type: ignore[arg-type]  # the stubs lag
    validated = CrossValidator(
        estimator=classifier,
        estimatorParamMaps=grid,
        evaluator=evaluator,
        numFolds=2,
        parallelism=2,
        seed=1,
    ).fit(images)
    chance = np.log(3)
    assert validated.avgMetrics[0] != pytest.approx(validated.avgMetrics[1], abs=1e-3)
    assert validated.avgMetrics[1] == pytest.approx(chance, abs=0.1)  # nothing but the prior
    best = validated.bestModel
    assert isinstance(best, CnnClassifierModel)
    assert best.uid == classifier.uid
    told = read_bundle(best.bundle).config.training["settings"]["regParam"]
    assert told == grid[int(np.argmin(validated.avgMetrics))][classifier.regParam]


def test_several_fits_are_those_of_one(images: DataFrame, small: Small) -> None:
    classifier = CnnClassifier(**small, maxIter=3)
    maps = [{classifier.regParam: value} for value in (0.1, 0.001)]
    together = classifier.fit(images, maps)
    alone = classifier.fit(images, maps[1])
    assert together[1].modelId != together[0].modelId
    for one, other in zip(scored(together[1], images), scored(alone, images), strict=True):
        assert np.allclose(one["probability"].toArray(), other["probability"].toArray(), atol=1e-6)
    assert not classifier.isSet(classifier.regParam)


def test_saved_and_loaded(images: DataFrame, model: CnnClassifierModel, tmp_path: Path) -> None:
    target = tmp_path / "a folder" / "model"
    model.save(target.as_uri())
    assert (target / "bundle").is_dir()
    with pytest.raises(UsageError, match="hdfs:/model"):
        model.save("hdfs:/model")
    with pytest.raises(UsageError, match="hdfs:/model"):
        CnnClassifierModel.load("hdfs:/model")
    loaded = CnnClassifierModel.load(f"file:{target}")
    assert (loaded.uid, loaded.modelId, loaded.labels) == (model.uid, model.modelId, model.labels)
    assert loaded.extractParamMap() == model.extractParamMap()
    assert scored(loaded, images) == scored(model, images)
    assert read_bundle(target / "bundle").model_id == model.modelId
    kinds = {path.suffix for path in target.rglob("*") if path.is_file()}
    assert kinds <= {".json", ".safetensors", ".md", ".txt", ".crc", ".xml", ".bin", ""}
    # Over itself: what was loaded does not lie in the folder it came from.
    loaded.write().overwrite().save(str(target))
    shutil.rmtree(target)
    assert len(scored(loaded, images.limit(1))) == 1


def test_saved_and_loaded_in_a_pipeline(
    images: DataFrame, model: CnnClassifierModel, small: Small, tmp_path: Path
) -> None:
    pipeline = Pipeline(stages=[CnnClassifier(**small, regParam=0.5)])
    pipeline.save(str(tmp_path / "pipeline"))
    stage = Pipeline.load(str(tmp_path / "pipeline")).getStages()[0]
    assert isinstance(stage, CnnClassifier)
    assert stage.extractParamMap() == pipeline.getStages()[0].extractParamMap()
    fitted = PipelineModel(stages=[model])
    fitted.write().overwrite().save(str(tmp_path / "fitted"))
    loaded = PipelineModel.load(str(tmp_path / "fitted"))
    (stage,) = loaded.stages
    assert isinstance(stage, CnnClassifierModel)
    assert stage.modelId == model.modelId
    assert loaded.transform(images.limit(2)).count() == 2


def test_a_changed_byte_is_refused(
    images: DataFrame, model: CnnClassifierModel, tmp_path: Path
) -> None:
    model.save(str(tmp_path / "model"))
    loaded = CnnClassifierModel.load(str(tmp_path / "model"))
    for folder in (tmp_path / "model" / "bundle", loaded.bundle):
        file = folder / "model.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    with pytest.raises(BundleError, match="differs from the manifest"):
        CnnClassifierModel.load(str(tmp_path / "model"))
    with pytest.raises(BundleError, match="differs from the manifest"):
        loaded.transform(images)


def test_what_is_no_saved_model_is_refused(tmp_path: Path, model: CnnClassifierModel) -> None:
    ImageFeaturizer().save(str(tmp_path / "other"))
    with pytest.raises(InputError, match=r"contains a .*ImageFeaturizer"):
        CnnClassifierModel.load(str(tmp_path / "other"))
    with pytest.raises(UsageError, match="hdfs:// is not supported: mount it"):
        model.save("hdfs://host/model")
    with pytest.raises(UsageError, match="has no network"):
        _ = CnnClassifierModel().labels


def test_a_bundle_goes_with_its_last_model(
    images: DataFrame, model: CnnClassifierModel, tmp_path: Path
) -> None:
    model.save(str(tmp_path / "model"))
    first = CnnClassifierModel.load(str(tmp_path / "model"))
    folder, second = first.bundle, first.copy()
    del first
    gc.collect()
    scored = second.transform(images.limit(1))
    assert folder.is_dir()
    del second
    gc.collect()
    assert not folder.exists()
    assert scored.count() == 1  # what is planned needs the engine only


def test_any_bundle_scores(images: DataFrame, model: CnnClassifierModel, work: str) -> None:
    other = CnnClassifierModel.fromBundle(model.bundle).setWorkDir(work)
    assert scored(other, images) == scored(model, images)


def test_wrong_settings_are_one_line(images: DataFrame, small: Small) -> None:
    with pytest.raises(UsageError, match=r"reg_param: .*-1"):
        CnnClassifier(**small, regParam=-1.0).fit(images)
    with pytest.raises(UsageError, match="method: 'forest': choose one of features, network"):
        CnnClassifier(method="forest")
    with pytest.raises(UsageError, match="validationIndicatorCol is 'none'"):
        CnnClassifier(**small, validationIndicatorCol="none").fit(images)


def test_params_have_their_accessors() -> None:
    own = {"batchSize": 8, "learningRate": 0.01, "validationIndicatorCol": "held"}  # not set
    for stage in (CnnClassifier(), CnnClassifierModel()):
        for param in stage.params:
            name = param.name[0].upper() + param.name[1:]
            value = stage.getOrDefault(param) if stage.isDefined(param) else own[param.name]
            assert getattr(stage, f"set{name}")(value) is stage
            assert getattr(stage, f"get{name}")() == value


def test_the_network_itself(spark: SparkSession, small: Small, work: str) -> None:
    """Dark, grey and bright noise, as pixels: a network that learns tells them apart."""
    rng = np.random.default_rng(8)
    levels = {"bright": 150, "dark": 0, "grey": 75}
    rows = [
        (bytearray(rng.integers(low, low + 100, 32 * 32, dtype=np.uint8)), name, number % 5 == 0)
        for number in range(25)
        for name, low in levels.items()
    ]
    data = spark.createDataFrame(rows, "pixels binary, finding string, held boolean")
    classifier = CnnClassifier(**small, method="network", labelCol="finding", inputCol="pixels")
    classifier.setParams(epochs=6, batchSize=12, learningRate=3e-3)
    model = classifier.setValidationIndicatorCol("held").fit(data)
    config = read_bundle(model.bundle).config
    assert (config.method, config.weights, config.classes) == ("network", None, tuple(levels))
    assert config.data == {"images": dict.fromkeys(levels, 20), "held_out": 15}
    assert config.temperature != 1.0
    scored = model.setPredictionLabelCol("name").transform(data)
    pairs = scored.select("finding", "name").collect()
    assert np.mean([row["finding"] == row["name"] for row in pairs]) > 0.9
    assert list((Path(work) / "ml" / "passing").iterdir()) == []
