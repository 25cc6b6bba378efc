"""From a bundle to a scorer for the workers: the network made ready, its precision chosen."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pulmospark
from pulmospark.core.content import value_id
from pulmospark.core.provenance import now_utc
from pulmospark.core.scoring_settings import ScoringSettings
from pulmospark.models.bundle import Bundle
from pulmospark.scoring.engine import EngineSpec, Kind
from pulmospark.scoring.engine_cache import cached_engine
from pulmospark.scoring.precision import Answers, PrecisionOutcome, choose_precision
from pulmospark.scoring.predict_export import DecisionPoint
from pulmospark.scoring.predict_work import Scorer
from pulmospark.scoring.prepare import has_gpu, library_version, prepare_engine
from pulmospark.scoring.quantise import can_quantise, quantised
from pulmospark.scoring.sample import Sample


def prepare_scorer(
    bundle: Bundle,
    folder: Path,
    settings: ScoringSettings,
    points: Sequence[DecisionPoint],
    sample: Sample,
    *,
    films: int,
    kind: Kind | None = None,
) -> tuple[Scorer, PrecisionOutcome]:
    """Make a bundle's network ready for workers, in a precision that these films allow.

    Args:
        bundle: the model.
        folder: for the engine's files; every worker has to see it.
        settings: the precision that is asked for.
        points: thresholds of the decisions that a lower precision may not change.
        sample: some of the films to be scored; read only where a precision is tried.
        films: how many are to be scored, as far as that is known.
        kind: see :func:`pulmospark.scoring.prepare.prepare_engine`.

    Returns:
        What workers score with, and how the precision was decided.

    Raises:
        BundleError: the bundle's tensors are not what they were.
        EnvironmentProblem: no space, no right to write there, or ``int8`` without NNCF.
    """
    config = bundle.config
    exact = bundle_engine(bundle, folder, kind=kind)
    engine, outcome = choose_precision(
        settings.precision,
        exact,
        Answers.of(config.temperature, config.classes, points),
        sample,
        films=films,
        quantise=partial(quantised, exact) if can_quantise() else None,
    )
    scorer = Scorer(engine, config.classes, config.temperature, bundle.model_id, now_utc())
    return scorer, outcome


def bundle_engine(bundle: Bundle, folder: Path, *, kind: Kind | None = None) -> EngineSpec:
    """A bundle's network in float32, giving logits, in ``folder``; converted once a machine.

    Args and errors are those of :func:`prepare_scorer`.
    """
    size = bundle.config.input_size
    if kind == "torch":  # nothing is converted, and nothing gained by keeping it
        return prepare_engine(bundle.network(), folder, size=size, kind=kind)
    key = value_id([bundle.model_id, size, pulmospark.__version__, library_version("openvino")])

    def make() -> EngineSpec:
        return prepare_engine(bundle.network(), folder, size=size, kind=kind)

    return make() if has_gpu() else cached_engine(key, folder, make)
