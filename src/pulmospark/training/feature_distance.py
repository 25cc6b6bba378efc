"""Statistics of the training images' deep features, for out-of-distribution detection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pulmospark import chunks
from pulmospark.chunks.parquet_files import Place
from pulmospark.chunks.parts import read_parts
from pulmospark.core import hashing, limits
from pulmospark.core.arrays import Singles
from pulmospark.core.progress import Progress
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import Part, in_part, read_cohort
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.tasks import ChosenFeatureWork
from pulmospark.models.bundle.feature_distance import DistanceFacts, fence_of, fit_distance
from pulmospark.models.zoo.network import Network
from pulmospark.spark.executor import SparkExecutor
from pulmospark.spark.gpus import executors_have_gpus, gpu_profile
from pulmospark.training.context import Job

_COLUMNS = ["image_id", "uri", "group_id"]


@dataclass(frozen=True)
class TrainingDistance:
    """Statistics of the training images, for a bundle."""

    facts: DistanceFacts
    content: bytes
    """of the file"""


def features_of_training(job: Job, network: Network) -> list[Place]:
    """Deep features of a sample of the images that a network was trained and validated on."""
    rows = pa.concat_tables([_sample(job, Split.TRAIN), _sample(job, Split.VALIDATION)])
    uris = rows.select(["uri"])
    chosen_id = hashing.value_id(uris["uri"].to_pylist())
    path = job.work / f"distance-{chosen_id}.parquet"
    chunks.write_part(uris, path)
    gpus = executors_have_gpus(job.spark)
    engine = prepare_engine(
        network,
        job.engines,
        outputs="both",
        size=job.size,
        kind="torch" if gpus else None,
    )
    parts = chunks.run_chunks(
        SparkExecutor(job.spark, gpu_profile(job.spark) if gpus else None, job.store),
        ChosenFeatureWork(engine, job.size, chosen=str(path.resolve()), chosen_id=chosen_id),
        chunks.chunks_of(chunks.parts_of(job.images)),
        job.work / "distance-features",
        Progress("distance", 0, quiet=True),
    )
    return [part.place for part in parts]


def training_distance(job: Job, parts: Sequence[Place]) -> TrainingDistance | None:
    """Fit the statistics; ``None`` with fewer than ``limits.DISTANCE_IMAGES_MIN`` images.

    A fine-tuned network puts its training images closer together than new ones. So its fence is
    at least the same quantile of the validation set.

    Args:
        job: the training.
        parts: of the features table, including the training images.
    """
    frozen = job.experiment.train.method == "features"
    fitted = _sample(job, Split.TRAIN)
    if frozen:
        fitted = pa.concat_tables([fitted, _sample(job, Split.VALIDATION)])
    known = _features(parts, fitted)
    if not known:
        return None
    named = zip(fitted["uri"].to_pylist(), fitted["group_id"].to_pylist(), strict=True)
    groups = dict(named)
    uris = sorted(known)
    features = np.stack([known[uri] for uri in uris])
    held = {} if frozen else _features(parts, _sample(job, Split.VALIDATION))
    return statistics_of(
        features,
        np.asarray([groups[uri] for uri in uris]),
        np.stack(list(held.values())) if held else None,
    )


def statistics_of(
    features: Singles,
    groups: npt.NDArray[Any],
    held: Singles | None = None,
) -> TrainingDistance | None:
    """Statistics of deep features, with the fence; ``None`` with too few images.

    Args:
        features: (n, width) of training images.
        groups: (n,), equal for images of one patient.
        held: (m, width) of unseen images, if the network was trained on the others.
    """
    if len(features) < limits.DISTANCE_IMAGES_MIN or not np.isfinite(features).all():
        return None
    distance, measured = fit_distance(features, groups)
    fence = fence_of(measured)
    if held is not None and len(held) >= limits.DISTANCE_HELD_MIN:
        fence = max(fence, fence_of(distance.of(held)))
    file = distance.to_bytes()
    facts = DistanceFacts(
        fence=fence,
        quantile=limits.DISTANCE_QUANTILE,
        images=len(features),
        rank=len(distance.axes),
        sha256=hashing.bytes_id(file),
    )
    return TrainingDistance(facts, file)


def _sample(job: Job, split: Split) -> pa.Table:
    """Images of a split of the final model, at most ``limits.DISTANCE_IMAGES_MAX``.

    Those whose hashes come first: a reproducible random sample.
    """
    rows = read_cohort(job.cohort)
    rows = rows.filter(pa.array(in_part(rows, Part(split)))).select(_COLUMNS)
    return rows.sort_by([("image_id", "ascending"), ("uri", "ascending")]).slice(
        0, limits.DISTANCE_IMAGES_MAX
    )


def _features(parts: Sequence[Place], rows: pa.Table) -> dict[str, Singles]:
    """Features of rows by ``uri``; one part of the table is in memory at a time."""
    wanted = frozenset(rows["uri"].to_pylist())
    features: dict[str, Any] = {}
    for _, table in read_parts(parts, ["uri", "features"]):
        mine = table.filter(pa.array([uri in wanted for uri in table["uri"].to_pylist()]))
        for uri, values in zip(mine["uri"].to_pylist(), mine["features"], strict=True):
            features[uri] = values.values.to_numpy()
    return features
