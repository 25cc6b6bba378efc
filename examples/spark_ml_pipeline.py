"""Deep features and a CNN in Spark ML pipelines: ``python examples/spark_ml_pipeline.py``.

The images are phantoms, so the results say nothing about real images. The ImageNet weights of
MobileNetV2, or of the network given as second argument, are downloaded, or taken from the folder
in ``PULMOSPARK_WEIGHTS``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StringIndexer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's convention

from pulmospark.ml import CnnClassifier, ImageFeaturizer
from pulmospark.phantoms.write import write_phantoms
from pulmospark.spark.session import spark_session


def read_images(spark: SparkSession, folder: Path) -> DataFrame:
    """Read images with Spark's ``binaryFile`` source, and join them with the sheet's rows.

    Args:
        spark: the session.
        folder: of the phantoms, with one folder per hospital.
    """
    files = spark.read.format("binaryFile").load(f"{folder}/*/images")
    files = files.withColumn("filename", F.element_at(F.split("path", "/"), -1))
    sheets = spark.read.csv(f"{folder}/*/metadata.csv", header=True)
    frontal = sheets.where("view <> 'L'").select("filename", "patientid", "finding")
    images = files.join(frontal, "filename").select("path", "content", "patientid", "finding")
    indexer = StringIndexer(inputCol="finding", outputCol="label", stringOrderType="alphabetAsc")
    return indexer.fit(images).transform(images)


def main(patients: int, folder: Path, network: str) -> None:
    """Fit two models on three quarters of the patients and test them on the rest.

    Args:
        patients: number of synthetic patients.
        folder: where the phantoms and the fitted pipeline go.
        network: name in the zoo.
    """
    write_phantoms(folder / "phantoms", seed=1, patients=patients)
    with spark_session() as spark:
        images = read_images(spark, folder / "phantoms")
        # By patient, not by image: images of one patient look alike.
        quarter = F.abs(F.xxhash64("patientid")) % 4
        train, test = images.where(quarter > 0), images.where(quarter == 0)
        accuracy = MulticlassClassificationEvaluator(metricName="accuracy")

        # The phantoms include invalid files: skip their rows.
        features = ImageFeaturizer(
            inputCol="content", outputCol="features", modelName=network, handleInvalid="skip"
        )
        pipeline = Pipeline(stages=[features, LogisticRegression(regParam=0.01, maxIter=20)])
        pipeline.fit(train).write().overwrite().save(str(folder / "pipeline"))
        fitted = PipelineModel.load(str(folder / "pipeline"))
        scored = fitted.transform(test).cache()  # read twice below
        print(f"ImageFeaturizer and LogisticRegression, test set of {scored.count()} phantoms:")
        print(f"accuracy {accuracy.evaluate(scored):.3f}")

        classifier = CnnClassifier(
            inputCol="content", labelCol="label", modelName=network, handleInvalid="skip"
        )
        model = classifier.fit(train)
        print(f"CnnClassifier: accuracy {accuracy.evaluate(model.transform(test)):.3f}")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    name = sys.argv[2] if len(sys.argv) > 2 else "mobilenet_v2"
    with tempfile.TemporaryDirectory() as scratch:
        main(count, Path(scratch), name)
