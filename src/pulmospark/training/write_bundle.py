"""Write a training run into a bundle, and add its evaluation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pulmospark.chunks.parts import parts_of
from pulmospark.config.experiment import Experiment
from pulmospark.core.provenance import provenance
from pulmospark.data.cohort.split_summary import SplitResult
from pulmospark.evaluation import registry
from pulmospark.evaluation.results import Evaluation
from pulmospark.inference.engine.bundle_form import engine_files
from pulmospark.models.bundle.bundle import (
    BundleConfig,
    BundleOperatingPoint,
    read_bundle,
    write_bundle,
)
from pulmospark.models.bundle.card import CardFacts, CardFigure
from pulmospark.models.bundle.config import image_values
from pulmospark.models.zoo.network import Network
from pulmospark.training.feature_distance import TrainingDistance
from pulmospark.training.results import FINAL, TrainResult


@dataclass(frozen=True)
class BundleParts:
    """What a bundle takes from its training, besides network and result."""

    distance: TrainingDistance | None
    """statistics of the training images' features; ``None``: too few images"""
    phantoms: bool
    """whether the training images include phantoms"""
    engines: Path
    """folder of the networks that it has prepared for workers"""


def has_phantoms(images: Path) -> bool:
    """Whether an images table contains phantoms, according to the mark in their files."""
    for part in parts_of(images):
        if "phantom" in pq.read_schema(part).names:
            rows = pq.read_table(part, columns=["phantom"])["phantom"]
            if pc.any(rows).as_py():
                return True
    return False


def write_trained(
    folder: Path,
    experiment: Experiment,
    network: Network,
    result: TrainResult,
    split: SplitResult,
    *,
    parts: BundleParts,
) -> str:
    """Write the bundle of a training run; it has no metrics before evaluation.

    Returns:
        The model id.
    """
    final = next(record for record in result.models if record.name == FINAL)
    point = BundleOperatingPoint(**final.operating_point.model_dump())
    config = BundleConfig.for_network(
        network,
        classes=result.classes,
        **image_values(experiment.ingest),
        temperature=final.temperature,
        phantoms=experiment.phantoms or parts.phantoms,
        distance=parts.distance.facts if parts.distance else None,
        operating_points=(point,),
        method=result.method,
        weights=result.weights["file"] if result.weights else None,
        training=provenance(experiment.train.model_dump(mode="json"), seed=experiment.seed),
        data=_data(split, experiment),
    )
    facts = CardFacts(name=experiment.name, data=_card_data(split))
    file = parts.distance.content if parts.distance else None
    return write_bundle(
        folder,
        network,
        config,
        {"evaluation": None},
        facts,
        distance=file,
        engine=engine_files(network, config, parts.engines),
    )


def write_evaluated(
    folder: Path,
    experiment: Experiment,
    evaluation: Evaluation,
    split: SplitResult,
    *,
    whose: str,
) -> str:
    """Write the metrics of an evaluation into a bundle and its card.

    Args:
        folder: of the bundle.
        experiment: the settings.
        evaluation: on the test set.
        split: of all images.
        whose: the patients of the test images as text: "314 patients".

    Returns:
        The model id, which does not depend on the metrics.

    Raises:
        BundleError: the bundle is damaged.
    """
    bundle = read_bundle(folder)
    facts = CardFacts(
        name=experiment.name,
        data=_card_data(split),
        figures=_card_figures(evaluation, whose),
        limitations=split.warnings,
    )
    metrics = {"evaluation": evaluation.model_dump(mode="json")}
    return write_bundle(
        folder,
        bundle.network(),
        bundle.config,
        metrics,
        facts,
        distance=bundle.distance_bytes(),
        engine=bundle.engine_files(),
    )


def _data(split: SplitResult, experiment: Experiment) -> dict[str, Any]:
    return {
        "cohort_id": split.cohort_id,
        "images": split.images,
        "left_out": split.excluded,
        "folds": split.folds,
        "views": list(split.views or experiment.split.views),
        "shares": [share.model_dump(mode="json") for share in split.shares],
    }


def _card_data(split: SplitResult) -> tuple[CardFigure, ...]:
    by_class: Counter[str] = Counter()
    by_source: Counter[str] = Counter()
    for share in split.shares:
        by_class[share.label] += share.images
        by_source[share.source] += share.images
    return (
        *(CardFigure(name=f"Images of {name}", value=f"{n:,}") for name, n in by_class.items()),
        *(CardFigure(name=f"Images from {name}", value=f"{n:,}") for name, n in by_source.items()),
        CardFigure(name="Images excluded", value=f"{split.excluded:,}"),
    )


def _card_figures(evaluation: Evaluation, whose: str) -> tuple[CardFigure, ...]:
    return (
        CardFigure(name="Test set", value=f"{evaluation.images:,} images of {whose}"),
        *(
            CardFigure(name=metric.label, value=metric.of(evaluation).text())
            for metric in registry.overall("terminal")
        ),
        *(
            CardFigure(name=f"Sensitivity for {row.name}", value=row.sensitivity.text())
            for row in evaluation.by_class
        ),
    )
