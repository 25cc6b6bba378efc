"""Train: from the images table and a cohort to a bundle, in one of two ways."""

from __future__ import annotations

from pathlib import Path

import torch
from pyspark.sql import SparkSession

from pulmospark.core import files
from pulmospark.core.errors import InputError
from pulmospark.core.provenance import provenance
from pulmospark.core.settings import Experiment
from pulmospark.data.ingest import read_ingest
from pulmospark.data.split_summary import read_split
from pulmospark.models import zoo
from pulmospark.models.weights import load_imagenet
from pulmospark.training.bundling import write_trained
from pulmospark.training.by_features import train_by_features
from pulmospark.training.by_network import train_by_network
from pulmospark.training.job import Job
from pulmospark.training.records import TrainResult


def train(
    experiment: Experiment,
    spark: SparkSession,
    *,
    tables: Path,
    cohort: Path,
    target: Path,
    bundle: Path,
    quiet: bool = False,
) -> TrainResult:
    """Train as the experiment says and write the bundle and the scores of all its films.

    With folds, one model is trained for each (tested on it, validated on a share of the
    others) and a final one on all; the bundle holds the final one, and its figures are those
    of the folds. Temperature and operating point come from the validation part alone.

    Args:
        experiment: the settings.
        spark: the session.
        tables: folder that ingest wrote.
        cohort: folder that split wrote.
        target: folder of the scores and of ``training.json``.
        bundle: folder of the bundle.
        quiet: show no progress.

    Raises:
        InputError: an earlier step is missing, or a part has no film.
        UsageError: the network is unknown or does not fit the images.
        EnvironmentProblem: weights are missing.
        TrainingError: a training process failed.
    """
    split = read_split(cohort)
    read_ingest(tables)
    settings = experiment.train
    zoo.check_size(settings.model, experiment.ingest.size)
    work = target.with_name(f".{target.name}.work")
    with files.disk_errors(work):
        work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(experiment.seed)
    network = zoo.build(settings.model, len(split.classes))
    origin = None
    if settings.weights == "imagenet":
        found = load_imagenet(network, source=settings.weights_path)
        origin = {"file": found.file, "sha256": found.sha256, "licence": found.licence}
    job = Job(experiment, tables / "images", cohort, split, work, spark, quiet)
    trainer = train_by_features if settings.method == "features" else train_by_network
    with files.whole_folder(target) as aside:
        result = TrainResult(
            bundle=bundle,
            method=settings.method,
            model=settings.model,
            parameters=sum(p.numel() for p in network.parameters()),
            classes=split.classes,
            folds=split.folds,
            cohort_id=split.cohort_id,
            weights=origin,
            **trainer(job, network, aside / "scores"),
        )
        write_trained(bundle, experiment, network, result, split)
        files.write_json(
            aside / "training.json",
            {
                "result": result.model_dump(mode="json"),
                "provenance": provenance(settings.model_dump(mode="json"), seed=experiment.seed),
            },
        )
    return result


def read_training(target: Path) -> TrainResult:
    """The result that the last training into ``target`` left.

    Raises:
        InputError: there is none.
    """
    if not (target / "training.json").is_file():
        raise InputError(f"{target}: nothing there yet: run `pulmospark train` first")
    return TrainResult.model_validate(files.read_json(target / "training.json")["result"])
