"""Evaluate: figures with intervals, on films that the model has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict
from pyspark.sql import SparkSession

from pulmospark.core import files, limits
from pulmospark.core.errors import InputError
from pulmospark.core.settings import Experiment
from pulmospark.core.tables import Split
from pulmospark.data.cohort import Part, in_part, read_cohort
from pulmospark.data.split_summary import read_split
from pulmospark.evaluation.evaluate import (
    FoldPredictions,
    cross_validate_summary,
    evaluate_predictions,
)
from pulmospark.evaluation.inputs import TrainingPart
from pulmospark.evaluation.results import CrossValidation, Evaluation
from pulmospark.experiment.folder import RunFolder
from pulmospark.experiment.predictions import tested_films
from pulmospark.models.bundle import read_bundle
from pulmospark.spark.paths import spark_path
from pulmospark.training.bundling import write_evaluated
from pulmospark.training.records import ModelRecord
from pulmospark.training.train import read_training


class EvaluateResult(BaseModel):
    """What an evaluation says; with folds, ``evaluation`` is the pooled one."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    """``predictions/`` and ``evaluation.json``"""
    model_id: str
    evaluation: Evaluation
    cross_validation: CrossValidation | None = None


def evaluate(experiment: Experiment, run: RunFolder, spark: SparkSession) -> EvaluateResult:
    """Evaluate a training on the films it was not trained on, and tell the bundle.

    Args:
        experiment: the settings.
        run: folder of the run; split and train must have left their outcome there.
        spark: the session.

    Raises:
        InputError: an earlier step is missing, or its outcome is of another cohort.
    """
    training, parted = read_training(run.training), read_split(run.cohort)
    if training.cohort_id != parted.cohort_id:
        # Films of the new test part may be those that the model has learnt from.
        raise InputError(
            f"{run.training}: trained on another cohort than the one in {run.cohort}: run "
            "`pulmospark train` again"
        )
    model_id = read_bundle(run.bundle).model_id
    with files.whole_folder(run.evaluation) as aside:
        frame = tested_films(
            spark,
            run.cohort,
            run.training / "scores",
            classes=training.classes,
            temperatures={record.name: record.temperature for record in training.models},
            model_id=model_id,
        )
        frame.coalesce(1).write.parquet(spark_path(aside / "predictions"))
        rows = pq.read_table(aside / "predictions")
        result = _figures(
            experiment,
            run,
            rows,
            models=training.models,
            classes=training.classes,
            model_id=model_id,
        )
        files.write_json(aside / "evaluation.json", result.model_dump(mode="json"))
    write_evaluated(run.bundle, experiment, result.evaluation, parted)
    return result


def read_evaluation(folder: Path) -> EvaluateResult:
    """The result that the last evaluation into ``folder`` left.

    Raises:
        InputError: there is none.
    """
    return EvaluateResult.model_validate(files.read_json(folder / "evaluation.json"))


def _figures(
    experiment: Experiment,
    run: RunFolder,
    rows: pa.Table,
    *,
    models: tuple[ModelRecord, ...],
    classes: tuple[str, ...],
    model_id: str,
) -> EvaluateResult:
    if not 0 < rows.num_rows <= limits.EVALUATION_ROWS_MAX:
        raise InputError(
            f"{rows.num_rows} predictions to evaluate: 1 to {limits.EVALUATION_ROWS_MAX} can be; "
            "run split and train again, for the cohort has changed since"
        )
    cohort = read_cohort(run.cohort)
    tested = len(cohort) - cohort["fold"].null_count or _count(cohort, Split.TEST)
    if rows.num_rows != tested:
        raise InputError(
            f"{run.training}: has scores of {rows.num_rows} of the {tested} films to be tested "
            "on: run `pulmospark train` again"
        )
    settings, seed = experiment.evaluate, experiment.seed
    folds = [
        _fold(rows, cohort, record, classes)
        for record in models
        if record.fold is not None or len(models) == 1
    ]
    if len(folds) > 1:
        cross = cross_validate_summary(folds, classes, settings, seed)
        return EvaluateResult(
            folder=run.evaluation,
            model_id=model_id,
            evaluation=cross.pooled,
            cross_validation=cross,
        )
    one = folds[0]
    evaluation = evaluate_predictions(
        one.labels,
        one.probabilities,
        one.groups,
        classes,
        settings,
        seed,
        sources=one.sources,
        trivial=one.trivial,
        operating_point=one.operating_point,
    )
    return EvaluateResult(folder=run.evaluation, model_id=model_id, evaluation=evaluation)


def _count(cohort: pa.Table, part: Split) -> int:
    return int(in_part(cohort, Part(part)).sum())


def _fold(
    rows: pa.Table, cohort: pa.Table, record: ModelRecord, classes: tuple[str, ...]
) -> FoldPredictions:
    if record.fold is not None:
        mask = np.asarray(rows["fold"].to_numpy(zero_copy_only=False) == record.fold)
        rows = rows.filter(pa.array(mask))
    # The rules learn from all that the model learnt from: training and validation part.
    learnt = in_part(cohort, Part(Split.TRAIN, record.fold))
    learnt |= in_part(cohort, Part(Split.VALIDATION, record.fold))
    before = cohort.filter(pa.array(learnt))
    return FoldPredictions(
        labels=_indices(rows, classes),
        probabilities=np.asarray(rows["probability"].to_pylist(), dtype=np.float64),
        groups=np.asarray(rows["group_id"].to_pylist()),
        sources=np.asarray(rows["source"].to_pylist()),
        trivial=TrainingPart(_indices(before, classes), np.asarray(before["source"].to_pylist())),
        operating_point=record.operating_point,
    )


def _indices(rows: pa.Table, classes: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
    index = {name: number for number, name in enumerate(classes)}
    return np.asarray([index[name] for name in rows["label"].to_pylist()], dtype=np.int64)
