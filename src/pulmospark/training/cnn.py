"""Method ``network``: fine-tuning of the CNN through TorchDistributor."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pulmospark import chunks
from pulmospark.chunks.carried import Carrier
from pulmospark.chunks.parquet_files import Place
from pulmospark.core.progress import Progress
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import Part, in_part, read_cohort
from pulmospark.data.expand.table import expanded_for
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.spec import Outputs
from pulmospark.inference.engine.tasks import ScoreWork, write_scored
from pulmospark.models.zoo.network import Network
from pulmospark.store.uri import StoreUri
from pulmospark.training.augmented_images import training_images
from pulmospark.training.calibrate import from_validation, record
from pulmospark.training.context import Job
from pulmospark.training.distributed import threads_for, train_network
from pulmospark.training.feature_distance import features_of_training
from pulmospark.training.rank import RankPlan
from pulmospark.training.recipe import network_settings
from pulmospark.training.results import model_name
from pulmospark.training.training_folder import StoredTrainingFolder, TrainingFolder


def train_by_network(
    job: Job, network: Network, scores: Path
) -> tuple[dict[str, Any], list[Place]]:
    """Train the CNN itself through TorchDistributor.

    Returns:
        Values for a ``TrainResult``, and parts of a features table of training images.
    """
    settings = job.experiment.train
    work = job.executor.seen(job.work)
    if job.store is not None:
        job.executor.check(folder=work)
    start = {name: value.detach().clone() for name, value in network.state_dict().items()}
    todo = chunks.chunks_of(chunks.parts_of(job.images))
    frozen_outputs = work / "frozen-outputs"
    carry = Carrier(work / "carried") if isinstance(work, StoreUri) else None
    score_parts: list[Path] = []
    trainings: list[tuple[int | None, list[dict[str, Any]], float]] = []
    for fold in job.folds:
        network.load_state_dict(start)
        begun = time.perf_counter()
        plan = _plan(job, fold, frozen_outputs)
        title = "train" if fold is None else f"train fold {fold}"
        with Progress(title, 0, "steps", quiet=job.quiet) as progress:
            trained = train_network(
                network,
                plan,
                job.spark,
                processes=settings.processes,
                progress=progress,
                shared=_shared(job, plan.folder, carry),
            )
        network.eval()
        score_parts += _score(job, network, fold, todo)
        earlier = sum(epoch["seconds"] for epoch in trained.history[: trained.earlier])
        trainings.append((fold, trained.history, time.perf_counter() - begun + earlier))
    if isinstance(frozen_outputs, Path):
        shutil.rmtree(frozen_outputs, ignore_errors=True)
    chunks.link_parts(score_parts, scores)
    models = tuple(
        record(
            job,
            # Out-of-fold scores would multiply the number of training runs.
            from_validation(job, scores, model_name(fold), fold),
            fold,
            images=_images(job, Part(Split.TRAIN, fold)),
            seconds=seconds,
            history=tuple(epochs),
        )
        for fold, epochs, seconds in trainings
    )
    return {"models": models}, features_of_training(job, network)


def _plan(job: Job, fold: int | None, frozen_outputs: Place) -> RankPlan:
    """The parameters of the processes that train a fold's model."""
    settings = job.experiment.train
    images, cohort = training_images(job.expanded, job.images, job.cohort)
    return RankPlan(
        model=settings.model,
        classes=job.split.classes,
        images=job.images,
        cohort=job.cohort,
        fold=fold,
        size=job.size,
        settings=network_settings(settings),
        seed=job.experiment.seed,
        threads=threads_for(settings.processes, job.spark),
        folder=job.work / model_name(fold),
        augment=settings.augment,
        training_images=images if job.expanded else None,
        training_cohort=cohort if job.expanded else None,
        frozen_outputs=frozen_outputs,
    )


def _shared(job: Job, folder: Path, carry: Carrier | None) -> TrainingFolder:
    """A training's folder, as its processes find it."""
    place = job.executor.seen(folder)
    if carry is None or isinstance(place, Path):
        return TrainingFolder(folder)
    return StoredTrainingFolder(folder, place, carry)


def _score(
    job: Job, network: Network, fold: int | None, todo: Sequence[chunks.Chunk]
) -> list[Path]:
    """Score the images that a model's fold is evaluated on; the parts of the scores table."""
    # The final model's features are asked for next, by the same workers.
    outputs: Outputs = "both" if fold is None else "logits"
    engine = prepare_engine(network, job.engines, outputs=outputs, size=job.size)
    scored = job.work / f"scored-{model_name(fold)}.npy"
    write_scored(job.cohort, fold, scored)
    work = ScoreWork(engine, job.size, model_name(fold), str(scored), job.split.cohort_id)
    silent = Progress("score", 0, quiet=True)
    parts = chunks.run_chunks(job.executor, work, todo, job.work / "scores", silent)
    return [part.path for part in parts]


def _images(job: Job, part: Part) -> int:
    """Number of images of a training set, including augmented copies."""
    if job.expanded is not None:
        return int(expanded_for(job.expanded, part).num_rows)
    return int(in_part(read_cohort(job.cohort), part).sum())
