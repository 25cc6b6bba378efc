"""Temperature and operating point of a model, from its validation part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.core.errors import InputError
from pulmospark.core.tables import Split
from pulmospark.data.cohort import Part, in_part, read_cohort
from pulmospark.evaluation.calibration import (
    apply_temperature,
    choose_operating_point,
    fit_temperature,
)
from pulmospark.spark import chunks
from pulmospark.training.job import Job
from pulmospark.training.records import ModelRecord, model_name


def record(
    job: Job,
    scores: Path,
    fold: int | None,
    *,
    validated_by: str,
    films: int,
    seconds: float,
    history: tuple[dict[str, Any], ...] = (),
    objective: tuple[float, ...] = (),
) -> ModelRecord:
    """Temperature and operating point from the validation part, and from it alone."""
    classes, settings = job.split.classes, job.experiment.evaluate
    logits, labels = _validation(job, scores, validated_by, fold)
    temperature = fit_temperature(logits, labels) if len(labels) else 1.0
    positive = settings.positive_class or classes[0]
    if positive not in classes:
        raise InputError(
            f"evaluate.positive_class is {positive!r}, and the classes are {', '.join(classes)}"
        )
    index = classes.index(positive)
    point = choose_operating_point(
        apply_temperature(logits, temperature)[:, index],
        labels == index,
        settings.sensitivity_target,
        positive,
    )
    return ModelRecord(
        name=model_name(fold),
        fold=fold,
        films=films,
        validation_films=len(labels),
        temperature=temperature,
        operating_point=point,
        history=history,
        objective=objective,
        seconds=seconds,
    )


def _validation(
    job: Job, scores: Path, model: str, fold: int | None
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.int64]]]:
    """Logits (n, k) and labels (n,) of the validation part, in the order of the paths."""
    rows = read_cohort(job.cohort)
    rows = rows.filter(pa.array(in_part(rows, Part(Split.VALIDATION, fold))))
    label = dict(zip(rows["uri"].to_pylist(), rows["label"].to_pylist(), strict=True))
    found: dict[str, list[float]] = {}
    for part in chunks.parts_of(scores):
        table = pq.read_table(part, filters=[("model", "=", model)])
        for uri, logits in zip(table["uri"].to_pylist(), table["logits"].to_pylist(), strict=True):
            if uri in label:
                found[uri] = logits
    uris = sorted(found)
    values = np.asarray([found[uri] for uri in uris], dtype=np.float64)
    classes = job.split.classes
    return (
        values.reshape(-1, len(classes)),
        np.asarray([classes.index(label[uri]) for uri in uris], dtype=np.int64),
    )
