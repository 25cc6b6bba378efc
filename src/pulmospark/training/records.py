"""What a training leaves: one record a model, and the result as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from pulmospark.core.records import Record
from pulmospark.core.settings import LogisticSettings
from pulmospark.evaluation.results import OperatingPoint

FINAL = "final"


class ModelRecord(Record):
    """One model of a training: the final one, or a fold's."""

    model_config = ConfigDict(frozen=True)

    name: str
    """``final`` or ``fold-<k>``; also its name in the scores table"""
    fold: int | None
    films: int
    """films it was fitted on"""
    validation_films: int
    """images that temperature and operating point were chosen on, each counted once"""
    temperature: float
    operating_point: OperatingPoint
    """not ``reached`` where those images have none of the positive class"""
    calibrated_by: Literal["validation", "out-of-fold"] = "validation"
    """scores that they were chosen on: of the validation part, or of the training part by models
    that were not fitted on the image"""
    reg_param: float | None = None
    """of a logistic regression"""
    reg_param_losses: dict[float, float] = Field(default_factory=dict)
    """strengths that were tried -> mean log loss of the out-of-fold scores; empty: none was
    chosen among"""
    history: tuple[dict[str, Any], ...] = ()
    """epochs of a CNN"""
    objective: tuple[float, ...] = ()
    """regularised loss of each iteration of a logistic regression"""
    seconds: float
    """with those of the epochs that an earlier run had done"""


class TrainResult(Record):
    """What a training did."""

    model_config = ConfigDict(frozen=True)

    bundle: Path
    method: str
    model: str
    parameters: int
    classes: tuple[str, ...]
    folds: int
    cohort_id: str
    models: tuple[ModelRecord, ...]
    feature_films: int = 0
    feature_seconds: float = 0.0
    weights: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    """what weakens what was chosen: an operating point that hangs on few images, say"""


def model_name(fold: int | None) -> str:
    """Name of a fold's model, or of the final one."""
    return FINAL if fold is None else f"fold-{fold}"


def strengths(result: TrainResult, settings: LogisticSettings) -> str:
    """The ``regParam`` of a training on features, in words: each model's, where it was chosen."""
    told = [one for one in result.models if one.reg_param is not None]
    if not told:  # of an older version
        return f"regParam {settings.reg_param:g}" if settings.reg_param is not None else "regParam"
    final = told[-1]
    if not final.reg_param_losses or settings.reg_param is not None:
        return f"regParam {final.reg_param:g}"
    folds = ", ".join(f"{one.reg_param:g}" for one in told[:-1])
    of_folds = f"; of the folds {folds}" if folds else ""
    return f"regParam {final.reg_param:g}, chosen by the log loss of out-of-fold scores{of_folds}"
