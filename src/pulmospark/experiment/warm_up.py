"""Use a little of everything that needs Spark, to record the Java classes it loads."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.config.split import SplitSettings
from pulmospark.config.train import LogisticSettings, TrainSettings
from pulmospark.experiment import pipeline
from pulmospark.experiment.demo import demo_experiment
from pulmospark.experiment.run_folder import run_folder
from pulmospark.inference.batch.predict import predict
from pulmospark.inference.stream.service import plan_stream, run_stream
from pulmospark.phantoms.write import write_phantoms
from pulmospark.spark.class_archive import end_jvm, recorded
from pulmospark.spark.java import Java
from pulmospark.spark.session import local_settings, spark_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PATIENTS = 30
_LANDING = 3


def record_classes(folder: Path, java: Java) -> None:
    """Create the archive that local sessions start from; takes less than a minute.

    Args:
        folder: for phantoms and run; can be deleted afterwards.
        java: that runs Spark.

    Raises:
        EnvironmentProblem: no Java, no space, or this Java cannot create an archive.
    """
    with recorded(java, local_settings()) as conf:
        with spark_session("local[2,4]", conf) as spark:
            gateway = spark.sparkContext._gateway
            _use(folder, spark)
        end_jvm(gateway)


def _use(folder: Path, spark: SparkSession) -> None:
    phantoms = write_phantoms(folder / "phantoms", seed=1, patients=_PATIENTS)
    experiment = demo_experiment(folder, phantoms, processes=1).model_copy(
        update={
            "split": SplitSettings(train=0.5, validation=0.2, test=0.3),
            "train": TrainSettings(
                model="basic_cnn",
                method="features",
                weights="none",
                logistic=LogisticSettings(max_iter=3),
            ),
            "evaluate": EvaluateSettings(replicates=100),
        }
    )
    run = run_folder(experiment)
    pipeline.run_ingest(experiment, run, spark, quiet=True)
    pipeline.run_split(experiment, run, spark)
    pipeline.run_train(experiment, run, spark, quiet=True)
    pipeline.run_evaluate(experiment, run, spark, quiet=True)
    images = sorted(phantoms.folder.glob("*/images/*.png"))[:_LANDING]
    inbox = folder / "inbox"
    inbox.mkdir()
    for image in images:
        shutil.copy(image, inbox)
    predict(run.bundle, [str(inbox)], folder / "scored", spark, layout="none", quiet=True)
    plan = plan_stream(run.bundle, str(inbox), folder / "streamed", precision="fp32")
    run_stream(plan, contextlib.nullcontext(spark), once=True)
