"""Temperature and operating point of a model, from scores on held-out images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark import chunks
from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.core import limits
from pulmospark.core.arrays import Floats, Ints
from pulmospark.core.errors import InputError
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import Part, in_part, read_cohort
from pulmospark.evaluation.calibration import (
    apply_temperature,
    choose_operating_point,
    fit_temperature,
)
from pulmospark.training.context import Job
from pulmospark.training.results import ModelRecord, model_name

_HEALTHY = re.compile(
    r"\s*(normal\b.*|no(n|t)?[-_ ].*|healthy\b.*|negative|controls?|none)\s*$", re.IGNORECASE
)
"""names of disease-free classes: "Normal", "No Finding", "non-COVID"; an operating point is for
the disease"""


@dataclass(frozen=True)
class Chosen:
    """Scores of models not fitted on the images, for calibration.

    Attributes:
        logits: float64 (n, classes).
        labels: int64 (n,).
        groups: int64 (n,), number of each image's group, from 0.
        by: origin of the scores, as ``ModelRecord.calibrated_by``.
    """

    logits: Floats
    labels: Ints
    groups: Ints
    by: Literal["validation", "out-of-fold"]


def record(
    job: Job,
    chosen: Chosen,
    fold: int | None,
    *,
    images: int,
    seconds: float,
    history: tuple[dict[str, Any], ...] = (),
    objective: tuple[float, ...] = (),
    reg_param: float | None = None,
    losses: Mapping[float, float] | None = None,
) -> ModelRecord:
    """Choose temperature and operating point on images outside the model's test set."""
    classes, settings = job.split.classes, job.experiment.evaluate
    images_chosen = len(chosen.labels)
    temperature = fit_temperature(chosen.logits, chosen.labels) if images_chosen else 1.0
    positive = positive_of(classes, settings)
    index = classes.index(positive)
    point = choose_operating_point(
        apply_temperature(chosen.logits, temperature)[:, index],
        chosen.labels == index,
        settings.sensitivity_target,
        positive,
        groups=chosen.groups,
        confidence=settings.confidence,
    )
    return ModelRecord(
        name=model_name(fold),
        fold=fold,
        images=images,
        validation_images=images_chosen,
        temperature=temperature,
        operating_point=point,
        calibrated_by=chosen.by,
        reg_param=reg_param,
        reg_param_losses=dict(losses or {}),
        history=history,
        objective=objective,
        seconds=seconds,
    )


def positive_of(classes: Sequence[str], settings: EvaluateSettings) -> str:
    """The class of the operating point: as configured, otherwise the first disease.

    Raises:
        InputError: the configured name is not a class.
    """
    if (named := settings.positive_class) is not None:
        if named not in classes:
            raise InputError(
                f"evaluate.positive_class is {named!r}, but the classes are {', '.join(classes)}"
            )
        return named
    ill = [
        name for name in classes if name != settings.negative_class and not _HEALTHY.match(name)
    ]
    return ill[0] if ill else classes[0]


def from_validation(job: Job, scores: Path, model: str, fold: int | None) -> Chosen:
    """The scores of a model on the validation set, in the order of the paths.

    Args:
        job: the training.
        scores: the scores table.
        model: name in it of a model not fitted on these images.
        fold: the test fold; ``None``: no folds.
    """
    rows = read_cohort(job.cohort)
    rows = rows.filter(pa.array(in_part(rows, Part(Split.VALIDATION, fold))))
    logits: dict[str, list[float]] = {}
    for part in chunks.parts_of(scores):
        table = pq.read_table(part, filters=[("model", "=", model)])
        logits.update(zip(table["uri"].to_pylist(), table["logits"].to_pylist(), strict=True))
    rows = rows.filter(pa.array([uri in logits for uri in rows["uri"].to_pylist()], pa.bool_()))
    values = np.asarray([logits[uri] for uri in rows["uri"].to_pylist()], dtype=np.float64)
    classes = job.split.classes
    labels = [classes.index(label) for label in rows["label"].to_pylist()]
    return Chosen(
        values.reshape(-1, len(classes)),
        np.asarray(labels, dtype=np.int64),
        numbered(rows["group_id"]),
        "validation",
    )


def numbered(names: pa.ChunkedArray) -> Ints:
    """A number for each name, from 0; int64 (n,)."""
    values = np.asarray(names.to_pylist(), dtype=object).astype(str)
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.int64)


def calibration_warnings(models: Sequence[ModelRecord]) -> tuple[str, ...]:
    """Warnings about operating points based on few images."""
    final = models[-1].operating_point
    fewest = min(models, key=lambda model: model.operating_point.positives or 0).operating_point
    if not fewest.is_coarse:
        return ()
    folds = "" if len(models) == 1 else f" ({fewest.positives} in one fold)"
    span = ""
    if final.expected_low is not None and final.expected_high is not None:
        span = (
            f": on new patients its sensitivity may be anywhere from {final.expected_low:.1%} to "
            f"{final.expected_high:.1%}"
        )
    return (
        f"the operating point for {final.positive_class!r} was chosen on {final.positives} images "
        f"of that class{folds}, fewer than {limits.OPERATING_POSITIVES_MIN}{span}; add images of "
        "the class, or use method 'features', which chooses on all training images",
    )
