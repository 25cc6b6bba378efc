"""The model that is served: its bundle, ready to score in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulmospark.config.inference import Allowances, ScoringSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.core.provenance import now_utc
from pulmospark.inference.batch.tasks import Scorer
from pulmospark.inference.decision_point import DecisionPoint
from pulmospark.inference.engine.open_engine import new_engine
from pulmospark.inference.engine.spec import Engine


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A bundle with its engines; unchanged while it is served."""

    folder: Path
    """of the bundle"""
    name: str
    """the network's name in the zoo"""
    digest: str
    """SHA-256 of configuration and tensors"""
    phantoms: bool
    """trained on phantoms"""
    classes: tuple[str, ...]
    scorer: Scorer
    points: tuple[DecisionPoint, ...]
    reading: IngestSettings
    """how files become standard images"""
    phantoms_only: bool
    """reject images that are not phantoms"""
    card: str
    """the model card, Markdown"""
    metrics: dict[str, Any]
    engines: Sequence[Engine]
    """one for each worker"""
    loaded_at: str = field(default_factory=lambda: now_utc().isoformat(timespec="seconds"))

    @property
    def fence(self) -> float | None:
        """Distance beyond which an image is unlike the training images."""
        return self.scorer.checks.fence


def open_model(folder: Path, engines: Path, workers: int, allowances: Allowances) -> ServedModel:
    """Read a bundle and open its engines, in float32 as batch scoring of a few images does.

    Args:
        folder: of the bundle, or of the run that trained it.
        engines: folder for the engines' files.
        workers: number of engines.
        allowances: images that are scored only on request.

    Raises:
        BundleError: it is missing or damaged.
        EnvironmentProblem: no space, or no right to write there.
    """
    # Inside: these import torch where the bundle has to be converted.
    import numpy as np  # noqa: PLC0415

    from pulmospark.inference.batch.predict import decision_points  # noqa: PLC0415
    from pulmospark.inference.batch.scorer import prepare_scorer  # noqa: PLC0415
    from pulmospark.inference.precision.sample import GivenSample  # noqa: PLC0415
    from pulmospark.models.bundle.bundle import CARD, read_bundle  # noqa: PLC0415

    bundle = read_bundle(folder)
    config = bundle.config
    size = config.input_size
    settings = ScoringSettings(precision="fp32")
    scorer, _ = prepare_scorer(
        bundle, engines, settings, (), GivenSample(np.empty((0, size, size), "u1")), images=1
    )
    return ServedModel(
        folder=bundle.folder,
        name=config.model,
        digest=bundle.model_id,
        phantoms=config.phantoms,
        classes=config.classes,
        scorer=scorer,
        points=decision_points(bundle, None),
        reading=allowances.reading(config.ingest),
        phantoms_only=config.phantoms and not allowances.allow_phantom_model,
        card=(bundle.folder / CARD).read_text(encoding="utf-8"),
        metrics=bundle.metrics,
        engines=[new_engine(scorer.engine) for _ in range(workers)],
    )
