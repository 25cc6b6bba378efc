"""Evaluate: metrics with CIs on images that the model has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ConfigDict

from pulmospark.chunks.parts import publish_rows
from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.config.experiment import Experiment
from pulmospark.core import files, limits
from pulmospark.core.delta_log import write_log
from pulmospark.core.errors import InputError
from pulmospark.core.provenance import now_utc
from pulmospark.core.records import Record
from pulmospark.core.result_schemas import ResultOf
from pulmospark.core.schemas import UNITS, Split
from pulmospark.data.cohort.split_summary import read_split
from pulmospark.data.cohort.table import Part, in_part, read_cohort
from pulmospark.evaluation.evaluate import (
    FoldPredictions,
    cross_validate_summary,
    evaluate_predictions,
)
from pulmospark.evaluation.inputs import TrainingPart
from pulmospark.evaluation.long_form import Evaluated, metrics_table
from pulmospark.evaluation.results import CrossValidation, Evaluation
from pulmospark.experiment.levels import Level, fitted_attention, pooled_units, training_units
from pulmospark.experiment.predictions import tested_images
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.models.bundle.bundle import read_bundle
from pulmospark.report.phrasing import groups_of
from pulmospark.training.results import ModelRecord
from pulmospark.training.train import read_training
from pulmospark.training.write_bundle import write_evaluated

_RESULT = "evaluation.json"


class LevelResult(Record):
    """Evaluation of scans or patients, each scored as a whole."""

    model_config = ConfigDict(frozen=True)

    level: Level
    pooling: str
    """how the probabilities of images and slices are pooled"""
    evaluation: Evaluation
    """``images`` counts the units; no operating point, since that applies to slices"""
    cross_validation: CrossValidation | None = None


class EvaluateResult(Record):
    """The result of an evaluation; with folds, ``evaluation`` is the pooled one."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    """``predictions/``, ``metrics/``, ``units/`` where there are levels, ``evaluation.json``"""
    model_id: str
    evaluation: Evaluation
    cross_validation: CrossValidation | None = None
    levels: tuple[LevelResult, ...] = ()
    """of scans and patients, if ``evaluate.levels`` asks for them"""
    patients: int | None = None
    """known patients of the tested images; ``None``: not counted by an older version"""
    images_without_patient: int | None = None
    """tested images without a known patient"""


def evaluate(experiment: Experiment, run: RunFolder) -> EvaluateResult:
    """Evaluate a training on the images it was not trained on; store the metrics in the bundle.

    Args:
        experiment: the settings.
        run: folder of the run; split and train must have finished there.

    Raises:
        InputError: an earlier stage is missing, or belongs to another cohort.
    """
    training, parted = read_training(run.training), read_split(run.cohort)
    if (why := other_training(run)) is not None:
        raise InputError(why)
    bundle = read_bundle(run.bundle)
    model_id = bundle.model_id
    with files.whole_folder(run.evaluation) as aside:
        rows = tested_images(
            run.cohort,
            run.training / "scores",
            classes=training.classes,
            temperatures={record.name: record.temperature for record in training.models},
            model_id=model_id,
        )
        publish_rows(rows, aside / "predictions")
        result = _figures(
            experiment,
            run,
            rows,
            models=training.models,
            classes=training.classes,
            model_id=model_id,
        )
        if experiment.evaluate.levels:
            result = result.model_copy(
                update={"levels": _levels(experiment, run, rows, training.models, aside / "units")}
            )
        patients, unknown = known_patients(rows)
        result = result.model_copy(
            update={"patients": patients, "images_without_patient": unknown}
        )
        files.write_json(aside / _RESULT, result.model_dump(mode="json"))
        result_of = ResultOf(experiment.name, parted.cohort_id, now_utc())
        publish_rows(
            metrics_table(_sets(result), result_of, model_id=model_id, model=bundle.config.model),
            aside / "metrics",
        )
    whose = groups_of(result.evaluation, unknown, known=patients)
    write_evaluated(run.bundle, experiment, result.evaluation, parted, whose=whose)
    return result


def _sets(result: EvaluateResult) -> Iterator[Evaluated]:
    """All evaluations of a result: of each level all that was tested, and then its folds."""
    yield from _with_folds("image", result.evaluation, result.cross_validation)
    for of in result.levels:
        yield from _with_folds(of.level, of.evaluation, of.cross_validation)


def _with_folds(
    level: str, evaluation: Evaluation, cross: CrossValidation | None
) -> Iterator[Evaluated]:
    yield Evaluated(level, None, evaluation)
    for fold, of_fold in enumerate(cross.folds if cross else ()):
        yield Evaluated(level, fold, of_fold)


def read_evaluation(folder: Path) -> EvaluateResult:
    """The result of the last evaluation into ``folder``.

    Raises:
        InputError: there is none.
    """
    return EvaluateResult.model_validate(files.read_json(folder / _RESULT))


def other_training(run: RunFolder) -> str | None:
    """Why the model of a run does not match its split; ``None``: it does, or there is none.

    The model may have been trained on images of the new test split.
    """
    if not (run.training / "training.json").is_file():
        return None
    if read_training(run.training).cohort_id == read_split(run.cohort).cohort_id:
        return None
    return (
        f"{run.training}: trained on another cohort than {run.cohort}: run "
        "`pulmospark train` again"
    )


def other_evaluation(run: RunFolder) -> str | None:
    """Why the metrics of a run do not match its split and model; ``None``: they do.

    A model's id depends on its cohort, too.
    """
    if (why := other_training(run)) is not None:
        return f"{why}, and `pulmospark evaluate`"
    if not (run.evaluation / _RESULT).is_file() or not run.bundle.is_dir():
        return None
    if read_evaluation(run.evaluation).model_id == read_bundle(run.bundle).model_id:
        return None
    return (
        f"{run.evaluation}: evaluates another model than {run.bundle}: run `pulmospark evaluate` "
        "again"
    )


def known_patients(rows: pa.Table) -> tuple[int, int]:
    """Number of known patients of a table's images, and of images without one."""
    patients = rows["patient_id"]
    return int(pc.count_distinct(patients, mode="only_valid").as_py()), patients.null_count


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
            f"{rows.num_rows} predictions to evaluate, must be 1 to {limits.EVALUATION_ROWS_MAX}: "
            "the cohort has changed, run split and train again"
        )
    cohort = read_cohort(run.cohort)
    tested = len(cohort) - cohort["fold"].null_count or _count(cohort, Split.TEST)
    if rows.num_rows != tested:
        raise InputError(
            f"{run.training}: has scores for {rows.num_rows} of the {tested} images to test: run "
            "`pulmospark train` again"
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
    evaluation = _evaluated(folds[0], classes, settings, seed)
    return EvaluateResult(folder=run.evaluation, model_id=model_id, evaluation=evaluation)


def _evaluated(
    fold: FoldPredictions, classes: tuple[str, ...], settings: EvaluateSettings, seed: int
) -> Evaluation:
    return evaluate_predictions(
        fold.labels,
        fold.probabilities,
        fold.groups,
        classes,
        settings,
        seed,
        sources=fold.sources,
        trivial=fold.trivial,
        operating_point=fold.operating_point,
    )


def _levels(
    experiment: Experiment,
    run: RunFolder,
    rows: pa.Table,
    models: tuple[ModelRecord, ...],
    target: Path,
) -> tuple[LevelResult, ...]:
    """Metrics of scans and patients, whose predictions go to ``target``."""
    settings, cohort = experiment.evaluate, read_cohort(run.cohort)
    classes = read_training(run.training).classes
    records = [record for record in models if record.fold is not None or len(models) == 1]
    results: list[LevelResult] = []
    target.mkdir()
    weights = [
        fitted_attention(cohort, run.training / "scores", record, classes)
        if settings.pooling == "attention"
        else None
        for record in records
    ]
    for level in dict.fromkeys(settings.levels):
        units = [
            pooled_units(
                _of_fold(rows, record.fold), level, classes, settings, attention=attention
            )
            for record, attention in zip(records, weights, strict=True)
        ]
        pq.write_table(pa.concat_tables(units), target / f"{level}.parquet")
        folds = [
            _units_fold(pooled, cohort, record, classes, level)
            for pooled, record in zip(units, records, strict=True)
        ]
        cross = (
            cross_validate_summary(folds, classes, settings, experiment.seed)
            if len(folds) > 1
            else None
        )
        results.append(
            LevelResult(
                level=level,
                pooling=settings.pooling,
                evaluation=cross.pooled
                if cross
                else _evaluated(folds[0], classes, settings, experiment.seed),
                cross_validation=cross,
            )
        )
    write_log(target, UNITS)
    return tuple(results)


def _units_fold(
    units: pa.Table, cohort: pa.Table, record: ModelRecord, classes: tuple[str, ...], level: Level
) -> FoldPredictions:
    before = training_units(_learnt(cohort, record), level)
    return FoldPredictions(
        labels=_indices(units, classes),
        probabilities=np.asarray(units["probability"].to_pylist(), dtype=np.float64),
        groups=np.asarray(units["group_id"].to_pylist()),
        sources=np.asarray(units["source"].to_pylist()),
        trivial=TrainingPart(_indices(before, classes), np.asarray(before["source"].to_pylist())),
    )


def _of_fold(rows: pa.Table, fold: int | None) -> pa.Table:
    """The rows that a fold was tested on; without folds, all."""
    return rows if fold is None else rows.filter(pc.equal(rows["fold"], fold))


def _learnt(cohort: pa.Table, record: ModelRecord) -> pa.Table:
    """Rows of the training and validation splits: all that the model learnt from."""
    learnt = in_part(cohort, Part(Split.TRAIN, record.fold))
    learnt |= in_part(cohort, Part(Split.VALIDATION, record.fold))
    return cohort.filter(pa.array(learnt))


def _count(cohort: pa.Table, part: Split) -> int:
    return int(in_part(cohort, Part(part)).sum())


def _fold(
    rows: pa.Table, cohort: pa.Table, record: ModelRecord, classes: tuple[str, ...]
) -> FoldPredictions:
    rows = _of_fold(rows, record.fold)
    before = _learnt(cohort, record)  # the baselines see the same images as the model
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
