"""Train a model on an images table and a cohort, by one of two methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from pyspark.sql import SparkSession

from pulmospark.chunks.parquet_files import Place, open_whole
from pulmospark.chunks.parts import parts_of
from pulmospark.chunks.shared_store import SharedStore
from pulmospark.config.experiment import Experiment
from pulmospark.core import files
from pulmospark.core.errors import InputError
from pulmospark.core.provenance import provenance
from pulmospark.data.cohort.lineage import check_made_with
from pulmospark.data.cohort.split_summary import SplitResult, read_split
from pulmospark.data.ingest.ingest import IngestResult, read_ingest
from pulmospark.models.weights.initial_weights import load_start
from pulmospark.models.zoo import networks
from pulmospark.training.augmented_images import check_augmentation, expanded_of
from pulmospark.training.calibrate import calibration_warnings
from pulmospark.training.cnn import train_by_network
from pulmospark.training.context import Job
from pulmospark.training.deep_features import train_by_features
from pulmospark.training.feature_distance import training_distance
from pulmospark.training.results import TrainResult
from pulmospark.training.write_bundle import BundleParts, has_phantoms, write_trained


def train(
    experiment: Experiment,
    spark: SparkSession,
    *,
    tables: Path,
    cohort: Path,
    target: Path,
    bundle: Path,
    store: SharedStore | None = None,
    quiet: bool = False,
) -> TrainResult:
    """Train a model and write the bundle and the scores of all images.

    With folds, one model is trained for each (tested on it, validated on a share of the
    others) and a final one on all; the bundle contains the final model, with the metrics of the
    folds. Temperature and operating point come from images outside a model's test set:
    out-of-fold scores of the training set with method ``features``, the validation set with
    ``network``.

    Args:
        experiment: the settings.
        spark: the session.
        tables: folder that ingest wrote.
        cohort: folder that split wrote.
        target: folder of the scores and of ``training.json``.
        bundle: folder of the bundle.
        store: of a run that lies in one.
        quiet: show no progress.

    Raises:
        InputError: an earlier stage is missing or used other settings, or a split is empty.
        UsageError: the network is unknown, does not accept the image size, or is not that of
            ``train.start``.
        PlatformError: weights are missing.
        TrainingError: a training process failed.
    """
    split, ingested = read_split(cohort), read_ingest(tables)
    check_made_with(experiment, tables, cohort)
    _check_together(experiment, ingested, split)
    settings = experiment.train
    expanded = expanded_of(settings, tables)
    check_augmentation(settings, expanded, cohort, split)
    networks.check_size(settings.model, experiment.ingest.size)
    work = target.with_name(f".{target.name}.work")
    with files.disk_errors(work):
        work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(experiment.seed)
    network = networks.build(settings.model, len(split.classes))
    origin = load_start(network, settings, split.classes)
    job = Job(experiment, tables / "images", cohort, split, work, spark, quiet, expanded, store)
    trainer = train_by_features if settings.method == "features" else train_by_network
    with files.whole_folder(target) as aside:
        values, features = trainer(job, network, aside / "scores")
        warnings = calibration_warnings(values["models"])
        values["warnings"] = (*values.get("warnings", ()), *warnings)
        result = TrainResult(
            bundle=bundle,
            method=settings.method,
            model=settings.model,
            parameters=sum(p.numel() for p in network.parameters()),
            classes=split.classes,
            folds=split.folds,
            cohort_id=split.cohort_id,
            weights=asdict(origin) if origin else None,
            **values,
        )
        write_trained(bundle, experiment, network, result, split, parts=_parts(job, features))
        files.write_json(
            aside / "training.json",
            {
                "result": result.model_dump(mode="json"),
                "provenance": provenance(settings.model_dump(mode="json"), seed=experiment.seed),
            },
        )
    return result


def _parts(job: Job, features: Sequence[Place]) -> BundleParts:
    distance = training_distance(job, features)
    return BundleParts(distance, has_phantoms(job.images), job.engines)


def _check_together(experiment: Experiment, ingested: IngestResult, split: SplitResult) -> None:
    """Refuse tables and a cohort that do not belong together."""
    if ingested.images != split.images + split.excluded:
        raise InputError(
            f"{split.cohort}: has {split.images + split.excluded} rows, but {ingested.tables} has "
            f"{ingested.images}: rerun `pulmospark split`"
        )
    for part in parts_of(ingested.tables / "images"):
        with open_whole(part) as file:
            first = next(file.iter_batches(1, columns=["pixels"]), None)
        if first is not None and first.num_rows:
            side = int(len(first["pixels"][0].as_buffer()) ** 0.5)
            if side != experiment.ingest.size:
                raise InputError(
                    f"{ingested.tables}: images have {side} pixels a side, but ingest.size is "
                    f"{experiment.ingest.size}: rerun `pulmospark ingest`"
                )
            return


def read_training(target: Path) -> TrainResult:
    """The result of the last training run into ``target``.

    Raises:
        InputError: there is none.
    """
    if not (target / "training.json").is_file():
        raise InputError(f"{target}: no training result: run `pulmospark train` first")
    return TrainResult.model_validate(files.read_json(target / "training.json")["result"])
