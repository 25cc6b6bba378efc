"""The logistic regressions of a cross-validation: on the driver, and by MLlib."""

from __future__ import annotations

import statistics
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.ml.functions import array_to_vector
from pyspark.sql import functions as F  # noqa: N812 - the name everyone knows it by
from scipy import special

from benchmarks.common import (
    MASTER,
    PROCESSES,
    Options,
    Report,
    goal,
    scratch,
    take_turns,
    timed,
)
from pulmospark.config.train import LogisticSettings
from pulmospark.core.arrays import Floats, Ints, Singles
from pulmospark.core.blas import one_blas_thread
from pulmospark.spark.session import spark_session
from pulmospark.training.logistic_fit import Head
from pulmospark.training.mllib_logistic import fit_logistic
from pulmospark.training.softmax_regression import Standardised, fit_softmax

IMAGES, WIDTH, FOLDS, REG_PARAM = 3_200, 1_280, 5, 0.1
CLASSES = ("COVID-19", "normal", "pneumonia")
GOAL = 5.0


def measure(options: Options) -> Report:
    """Wall seconds of five fits, each on four fifths of the images, two at a time."""
    features, labels = _drawn(120 if options.small else IMAGES)
    folds = np.arange(len(labels)) % FOLDS
    settings = LogisticSettings()
    heads: dict[str, list[Head]] = {}

    def on_driver(fold: int) -> Head:
        inside = folds != fold
        fit = fit_softmax(
            Standardised.of(features[inside]), labels[inside], len(CLASSES), REG_PARAM,
            max_iter=settings.max_iter,
        )  # fmt: skip
        return Head(f"fold-{fold}", fit.weights, fit.bias)

    with scratch(options) as folder, spark_session(MASTER) as spark:
        part = folder / "features.parquet"
        rows = {"values": list(features), "label": labels.astype(float), "fold": folds}
        pq.write_table(pa.table(rows), part, row_group_size=IMAGES // 8)
        vector = array_to_vector(F.col("values")).alias("features")
        frame = spark.read.parquet(str(part)).select(vector, "label", "fold")
        frame = frame.repartition(PROCESSES).persist()
        frame.count()

        def with_mllib(fold: int) -> Head:
            taken = frame.where(f"fold <> {fold}")
            return fit_logistic(taken, f"fold-{fold}", CLASSES, settings, REG_PARAM).head

        def fitted(name: str) -> None:
            one = on_driver if name == "driver" else with_mllib
            with one_blas_thread(), ThreadPoolExecutor(PROCESSES) as pool:
                heads[name] = list(pool.map(one, range(FOLDS)))

        programs = {name: lambda name=name: timed(lambda: fitted(name)) for name in _NAMES}
        seconds = take_turns(programs, options.repeats or 3)
    walls = {name: statistics.median(values) for name, values in seconds.items()}
    reached = {
        name: [
            _objective(features[folds != fold], labels[folds != fold], head)
            for fold, head in enumerate(found)
        ]
        for name, found in heads.items()
    }
    apart = max(np.abs(np.subtract(reached["driver"], reached["mllib"])))
    ratio = walls["mllib"] / walls["driver"]
    return Report(
        name="fits",
        title=f"{FOLDS} logistic regressions, {len(labels):,} images x {WIDTH:,} features",
        head=("solver", "seconds (median)", "objective of the first fold"),
        rows=[(name, f"{walls[name]:.2f}", f"{reached[name][0]:.7f}") for name in _NAMES],
        notes=[
            goal(f"MLlib's time at least {GOAL:g} times the driver's: {ratio:.1f}", ratio >= GOAL),
            f"the objectives differ by at most {apart:.1e}",
        ],
        figures={"seconds": seconds, "objectives": reached, "ratio": ratio},
    )


_NAMES = ("driver", "mllib")


def _drawn(images: int) -> tuple[Singles, Ints]:
    """Correlated features, float32 (images, width), of overlapping classes."""
    random = np.random.default_rng(1)
    labels = np.arange(images) % len(CLASSES)
    mix = random.normal(size=(64, WIDTH))
    hidden = (
        random.normal(size=(images, 64)) + random.normal(size=(len(CLASSES), 64))[labels] * 0.5
    )
    values = hidden @ mix + 4 * random.normal(size=(images, WIDTH))
    return np.maximum(values, 0).astype(np.float32), labels.astype(np.int64)


def _objective(features: Singles, labels: Ints, head: Head) -> float:
    """MLlib's objective, in float64."""
    exact: Floats = features.astype(np.float64)
    logits = exact @ head.weights.T + head.bias
    chosen = logits[np.arange(len(labels)), labels]
    loss = np.mean(special.logsumexp(logits, axis=1) - chosen)
    penalty = np.square(head.weights * exact.std(axis=0, ddof=1)).sum()
    return float(loss + REG_PARAM / 2 * penalty)
