"""The model that is served: its bundle, ready to score in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pulmospark.config.inference import Allowances, ScoringSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.core.provenance import now_utc
from pulmospark.inference.batch.tasks import Scorer
from pulmospark.inference.decision_point import DecisionPoint
from pulmospark.inference.engine.spec import Engine
from pulmospark.inference.precision.sample import GivenSample
from pulmospark.serve.engines import WorkerEngine
from pulmospark.serve.heat_maps import ModelHeatMaps

if TYPE_CHECKING:
    from pulmospark.inference.precision.check import PrecisionOutcome
    from pulmospark.models.bundle.bundle import Bundle


@dataclass(frozen=True)
class ModelFacts:
    """What results say of the model that made them."""

    name: str
    """the network's name in the zoo"""
    digest: str
    """SHA-256 of configuration and tensors"""
    phantoms: bool
    """trained on phantoms"""
    classes: tuple[str, ...]
    points: tuple[DecisionPoint, ...]
    fence: float | None
    """distance beyond which an image is unlike the training images"""

    def named(self) -> dict[str, Any]:
        """A ``responses.ModelName`` as JSON."""
        return {"name": self.name, "digest": self.digest, "phantoms": self.phantoms}


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A bundle with its engines; unchanged while it is served."""

    folder: Path
    """of the bundle"""
    facts: ModelFacts
    scorer: Scorer
    reading: IngestSettings
    """how files become standard images"""
    phantoms_only: bool
    """reject images that are not phantoms"""
    card: str
    """the model card, Markdown"""
    metrics: dict[str, Any]
    engines: Sequence[Engine]
    """one for each worker"""
    heat_maps: ModelHeatMaps
    loaded_at: str = field(default_factory=lambda: now_utc().isoformat(timespec="seconds"))


def open_model(folder: Path, engines: Path, workers: int, allowances: Allowances) -> ServedModel:
    """Read a bundle and open its engines, in float32 as batch scoring of a few images does.

    Args:
        folder: of the bundle, or of the run that trained it.
        engines: folder for the engines' files.
        workers: number of engines.
        allowances: images that are scored only on request.

    Raises:
        BundleError: it is missing or damaged.
        PlatformError: no space, or no right to write there.
    """
    # Inside: they import torch where the bundle has to be converted.
    from pulmospark.inference.batch.predict import decision_points  # noqa: PLC0415
    from pulmospark.models.bundle.bundle import read_bundle  # noqa: PLC0415
    from pulmospark.models.bundle.files import CARD  # noqa: PLC0415

    bundle = read_bundle(folder)
    config = bundle.config
    scorer, _ = float32_scorer(bundle, engines)
    return ServedModel(
        folder=bundle.folder,
        facts=ModelFacts(
            name=config.model,
            digest=bundle.model_id,
            phantoms=config.phantoms,
            classes=config.classes,
            points=decision_points(bundle, None),
            fence=scorer.checks.fence,
        ),
        scorer=scorer,
        reading=allowances.reading(config.ingest),
        phantoms_only=config.phantoms and not allowances.allow_phantom_model,
        card=(bundle.folder / CARD).read_text(encoding="utf-8"),
        metrics=bundle.metrics,
        engines=[WorkerEngine(scorer.engine) for _ in range(workers)],
        heat_maps=ModelHeatMaps(bundle, scorer.engine, workers),
    )


def float32_scorer(bundle: Bundle, engines: Path) -> tuple[Scorer, PrecisionOutcome]:
    """A bundle's scorer in float32: the service's, and that of its batch jobs.

    Args:
        bundle: the model.
        engines: folder for the engine's files.
    """
    # Inside: see above.
    from pulmospark.inference.batch.scorer import prepare_scorer  # noqa: PLC0415

    size = bundle.config.input_size
    no_images = GivenSample(np.empty((0, size, size), np.uint8))
    settings = ScoringSettings(precision="fp32")
    return prepare_scorer(bundle, engines, settings, (), no_images, images=1)
