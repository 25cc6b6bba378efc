"""Prepares a bundle's network for the workers, and chooses its precision."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from pulmospark.chunks.executor import Executor
from pulmospark.config.inference import HeatMapFiles, ScoringSettings
from pulmospark.config.split import SplitSettings
from pulmospark.core import files
from pulmospark.core.errors import BundleError
from pulmospark.core.provenance import now_utc
from pulmospark.inference.batch.cautions import Checks
from pulmospark.inference.batch.tasks import Scorer
from pulmospark.inference.decision_point import DecisionPoint
from pulmospark.inference.engine.bundle_engine import bundle_engine
from pulmospark.inference.engine.spec import EngineSpec, Kind
from pulmospark.inference.explain.files import HeatFiles
from pulmospark.inference.explain.prepare import prepare_maps
from pulmospark.inference.precision.check import Answers, PrecisionOutcome, choose_precision
from pulmospark.inference.precision.int8 import can_quantise, quantised
from pulmospark.inference.precision.sample import GivenSample, Sample
from pulmospark.models.bundle.bundle import Bundle
from pulmospark.models.bundle.feature_distance import FeatureDistance
from pulmospark.store.uri import StoreUri

_LOG = logging.getLogger(__name__)


def prepare_scorer(
    bundle: Bundle,
    folder: Path,
    settings: ScoringSettings,
    points: Sequence[DecisionPoint],
    sample: Sample,
    *,
    images: int,
    kind: Kind | None = None,
    in_place: bool = False,
    executor: Executor | None = None,
) -> tuple[Scorer, PrecisionOutcome]:
    """Prepare a bundle's network for workers, in a precision that these images allow.

    Args:
        bundle: the model.
        folder: for the engine's files; readable by every worker.
        settings: with the requested precision.
        points: thresholds of the decisions that a lower precision may not change.
        sample: some of the images to be scored; read only where a precision is tried.
        images: number of images to be scored, as far as known.
        kind: see :func:`pulmospark.inference.engine.build.prepare_engine`.
        in_place: see :func:`pulmospark.inference.engine.cache.cached_engine`.
        executor: tries the precisions; ``None``: this process.

    Returns:
        What workers score with, and how the precision was chosen.

    Raises:
        BundleError: the bundle's tensors have changed.
        PlatformError: no space, no right to write there, or ``int8`` without NNCF.
    """
    config = bundle.config
    exact = bundle_engine(bundle, folder, kind=kind, in_place=in_place)
    checks = checks_of(bundle, folder, exact.width)
    answers = Answers.of(config.temperature, config.classes, points)
    engine, outcome = choose_precision(
        settings.precision,
        exact,
        replace(answers, distances=checks.distances, fence=checks.fence),
        sample,
        images=images,
        quantise=partial(quantised, exact) if can_quantise() else None,
        executor=executor,
    )
    _LOG.info("%s", outcome.line())
    return scorer_of(bundle, engine, checks), outcome


def prepare_here(bundle: Bundle, folder: Path) -> tuple[Scorer, PrecisionOutcome]:
    """Prepare a bundle's network to score a few images at a time in this process.

    In float32: for a few images, checking a lower precision does not pay off. Args and errors are
    those of :func:`prepare_scorer`.
    """
    no_images = GivenSample(
        np.empty((0, bundle.config.input_size, bundle.config.input_size), "u1")
    )
    settings = ScoringSettings(precision="fp32")
    return prepare_scorer(bundle, folder, settings, (), no_images, images=1, in_place=True)


def with_heat_maps(
    scorer: Scorer, bundle: Bundle, folder: Path, kinds: HeatMapFiles, *, target: Path | StoreUri
) -> Scorer:
    """A scorer that also writes heat maps.

    Args:
        scorer: of the bundle.
        bundle: the model.
        folder: for another engine, where the scoring one cannot compute maps; readable by every
            worker.
        kinds: of files.
        target: folder for them, or its address in a store.

    Raises:
        UsageError: the network has no heat map.
        BundleError: the bundle's tensors have changed.
        PlatformError: no space, or no right to write there.
    """
    maps = prepare_maps(bundle, scorer.engine, folder)
    return replace(scorer, heat=HeatFiles(maps, bundle.config.classes, str(target), kinds))


def scorer_of(bundle: Bundle, engine: EngineSpec, checks: Checks) -> Scorer:
    """What workers score with, given a bundle and its engine."""
    config = bundle.config
    return Scorer(engine, config.classes, config.temperature, bundle.model_id, now_utc(), checks)


def checks_of(bundle: Bundle, folder: Path, width: int) -> Checks:
    """What is checked for a bundle's images; writes its statistics for the workers.

    Args:
        bundle: the model.
        folder: readable by every worker.
        width: number of the network's features.

    Raises:
        BundleError: the statistics do not match the network's features.
        PlatformError: no space, or no right to write there.
    """
    config = bundle.config
    views = tuple(config.data.get("views") or SplitSettings().views)
    content, settings = bundle.distance_bytes(), config.distance
    if content is None or settings is None:
        return Checks(views, config.phantoms)
    distance = FeatureDistance.from_bytes(content, str(bundle.folder))
    if len(distance.mean) != width:
        raise BundleError(
            f"{bundle.folder}: its statistics have {len(distance.mean)} features, but the "
            f"network has {width}: get the bundle again"
        )
    path = folder.resolve() / f"distance-{settings.sha256}.safetensors"
    if not path.is_file():
        with files.disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_bytes(path, content)
    return Checks(views, config.phantoms, str(path), settings.fence)
