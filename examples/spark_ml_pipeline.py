"""Deep features and a CNN in Spark ML pipelines: ``python examples/spark_ml_pipeline.py``.

The films are phantoms, drawn by a program: no figure here says anything of real films. The
ImageNet weights of MobileNetV2, or of the network that is the second argument, are fetched, or
taken from the folder that ``PULMOSPARK_WEIGHTS`` names.
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
from pyspark.sql import functions as F  # noqa: N812 - the name everyone knows it by

from pulmospark.ml import CnnClassifier, ImageFeaturizer
from pulmospark.phantoms.write import write_phantoms
from pulmospark.spark.session import spark_session


def read_films(spark: SparkSession, folder: Path) -> DataFrame:
    """Films as Spark's ``binaryFile`` source gives them, joined with the sheet's rows.

    Args:
        spark: the session.
        folder: of the phantoms, a folder a hospital.
    """
    files = spark.read.format("binaryFile").load(f"{folder}/*/images")
    files = files.withColumn("filename", F.element_at(F.split("path", "/"), -1))
    sheets = spark.read.csv(f"{folder}/*/metadata.csv", header=True)
    frontal = sheets.where("view <> 'L'").select("filename", "patientid", "finding")
    films = files.join(frontal, "filename").select("path", "content", "patientid", "finding")
    indexer = StringIndexer(inputCol="finding", outputCol="label", stringOrderType="alphabetAsc")
    return indexer.fit(films).transform(films)


def main(patients: int, folder: Path, network: str) -> None:
    """Fit two models on three quarters of the patients and test them on the rest.

    Args:
        patients: how many are drawn.
        folder: where the phantoms and the fitted pipeline go.
        network: name in the zoo.
    """
    write_phantoms(folder / "phantoms", seed=1, patients=patients)
    with spark_session() as spark:
        films = read_films(spark, folder / "phantoms")
        # By patient, not by film: films of one patient look alike.
        quarter = F.abs(F.xxhash64("patientid")) % 4
        train, test = films.where(quarter > 0), films.where(quarter == 0)
        accuracy = MulticlassClassificationEvaluator(metricName="accuracy")

        # The demo draws files that are no films, too: skip their rows.
        features = ImageFeaturizer(
            inputCol="content", outputCol="features", modelName=network, handleInvalid="skip"
        )
        pipeline = Pipeline(stages=[features, LogisticRegression(regParam=0.01, maxIter=20)])
        pipeline.fit(train).write().overwrite().save(str(folder / "pipeline"))
        fitted = PipelineModel.load(str(folder / "pipeline"))
        scored = fitted.transform(test).cache()  # read twice below
        print(f"ImageFeaturizer and LogisticRegression, on {scored.count()} phantoms not trained")
        print(f"on: accuracy {accuracy.evaluate(scored):.3f}")

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
