"""The network that a plan is measured with, in the precision that the real run will have.

The jobs of the measurement are short, and on a few films no lower precision is tried. So it
is decided once, as a run over all films would decide it, and given to each job.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pulmospark.core import limits
from pulmospark.core.errors import UsageError
from pulmospark.core.scoring_settings import Precision, PrecisionPolicy, ScoringSettings
from pulmospark.layouts.base import ListingNotes
from pulmospark.models.bundle import Bundle
from pulmospark.scoring.precision import PrecisionOutcome
from pulmospark.scoring.predict import engine_kind, plan_predict
from pulmospark.scoring.predict_inputs import NO_LAYOUT, list_inputs, resolve_inputs
from pulmospark.scoring.prepare_scorer import prepare_scorer
from pulmospark.scoring.sample import ListedSample
from pulmospark.spark import chunks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pulmospark.scoring.predict_work import Scorer

_UNCHECKED = "an untrained network is not checked"


@dataclass(frozen=True)
class Prepared:
    """What films are scored with, and how long it took to make it ready."""

    scorer: Scorer
    outcome: PrecisionOutcome
    seconds: float


def prepare(
    bundle: Bundle,
    precision: PrecisionPolicy,
    films: int,
    laid_out: Path,
    *,
    spark: SparkSession,
) -> Prepared:
    """As :func:`pulmospark.scoring.predict.predict` would for so many films.

    Args:
        bundle: a trained one.
        precision: that is asked for.
        films: of the real run.
        laid_out: folder with films to check a lower precision on; the engine is laid beside
            it, where all executors have to see it.
        spark: the session.
    """
    folder = laid_out.parent
    plan = plan_predict(bundle.folder, [str(laid_out)], folder / "out", layout=NO_LAYOUT)
    manifest = folder / "sample.parquet"
    list_inputs(resolve_inputs([str(laid_out)], NO_LAYOUT), manifest, ListingNotes())
    begun = time.perf_counter()
    scorer, outcome = prepare_scorer(
        bundle,
        folder / "engines",
        ScoringSettings(precision=precision),
        plan.points,
        ListedSample(chunks.chunks_of([manifest]), [], bundle.config.ingest),
        films=films,
        kind=engine_kind(spark),
    )
    return Prepared(scorer, outcome, time.perf_counter() - begun)


def prepare_untrained(
    bundle: Bundle, precision: PrecisionPolicy, folder: Path, spark: SparkSession
) -> Prepared:
    """A network that has learnt nothing, in the precision that is named; fp32 with ``auto``.

    A check would say nothing of the network once it is trained.

    Raises:
        UsageError: ``int8`` is named, which is calibrated on what a network has learnt.
    """
    if precision == "int8":
        raise UsageError("--precision int8 takes a trained network: name it with --bundle")
    used: Precision = "fp32" if precision == "auto" else precision
    begun = time.perf_counter()
    scorer, _ = prepare_scorer(
        bundle,
        folder / "engines",
        ScoringSettings(precision="fp32"),
        (),
        ListedSample([], [], bundle.config.ingest),
        films=0,
        kind=engine_kind(spark),
    )
    if used != "fp32":
        engine = scorer.engine.in_precision(used, limits.ENGINE_BATCH_LOWER)
        scorer = replace(scorer, engine=engine)
    outcome = PrecisionOutcome(asked=precision, used=used, reason=_UNCHECKED)
    return Prepared(scorer, outcome, time.perf_counter() - begun)
