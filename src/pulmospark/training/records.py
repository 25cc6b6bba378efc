"""What a training leaves: one record a model, and the result as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pulmospark.evaluation.results import OperatingPoint

FINAL = "final"


class ModelRecord(BaseModel):
    """One model of a training: the final one, or a fold's."""

    model_config = ConfigDict(frozen=True)

    name: str
    """``final`` or ``fold-<k>``; also its name in the scores table"""
    fold: int | None
    films: int
    """films it was fitted on"""
    validation_films: int
    temperature: float
    operating_point: OperatingPoint
    """not ``reached`` where the validation part has no film of the positive class"""
    history: tuple[dict[str, Any], ...] = ()
    """epochs of a CNN"""
    objective: tuple[float, ...] = ()
    """regularised loss of each iteration of a logistic regression"""
    seconds: float
    """with those of the epochs that an earlier run had done"""


class TrainResult(BaseModel):
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


def model_name(fold: int | None) -> str:
    """Name of a fold's model, or of the final one."""
    return FINAL if fold is None else f"fold-{fold}"
